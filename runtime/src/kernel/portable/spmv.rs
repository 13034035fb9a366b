//! Sparse matrix times vector. Eight partial sums per row, added up at the end.

use core::marker::PhantomData;

use secateur_format::encoding::{Block, BlockSink, RowSink, Value, View};
use wide::f32x8;

use super::{LANES, load};
use crate::kernel::{Spmv, apply};

/// Entries of a row in groups of eight: any encoding.
pub(crate) fn spmv<'a, E: View<'a>, V: Value>(view: &E, task: &mut Spmv<'_>, _: PhantomData<V>) {
    view.visit::<V>(&mut Rows { task });
}

struct Rows<'s, 't> {
    task: &'s mut Spmv<'t>,
}

impl RowSink for Rows<'_, '_> {
    #[inline(always)]
    fn row(&mut self, row: usize, mut entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let x = self.task.x;
        let mut sums = f32x8::ZERO;
        let (mut weights, mut inputs) = ([0.0; LANES], [0.0; LANES]);
        loop {
            let mut filled = 0;
            let slots = weights.iter_mut().zip(&mut inputs);
            for ((weight, input), (col, w)) in slots.zip(&mut entries) {
                *weight = w;
                *input = x.get(col).copied().unwrap_or(0.0);
                filled += 1;
            }
            if filled < LANES {
                // What is left of the group before is not added twice.
                weights.iter_mut().skip(filled).for_each(|w| *w = 0.0);
                inputs.iter_mut().skip(filled).for_each(|x| *x = 0.0);
            }
            sums = f32x8::from(weights).mul_add(f32x8::from(inputs), sums);
            if filled < LANES {
                break;
            }
        }
        let bias = self.task.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0);
        if let Some(slot) = self.task.y.get_mut(row) {
            *slot = apply(self.task.activation, bias + sums.reduce_add());
        }
    }
}

/// Blocks of 8 or 16 rows by one column: a vector of rows at a time, in the
/// order of the entries. Other blocks as any encoding.
pub(crate) fn spmv_block<V: Value>(view: &Block<'_>, task: &mut Spmv<'_>, value: PhantomData<V>) {
    match (view.r, view.c) {
        (8, 1) => view.visit_blocks::<V>(&mut Tall::<1> { task }),
        (16, 1) => view.visit_blocks::<V>(&mut Tall::<2> { task }),
        _ => spmv(view, task, value),
    }
}

/// Blocks of `N` vectors of rows.
struct Tall<'s, 't, const N: usize> {
    task: &'s mut Spmv<'t>,
}

impl<V: Value, const N: usize> BlockSink<V> for Tall<'_, '_, N> {
    #[inline(always)]
    fn block_row(&mut self, row: usize, columns: impl Iterator<Item = usize> + Clone, values: &[V]) {
        let bias = self.task.bias.and_then(|bias| bias.get(row..)).unwrap_or(&[]);
        let mut sums: [f32x8; N] = core::array::from_fn(|i| load(bias.get(i * LANES..).unwrap_or(&[])));
        for (col, block) in columns.zip(values.chunks_exact(N * LANES)) {
            let x = f32x8::splat(self.task.x.get(col).copied().unwrap_or(0.0));
            for (sum, weights) in sums.iter_mut().zip(block.as_chunks::<LANES>().0) {
                *sum = f32x8::from(weights.map(|w| w.to_f32())).mul_add(x, *sum);
            }
        }
        let slots = self.task.y.get_mut(row..).unwrap_or(&mut []);
        let sums = sums.map(|sum| sum.to_array());
        for (slot, &sum) in slots.iter_mut().zip(sums.as_flattened()) {
            *slot = apply(self.task.activation, sum);
        }
    }
}
