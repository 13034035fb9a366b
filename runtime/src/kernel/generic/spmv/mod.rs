//! Matrix times vector, in place on the encoded weights.
//!
//! The partial sums of a row stay in several registers and are added up at its
//! end, always in the same order: a row's bits depend on the instruction set
//! alone, not on the rows next to it.
//!
//! Nothing here relies on the validation of the indices for memory safety:
//! [`Matrix::view`](secateur_format::encoding::Matrix::view) promises wrong results, and no more
//! than that, for wrong indices. The checks that keep this promise are per row, not per weight.

mod ahead;
#[cfg(target_arch = "x86_64")]
mod bitmask;
mod decode;
mod dense;
mod entries;
mod gather;
mod nm;
#[cfg(feature = "alloc")]
mod slices;
mod sums;
mod windows;

#[cfg(target_arch = "x86_64")]
pub(in crate::kernel) use bitmask::spmv_expanded;
pub(in crate::kernel) use decode::Decode;
#[cfg(all(target_arch = "x86_64", feature = "alloc"))]
pub(in crate::kernel) use decode::Near;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernel) use decode::{Expand, MOST_SOURCES, position_bits};
pub(in crate::kernel) use dense::spmv_dense;
pub(in crate::kernel) use gather::{spmv_block, spmv_csr16, spmv_win8};
pub(in crate::kernel) use nm::spmv_nm;
#[cfg(all(target_arch = "x86_64", feature = "alloc"))]
pub(in crate::kernel) use slices::spmv_narrow;
#[cfg(feature = "alloc")]
pub(in crate::kernel) use slices::spmv_slices;

use core::marker::PhantomData;

use secateur_format::encoding::{Bitmask, Value};

use crate::kernel::activation::activate;
use crate::kernel::vector::Vector;
use crate::kernel::{Spmv, apply};

/// Sets of partial sums of a row: enough to hide the latency of multiply-adds.
const SETS: usize = 4;

/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_bitmask<V: Decode, T: Value>(
    view: &Bitmask<'_>,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    // SAFETY: the caller's promise.
    unsafe { V::spmv_bitmask::<T>(view, task) }
}

/// Bytes of weights from which memory is asked for ahead of time: more than caches keep.
pub(in crate::kernel) const FAR_BYTES: usize = 8 << 20;
/// How far ahead: what the memory can deliver while a request is under way, and then some.
const AHEAD_BYTES: usize = 16384;

/// Whether weights and their index are better asked for ahead of time. Where they are in a cache, it costs a tenth.
#[inline(always)]
fn is_far<T, I>(values: &[T], index: &[I]) -> bool {
    size_of_val(values) + size_of_val(index) > FAR_BYTES
}

impl Spmv<'_> {
    /// Stores the sums of the rows from `row` on.
    #[inline(always)]
    fn finish(&mut self, row: usize, sums: &[f32]) {
        let slots = self.y.get_mut(row..).unwrap_or(&mut []).iter_mut().zip(sums);
        match self.bias.and_then(|bias| bias.get(row..)) {
            Some(bias) => slots
                .zip(bias)
                .for_each(|((slot, sum), bias)| *slot = apply(self.activation, bias + sum)),
            None => slots.for_each(|(slot, sum)| *slot = apply(self.activation, *sum)),
        }
    }

    /// Stores a sum per lane for the rows from `row` on.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    unsafe fn finish_vector<V: Vector>(&mut self, row: usize, mut sum: V) {
        let Some(slots) = self.y.get_mut(row..row + V::LANES) else {
            return;
        };
        // SAFETY: the caller's promise; both slices are as long as a vector.
        unsafe {
            if let Some(bias) = self.bias.and_then(|bias| bias.get(row..row + V::LANES)) {
                sum = V::load(bias.as_ptr()).add(sum);
            }
            activate(self.activation, sum).store(slots.as_mut_ptr());
        }
    }
}
