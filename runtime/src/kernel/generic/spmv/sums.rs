//! Sums of rows of blocks that each have an index: how a block's weights meet their inputs.

use secateur_format::encoding::Value;

use super::ahead::Ahead;
use super::{Decode, SETS};
use crate::kernel::Spmv;
use crate::kernel::vector::MOST_LANES;

/// Partial sums of a row of blocks, in the order in which its weights are
/// stored: those of `R · C` neighbouring lanes are of one block.
#[derive(Clone, Copy)]
pub(super) struct Sums<V, const R: usize, const C: usize>([V; SETS]);

impl<V: Decode, const R: usize, const C: usize> Sums<V, R, C> {
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { [V::splat(0.0); SETS] })
    }

    /// Adds blocks of a row; asks for as many bytes ahead, if there is need.
    ///
    /// # Safety
    /// As [`Self::new`]. There is a column for each block of weights, and as
    /// many more as a vector has lanes; all are inside `x`.
    #[inline(always)]
    pub(super) unsafe fn add<T: Value>(
        &mut self,
        x: *const f32,
        columns: *const u16,
        weights: &[T],
        ahead: &mut Option<Ahead>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match ahead {
                Some(ahead) => self.add_all::<T, true>(x, columns, weights, ahead),
                None => self.add_all::<T, false>(x, columns, weights, &mut Ahead::of(weights, 0)),
            }
        }
    }

    /// # Safety
    /// As [`Self::add`].
    #[inline(always)]
    unsafe fn add_all<T: Value, const FAR: bool>(
        &mut self,
        x: *const f32,
        columns: *const u16,
        weights: &[T],
        ahead: &mut Ahead,
    ) {
        let end = weights.len();
        let weights = weights.as_ptr();
        let mut at = 0;
        // SAFETY: the caller's promise; `at` stays below `end`.
        unsafe {
            while at + SETS * V::LANES <= end {
                if FAR {
                    ahead.pass::<V>(SETS * V::LANES * size_of::<T>());
                }
                for (set, sum) in self.0.iter_mut().enumerate() {
                    let at = at + set * V::LANES;
                    let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C)));
                    *sum = V::widen(weights.add(at)).mul_add(inputs, *sum);
                }
                at += SETS * V::LANES;
            }
            if FAR {
                ahead.pass::<V>((end - at) * size_of::<T>());
            }
            // Less than a vector is added to the last sum, and whole ones to those before, so that
            // each stays in its register.
            for sum in self.0.iter_mut().take(SETS - 1) {
                if at + V::LANES > end {
                    break;
                }
                let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C)));
                *sum = V::widen(weights.add(at)).mul_add(inputs, *sum);
                at += V::LANES;
            }
            if R * C < V::LANES && at < end {
                // Not even zero times an input that may be infinite.
                let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C))).keep_first(end - at);
                self.0[SETS - 1] = V::widen_first(weights.add(at), end - at).mul_add(inputs, self.0[SETS - 1]);
            }
        }
    }

    /// # Safety
    /// As [`Self::new`].
    #[inline(always)]
    pub(super) unsafe fn finish(self, row: usize, task: &mut Spmv<'_>) {
        let [a, b, c, d] = self.0;
        // SAFETY: the caller's promise; the arrays have room for any vectors.
        unsafe {
            if R * C == 1 {
                return task.finish(row, &[a.add(b).add(c.add(d)).sum()]);
            }
            if R == V::LANES && C == 1 {
                return task.finish_vector(row, a.add(b).add(c.add(d)));
            }
            // Sets onto sets, then blocks of a vector onto blocks, until one is left.
            let mut lanes = [0.0f32; SETS * MOST_LANES];
            let mut width = match R * C / V::LANES {
                0 | 1 => {
                    a.add(b).add(c.add(d)).store(lanes.as_mut_ptr());
                    V::LANES
                }
                2 => {
                    a.add(c).store(lanes.as_mut_ptr());
                    b.add(d).store(lanes.as_mut_ptr().add(V::LANES));
                    2 * V::LANES
                }
                _ => {
                    for (i, sum) in self.0.iter().enumerate() {
                        sum.store(lanes.as_mut_ptr().add(i * V::LANES));
                    }
                    4 * V::LANES
                }
            };
            while width > R * C {
                width /= 2;
                for i in 0..width {
                    lanes[i] += lanes[width + i];
                }
            }
            let mut sums = [0.0; R];
            for (i, lane) in lanes.iter().enumerate().take(R * C) {
                sums[i / C] += lane;
            }
            task.finish(row, &sums);
        }
    }
}
