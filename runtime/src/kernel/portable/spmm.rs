//! Sparse matrix times packed panel.

use core::marker::PhantomData;

use secateur_format::chunks::chunks;
use secateur_format::encoding::{Block, BlockSink, Dense, RowSink, Value, View};
use wide::f32x8;

use super::{LANES, load, tiles};
use crate::kernel::{Place, Spmm, scalar};

/// Vectors of a one-row tile: 32 columns.
const ROW_VECTORS: usize = 4;
/// Rows of a multi-row tile.
const BLOCK_ROWS: usize = 4;

/// One row at a time, 32 columns: any encoding.
pub(crate) fn spmm<'a, E: View<'a>, V: Value>(view: &E, task: &mut Spmm<'_>, value: PhantomData<V>) {
    match task.span {
        0..LANES => scalar::spmm(view, task, value),
        LANES..32 => spmm_tiled::<E, V, 1>(view, task),
        _ => spmm_tiled::<E, V, ROW_VECTORS>(view, task),
    }
}

fn spmm_tiled<'a, E: View<'a>, V: Value, const N: usize>(view: &E, task: &mut Spmm<'_>) {
    for at in tiles(task.span, N * LANES) {
        let place = task.place(at);
        view.visit::<V>(&mut RowTile::<N> { task, at, place });
    }
}

/// `N` vectors of one output row, from run position `at`.
struct RowTile<'s, 't, const N: usize> {
    task: &'s mut Spmm<'t>,
    at: usize,
    place: Place,
}

impl<const N: usize> RowSink for RowTile<'_, '_, N> {
    #[inline(always)]
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let mut sums = [f32x8::splat(self.task.bias(row)); N];
        let (x, offsets, base) = (self.task.x, self.task.offsets, self.task.base(row) + self.at);
        for (col, w) in entries {
            let start = base.wrapping_add(offsets.of(col));
            let Some(x) = x.get(start..start.wrapping_add(N * LANES)) else {
                return;
            };
            let w = f32x8::splat(w);
            for (sum, x) in sums.iter_mut().zip(x.as_chunks::<LANES>().0) {
                *sum = f32x8::from(*x).mul_add(w, *sum);
            }
        }
        self.task.store(row, &self.place, sums.map(|sum| sum.to_array()));
    }
}

/// Four rows by eight columns of a dense matrix; one row at a time where groups
/// are not multiples of four rows.
pub(crate) fn spmm_dense<V: Value>(view: &Dense<'_>, task: &mut Spmm<'_>, value: PhantomData<V>) {
    let Some(weights) = V::slice(&view.values) else { return };
    let cols = view.cols as usize;
    // Rows of one tile share their input, so they must be of one group.
    if task.span < LANES || task.group_rows < BLOCK_ROWS || !task.group_rows.is_multiple_of(BLOCK_ROWS) {
        return spmm(view, task, value);
    }
    for at in tiles(task.span, LANES) {
        let place = task.place(at);
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
            for (r, sum) in sums.map(|sum| [sum.to_array()]).into_iter().enumerate() {
                task.store(row + r, &place, sum);
            }
        }
    }
}

/// Blocks of at least two rows: the rows of a block share the loaded input.
pub(crate) fn spmm_block<V: Value>(view: &Block<'_>, task: &mut Spmm<'_>, value: PhantomData<V>) {
    let r = usize::from(view.r);
    // Rows of one tile share their input, so they must be of one group.
    let shared = r > 1 && task.group_rows.is_multiple_of(r);
    match (r, view.c) {
        _ if !shared || task.span < 2 * LANES => spmm(view, task, value),
        (2, 1) => spmm_blocks::<V, 2, 1, 2>(view, task),
        (2, 2) => spmm_blocks::<V, 2, 2, 2>(view, task),
        (2, 4) => spmm_blocks::<V, 2, 4, 2>(view, task),
        (2, 8) => spmm_blocks::<V, 2, 8, 2>(view, task),
        (2, 16) => spmm_blocks::<V, 2, 16, 2>(view, task),
        (_, 1) => spmm_blocks::<V, 4, 1, 1>(view, task),
        (_, 2) => spmm_blocks::<V, 4, 2, 1>(view, task),
        (_, 4) => spmm_blocks::<V, 4, 4, 1>(view, task),
        (_, 8) => spmm_blocks::<V, 4, 8, 1>(view, task),
        (_, 16) => spmm_blocks::<V, 4, 16, 1>(view, task),
        _ => spmm(view, task, value),
    }
}

fn spmm_blocks<V: Value, const R: usize, const C: usize, const N: usize>(view: &Block<'_>, task: &mut Spmm<'_>) {
    let r = usize::from(view.r);
    for at in tiles(task.span, N * LANES) {
        let place = task.place(at);
        view.visit_blocks::<V>(&mut BlockTile::<R, C, N> { task, at, place, r });
    }
}

/// `N` vectors of each of `R` rows, from run position `at`; blocks of `r > R`
/// rows in several passes. Extents are constants: the sums stay in registers.
struct BlockTile<'s, 't, const R: usize, const C: usize, const N: usize> {
    task: &'s mut Spmm<'t>,
    at: usize,
    place: Place,
    r: usize,
}

impl<V: Value, const R: usize, const C: usize, const N: usize> BlockSink<V> for BlockTile<'_, '_, R, C, N> {
    #[inline(always)]
    fn block_row(&mut self, row: usize, columns: impl Iterator<Item = usize> + Clone, values: &[V]) {
        let (x, offsets, base) = (self.task.x, self.task.offsets, self.task.base(row) + self.at);
        let mut first = 0;
        while first < self.r {
            let mut sums: [[f32x8; N]; R] =
                core::array::from_fn(|i| [f32x8::splat(self.task.bias(row + first + i)); N]);
            for (column, block) in columns.clone().zip(chunks(values, self.r * C)) {
                let lines = block.as_chunks::<C>().0.get(first..).unwrap_or(&[]);
                let Some(lines) = lines.first_chunk::<R>() else { return };
                for j in 0..C {
                    let start = base.wrapping_add(offsets.of(column * C + j));
                    let Some(x) = x.get(start..start.wrapping_add(N * LANES)) else {
                        return;
                    };
                    for (sums, line) in sums.iter_mut().zip(lines) {
                        let w = f32x8::splat(line.get(j).map_or(0.0, |w| w.to_f32()));
                        for (sum, x) in sums.iter_mut().zip(x.as_chunks::<LANES>().0) {
                            *sum = f32x8::from(*x).mul_add(w, *sum);
                        }
                    }
                }
            }
            // Copied out, so that the sums themselves are never indexed and stay in registers.
            let sums = sums.map(|sums| sums.map(|sum| sum.to_array()));
            for (i, sums) in sums.into_iter().enumerate() {
                self.task.store(row + first + i, &self.place, sums);
            }
            first += R;
        }
    }
}
