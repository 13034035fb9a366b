//! Kernels on the `wide` crate's vectors: eight lanes, whatever the target has.
//!
//! SpMM works through the run in tiles that fit the registers. The last tile of
//! a run is moved back so that it is full, and overlaps the one before it.

mod spmm;
mod spmv;

pub(super) use spmm::{spmm, spmm_block, spmm_dense};
pub(super) use spmv::{spmv, spmv_block};

use wide::f32x8;

/// Lanes of a vector.
const LANES: usize = 8;

/// The first vector of `x`.
#[inline(always)]
fn load(x: &[f32]) -> f32x8 {
    x.first_chunk()
        .map_or(f32x8::ZERO, |lanes: &[f32; LANES]| f32x8::from(*lanes))
}

/// Starts of the tiles of `width` that cover `0..span`, the last one moved back.
fn tiles(span: usize, width: usize) -> impl Iterator<Item = usize> {
    let last = span.saturating_sub(width);
    (0..span.div_ceil(width.max(1))).map(move |i| (i * width).min(last))
}
