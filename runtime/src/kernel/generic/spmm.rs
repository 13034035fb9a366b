//! Sparse matrix times packed panel.
//!
//! The run is cut into bands. For each of them all entries are decoded, some at
//! a time, and multiplied by the tile kernels of an instruction set. Sums are
//! added up in the order of the entries, so that results are the same whatever
//! the encoding, the tile and the vector.

use core::marker::PhantomData;

use secateur_format::chunks::chunks;
use secateur_format::encoding::{Block, BlockSink, Dense, RowSink, Value, View};

use super::tile::{BAND, CAPACITY, Lines, Rows, Step, Strip, Tile, Tiles};
use crate::kernel::Spmm;

/// Tiles of a band.
const MOST_TILES: usize = 16;

/// One row at a time: any encoding.
///
/// # Safety
/// The CPU must have the instruction set of `tiles`.
pub(in crate::kernel) unsafe fn spmm<'a, E: View<'a>, V: Value>(
    view: &E,
    task: &mut Spmm<'_>,
    _: PhantomData<V>,
    tiles: &Tiles,
) {
    // SAFETY: the caller's promise.
    unsafe { for_bands(task, tiles.lanes, &tiles.one, |band| view.visit::<V>(band)) }
}

/// Some rows at a time of a dense matrix.
///
/// # Safety
/// The CPU must have the instruction set of `tiles`.
pub(in crate::kernel) unsafe fn spmm_dense<V: Value>(
    view: &Dense<'_>,
    task: &mut Spmm<'_>,
    value: PhantomData<V>,
    tiles: &Tiles,
) {
    let Some(weights) = V::slice(&view.values) else { return };
    let cols = view.cols as usize;
    // Rows of one tile share their input, so they must be of one group.
    let groups = weights.len() > task.group_rows.saturating_mul(cols);
    let shared = |rows: usize| task.group_rows.is_multiple_of(rows) || !groups;
    // SAFETY: the caller's promise.
    unsafe {
        if shared(4) {
            for_bands(task, tiles.lanes, &tiles.four, |band| band.dense(weights, cols));
        } else if shared(2) {
            for_bands(task, tiles.lanes, &tiles.two, |band| band.dense(weights, cols));
        } else {
            spmm(view, task, value, tiles);
        }
    }
}

/// Blocks: their rows share the input.
///
/// # Safety
/// The CPU must have the instruction set of `tiles`.
pub(in crate::kernel) unsafe fn spmm_block<V: Value>(
    view: &Block<'_>,
    task: &mut Spmm<'_>,
    value: PhantomData<V>,
    tiles: &Tiles,
) {
    let (r, c) = (usize::from(view.r), usize::from(view.c));
    // SAFETY: the caller's promise.
    unsafe {
        match r {
            // Rows of one tile share their input, so they must be of one group.
            _ if !task.group_rows.is_multiple_of(r) => spmm(view, task, value, tiles),
            1 => for_bands(task, tiles.lanes, &tiles.one, |band| {
                view.visit_blocks::<V>(&mut Blocks { band, r, c });
            }),
            2 => for_bands(task, tiles.lanes, &tiles.two, |band| {
                view.visit_blocks::<V>(&mut Blocks { band, r, c });
            }),
            4 | 8 | 16 => for_bands(task, tiles.lanes, &tiles.four, |band| {
                view.visit_blocks::<V>(&mut Blocks { band, r, c });
            }),
            _ => spmm(view, task, value, tiles),
        }
    }
}

/// Calls `visit` for each band of the run.
///
/// # Safety
/// The CPU must have the instruction set of `rows`.
unsafe fn for_bands<'t, const R: usize>(
    task: &mut Spmm<'t>,
    lanes: usize,
    rows: &Rows<R>,
    mut visit: impl FnMut(&mut Band<'_, 't, R>),
) {
    let Some(last_start) = task.x.len().checked_sub(task.span) else {
        return;
    };
    let span = task.span;
    let mut band = Band {
        lines: Lines::of(task),
        task,
        rows,
        last_start,
        tiles: [Tile::default(); MOST_TILES],
        tile_count: 0,
        strip: Strip {
            len: 0,
            starts: [0; CAPACITY],
            weights: [[0.0; R]; CAPACITY],
        },
        partial: [[0.0; BAND]; R],
    };
    let width = rows.widest * lanes;
    let mut at = 0;
    while at < span {
        let start = at;
        band.tile_count = 0;
        while let Some(tile) = band.tiles.get_mut(band.tile_count)
            && at < span
            && at - start + width <= BAND
        {
            *tile = Tile::new(span, start, at, lanes, rows.widest, &band.lines);
            band.tile_count += 1;
            at += width;
        }
        visit(&mut band);
    }
}

/// A part of the run that is computed for `R` rows at a time. Only made by
/// kernels, whose callers promise the instruction set of `rows`.
struct Band<'s, 't, const R: usize> {
    task: &'s mut Spmm<'t>,
    rows: &'s Rows<R>,
    lines: Lines,
    /// The last place in the input where a run can start.
    last_start: usize,
    tiles: [Tile; MOST_TILES],
    tile_count: usize,
    strip: Strip<R>,
    partial: [[f32; BAND]; R],
}

impl<const R: usize> Band<'_, '_, R> {
    /// Computes rows from `row` on. Leaves them as they are if a column's run is
    /// not in the input.
    #[inline(always)]
    fn rows(&mut self, row: usize, mut entries: impl Iterator<Item = (usize, [f32; R])>) {
        let (base, offsets, last_start) = (self.task.base(row), self.task.offsets, self.last_start);
        let mut first = true;
        loop {
            let mut len = 0;
            let slots = self.strip.starts.iter_mut().zip(&mut self.strip.weights);
            for ((start, weights), (col, w)) in slots.zip(&mut entries) {
                (*start, *weights) = (base.wrapping_add(offsets.of(col)), w);
                if *start > last_start {
                    return;
                }
                len += 1;
            }
            let last = len < CAPACITY;
            self.strip.len = len;
            self.multiply(row, first, last);
            if last {
                return;
            }
            first = false;
        }
    }

    /// Multiplies the strip.
    fn multiply(&mut self, row: usize, first: bool, last: bool) {
        let mut step = Step {
            task: self.task,
            lines: &self.lines,
            strip: &self.strip,
            row,
            first,
            last,
            partial: &mut self.partial,
        };
        for tile in self.tiles.iter().take(self.tile_count) {
            let run = tile.vectors.checked_sub(1).and_then(|i| self.rows.tiles.get(i));
            // SAFETY: the instruction set was promised; runs of all starts are
            // in the input, tiles in the run and in the band.
            unsafe { run.unwrap_or(&self.rows.part)(&mut step, tile) }
        }
    }

    /// All rows of dense weights.
    #[inline(always)]
    fn dense<V: Value>(&mut self, weights: &[V], cols: usize) {
        let rows = weights.len().checked_div(cols).unwrap_or(0);
        for row in (0..rows).step_by(R) {
            // Rows behind the last one weigh nothing and are not stored.
            let weights = weights.get(row * cols..).unwrap_or(&[]);
            let entry = |col| {
                let weight = |r| weights.get(r * cols + col).map_or(0.0, |w: &V| w.to_f32());
                (col, core::array::from_fn(weight))
            };
            self.rows(row, (0..cols).map(entry));
        }
    }
}

impl RowSink for Band<'_, '_, 1> {
    #[inline(always)]
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        self.rows(row, entries.map(|(col, w)| (col, [w])));
    }
}

/// Rows of blocks of `r` by `c`, `R` dividing `r`.
struct Blocks<'b, 's, 't, const R: usize> {
    band: &'b mut Band<'s, 't, R>,
    r: usize,
    c: usize,
}

impl<V: Value, const R: usize> BlockSink<V> for Blocks<'_, '_, '_, R> {
    #[inline(always)]
    fn block_row(&mut self, row: usize, columns: impl Iterator<Item = usize> + Clone, values: &[V]) {
        let (r, c) = (self.r, self.c);
        for first in (0..r).step_by(R) {
            let blocks = columns.clone().zip(chunks(values, r * c));
            let entries = blocks.flat_map(|(column, block)| {
                (0..c).map(move |j| {
                    let weight = |i| block.get((first + i) * c + j).map_or(0.0, |w: &V| w.to_f32());
                    (column * c + j, core::array::from_fn(weight))
                })
            });
            self.band.rows(row + first, entries);
        }
    }
}
