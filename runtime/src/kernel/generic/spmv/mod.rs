//! Matrix times vector, in place on the encoded weights.
//!
//! The partial sums of a row stay in several registers and are added up at its
//! end, always in the same order: a row's bits depend on the instruction set
//! alone, not on the rows next to it.
//!
//! Nothing here relies on the validation of the indices for memory safety:
//! [`Matrix::view`](secateur_format::encoding::Matrix::view) promises wrong results, and no more
//! than that, for wrong indices. The checks that keep this promise are per row, not per weight.

#[cfg(target_arch = "x86_64")]
mod bitmask;
mod decode;
mod dense;
mod entries;
mod gather;
mod nm;

#[cfg(target_arch = "x86_64")]
pub(in crate::kernel) use bitmask::spmv_expanded;
pub(in crate::kernel) use decode::Decode;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernel) use decode::{Expand, MOST_SOURCES, position_bits};
pub(in crate::kernel) use dense::spmv_dense;
pub(in crate::kernel) use gather::{spmv_block, spmv_csr16, spmv_win8};
pub(in crate::kernel) use nm::spmv_nm;

use core::marker::PhantomData;

use secateur_format::encoding::{Bitmask, Value};

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
}
