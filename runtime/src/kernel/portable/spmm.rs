//! Sparse matrix times packed panel.

use core::marker::PhantomData;

use secateur_format::encoding::{Block, BlockSink, Dense, RowSink, Value, View};
use wide::f32x8;

use super::{LANES, load, tiles};
use crate::kernel::{Spmm, scalar};

/// Vectors of a one-row tile: 32 columns.
const ROW_VECTORS: usize = 4;
/// Rows of a multi-row tile.
const BLOCK_ROWS: usize = 4;

/// One row at a time, 32 columns: any encoding.
pub(crate) fn spmm<'a, E: View<'a>, V: Value>(view: &E, task: &mut Spmm<'_>, value: PhantomData<V>) {
    match task.run {
        0..LANES => scalar::spmm(view, task, value),
        LANES..32 => spmm_tiled::<E, V, 1>(view, task),
        _ => spmm_tiled::<E, V, ROW_VECTORS>(view, task),
    }
}

fn spmm_tiled<'a, E: View<'a>, V: Value, const N: usize>(view: &E, task: &mut Spmm<'_>) {
    for at in tiles(task.run, N * LANES) {
        view.visit::<V>(&mut RowTile::<N> { task, at });
    }
}

/// `N` vectors of one output row, from run position `at`.
struct RowTile<'s, 't, const N: usize> {
    task: &'s mut Spmm<'t>,
    at: usize,
}

impl<const N: usize> RowSink for RowTile<'_, '_, N> {
    #[inline(always)]
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let mut sums = [f32x8::splat(self.task.bias(row)); N];
        let base = self.task.base(row) + self.at;
        let offsets = self.task.offsets;
        for (col, w) in entries {
            let start = base.wrapping_add(offsets.of(col));
            let Some(x) = self.task.x.get(start..start.wrapping_add(N * LANES)) else {
                return;
            };
            let w = f32x8::splat(w);
            for (sum, x) in sums.iter_mut().zip(x.as_chunks::<LANES>().0) {
                *sum = f32x8::from(*x).mul_add(w, *sum);
            }
        }
        let sums = sums.map(|sum| sum.to_array());
        self.task.store(row, self.at, sums.as_flattened());
    }
}

/// Four rows by eight columns of a dense matrix; rows left over one at a time.
pub(crate) fn spmm_dense<V: Value>(view: &Dense<'_>, task: &mut Spmm<'_>, value: PhantomData<V>) {
    let Some(weights) = V::slice(&view.values) else { return };
    let cols = view.cols as usize;
    // Rows of one tile share their input, so they must be of one group.
    if task.run < LANES || task.group_rows < BLOCK_ROWS || !task.group_rows.is_multiple_of(BLOCK_ROWS) {
        return spmm(view, task, value);
    }
    for at in tiles(task.run, LANES) {
        for (i, rows) in weights.chunks_exact((cols * BLOCK_ROWS).max(1)).enumerate() {
            let row = i * BLOCK_ROWS;
            let lines: [&[V]; BLOCK_ROWS] = core::array::from_fn(|r| rows.get(r * cols..(r + 1) * cols).unwrap_or(&[]));
            let mut sums: [f32x8; BLOCK_ROWS] = core::array::from_fn(|r| f32x8::splat(task.bias(row + r)));
            let base = task.base(row) + at;
            let [a, b, c, d] = lines;
            for (col, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
                let start = base.wrapping_add(task.offsets.of(col));
                let x = load(task.x.get(start..).unwrap_or(&[]));
                for (sum, w) in sums.iter_mut().zip([a, b, c, d]) {
                    *sum = x.mul_add(f32x8::splat(w.to_f32()), *sum);
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                task.store(row + r, at, sum.as_array());
            }
        }
    }
}

/// Blocks of at least two rows: the rows of a block share the loaded input.
pub(crate) fn spmm_block<V: Value>(view: &Block<'_>, task: &mut Spmm<'_>, value: PhantomData<V>) {
    let r = usize::from(view.r);
    if r == 1 || task.run < LANES || !task.group_rows.is_multiple_of(r.max(1)) {
        return spmm(view, task, value);
    }
    for at in tiles(task.run, LANES) {
        let (r, c) = (r, usize::from(view.c));
        match r {
            2 => view.visit_blocks::<V>(&mut BlockTile::<2> { task, at, r, c }),
            _ => view.visit_blocks::<V>(&mut BlockTile::<BLOCK_ROWS> { task, at, r, c }),
        }
    }
}

/// One vector of each of `R` rows, from run position `at`; blocks of more rows in several passes.
struct BlockTile<'s, 't, const R: usize> {
    task: &'s mut Spmm<'t>,
    at: usize,
    r: usize,
    c: usize,
}

impl<V: Value, const R: usize> BlockSink<V> for BlockTile<'_, '_, R> {
    #[inline(always)]
    fn block_row(&mut self, row: usize, columns: impl Iterator<Item = usize> + Clone, values: &[V]) {
        let (r, c) = (self.r, self.c);
        let base = self.task.base(row) + self.at;
        for first in (0..r).step_by(R) {
            let mut sums: [f32x8; R] = core::array::from_fn(|i| f32x8::splat(self.task.bias(row + first + i)));
            for (column, block) in columns.clone().zip(values.chunks_exact((r * c).max(1))) {
                let lines = block.get(first * c..).unwrap_or(&[]);
                for j in 0..c {
                    let start = base.wrapping_add(self.task.offsets.of(column * c + j));
                    let x = load(self.task.x.get(start..).unwrap_or(&[]));
                    for (sum, line) in sums.iter_mut().zip(lines.chunks_exact(c.max(1))) {
                        let w = line.get(j).map_or(0.0, |w| w.to_f32());
                        *sum = x.mul_add(f32x8::splat(w), *sum);
                    }
                }
            }
            for (i, sum) in sums.iter().enumerate() {
                self.task.store(row + first + i, self.at, sum.as_array());
            }
        }
    }
}
