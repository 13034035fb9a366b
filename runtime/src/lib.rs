//! Runs `.sct` sparse models. `no_std`, no allocation, no recursion; a model
//! that was read and a session that was made never panic.
//!
//! ```no_run
//! use secateur_runtime::{Aligned, Limits, Model, Session, arena_bytes};
//!
//! # const FILE: &[u8] = &[];
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bytes: &[u8] = FILE; // secateur_runtime::include_model!("m.sct")
//! let model = Model::read(bytes, &Limits::EMBEDDED)?;
//! let mut arena = Aligned([0u8; 4096]); // or [0; arena_bytes(include_bytes!("m.sct"))]
//! let mut session = Session::new(&model, &mut arena.0)?;
//! session.input_mut(0)?.fill(0.5);
//! session.run()?;
//! println!("{:?}", session.output(0)?);
//! # Ok(()) }
//! ```
//!
//! # Features
//! - none: everything above, without allocation.
//! - `alloc`: [`ArenaBuf`], an arena on the heap.
//! - `std` (default): [`ModelFile`], memory-mapped files.
//!
//! All code is safe Rust, except one memory map in `file.rs`.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod arena;
mod error;
#[cfg(feature = "std")]
mod file;
pub mod kernel;
mod op;
#[cfg(feature = "alloc")]
pub mod prepared;
mod session;

#[cfg(feature = "alloc")]
pub use arena::ArenaBuf;
pub use error::RunError;
#[cfg(feature = "std")]
pub use file::{LoadError, ModelFile};
pub use secateur_format::{
    Activation, Aligned, FormatError, Limits, Model, Node, Op, Shape, ValueId, arena_bytes, include_model,
};
pub use session::Session;
