//! Any encoding, through its row iterator: what has no kernel of its own.

use core::marker::PhantomData;

use secateur_format::encoding::{RowSink, Value, View};

use crate::kernel::Spmv;
use crate::kernel::vector::{MOST_LANES, Vector};

/// Entries of a row in groups of a vector.
///
/// # Safety
/// The CPU must have the instruction set of `I`.
#[inline(always)]
pub(super) unsafe fn spmv<'a, I: Vector, E: View<'a>, V: Value>(view: &E, task: &mut Spmv<'_>) {
    let vector = PhantomData::<I>;
    view.visit::<V>(&mut Rows { task, vector });
}

/// Only made by `spmv`, whose callers promise the instruction set of `I`.
struct Rows<'s, 't, I> {
    task: &'s mut Spmv<'t>,
    vector: PhantomData<I>,
}

impl<I: Vector> RowSink for Rows<'_, '_, I> {
    #[inline(always)]
    fn row(&mut self, row: usize, mut entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let x = self.task.x;
        let (mut weights, mut inputs) = ([0.0; MOST_LANES], [0.0; MOST_LANES]);
        // SAFETY: the instruction set was promised, and no vector has more lanes.
        let sum = unsafe {
            let mut sums = I::splat(0.0);
            loop {
                let mut filled = 0;
                let slots = weights.iter_mut().zip(&mut inputs).take(I::LANES);
                for ((weight, input), (col, w)) in slots.zip(&mut entries) {
                    *weight = w;
                    *input = x.get(col).copied().unwrap_or(0.0);
                    filled += 1;
                }
                if filled < I::LANES {
                    // What is left of the group before is not added twice.
                    weights.iter_mut().skip(filled).for_each(|w| *w = 0.0);
                    inputs.iter_mut().skip(filled).for_each(|x| *x = 0.0);
                }
                sums = I::load(weights.as_ptr()).mul_add(I::load(inputs.as_ptr()), sums);
                if filled < I::LANES {
                    break sums.sum();
                }
            }
        };
        self.task.finish(row, &[sum]);
    }
}
