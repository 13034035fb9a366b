//! What a Secateur model file is: operators, graph, weight encodings, container
//! and memory plan. Nothing here knows how a model is trained or executed.
//!
//! The byte-level specification is `SPEC.md` in this crate. Reading is
//! validation: [`Model::read`] checks everything once, in time linear in the
//! stored weights and without allocating; what it returns can be used without
//! further checks. It never panics, whatever the bytes.
//!
//! # Features
//! - none: reading only, `no_std`, no allocation (firmware).
//! - `alloc`: owned [`graph::Graph`], packers, [`plan::planner`], [`container::writer`].
//! - `std` (default): `std::error::Error` for the error types.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(target_endian = "big")]
compile_error!("weights are used in place as little-endian arrays: big-endian targets are not supported");

mod bytes;
pub mod chunks;
pub mod container;
pub mod encoding;
mod error;
pub mod geometry;
#[cfg(feature = "alloc")]
pub mod graph;
mod limits;
pub mod op;
pub mod plan;
mod shape;

pub use container::arena_bytes;
pub use container::reader::{Model, Node};
pub use error::{FormatError, Place, Problem};
pub use limits::Limits;
pub use op::{Activation, Op, TensorId, ValueId};
pub use shape::{MAX_RANK, Shape, ShapeError};

/// A model's bytes must start at a multiple of this many bytes, so that weights
/// are used in place. [`include_model!`] and memory maps do; so does any
/// allocation of `u128`s.
pub const MODEL_ALIGN: usize = 16;

/// Bytes aligned for [`Model::read`]; made by [`include_model!`].
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Aligned<T: ?Sized>(
    /// The bytes.
    pub T,
);

/// Includes a model file in the binary (in flash, on a microcontroller),
/// aligned as [`Model::read`] requires. The path is relative to the current
/// file, as for `include_bytes!`.
#[macro_export]
macro_rules! include_model {
    ($path:expr $(,)?) => {{
        static MODEL: &$crate::Aligned<[u8]> = &$crate::Aligned(*include_bytes!($path));
        &MODEL.0
    }};
}
