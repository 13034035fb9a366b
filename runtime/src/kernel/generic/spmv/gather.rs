//! Encodings with an index per block: `csr16`, `win8` (both as blocks of one
//! weight) and `block`. Lanes are the weights as they are stored: several
//! small blocks, one, or a part of a tall one.

use core::marker::PhantomData;
use core::ops::Range;

use secateur_format::encoding::{Block, BlockPositions, Csr16, Value, WINDOW, Win8};

use super::decode::COLUMNS;
use super::{AHEAD_BYTES, Decode, SETS, entries, is_far};
use crate::kernel::Spmv;
use crate::kernel::vector::MOST_LANES;

/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_csr16<V: Decode, T: Value>(
    view: &Csr16<'_>,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    let Some(values) = T::slice(&view.values) else { return };
    // SAFETY: the caller's promise.
    unsafe { by_start::<V, T, 1, 1>(view.row_start, view.columns, values, task) }
}

/// # Safety
/// As [`spmv_csr16`].
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_win8<V: Decode, T: Value>(
    view: &Win8<'_>,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    let Some(values) = T::slice(&view.values) else { return };
    // SAFETY: the caller's promise.
    unsafe { by_window::<V, T, 1, 1>(view.cols, view.counts, view.columns, values, task) }
}

/// # Safety
/// As [`spmv_csr16`].
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_block<V: Decode, T: Value>(
    view: &Block<'_>,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (view.r, view.c) {
            (2, 1) => blocks::<V, T, 2, 1>(view, task),
            (4, 1) => blocks::<V, T, 4, 1>(view, task),
            (8, 1) => blocks::<V, T, 8, 1>(view, task),
            (16, 1) => blocks::<V, T, 16, 1>(view, task),
            (1, 4) => blocks::<V, T, 1, 4>(view, task),
            _ => entries::spmv::<V, _, T>(view, task),
        }
    }
}

/// # Safety
/// As [`spmv_csr16`].
#[inline(always)]
unsafe fn blocks<V: Decode, T: Value, const R: usize, const C: usize>(view: &Block<'_>, task: &mut Spmv<'_>) {
    let Some(values) = T::slice(&view.values) else { return };
    // SAFETY: the caller's promise.
    unsafe {
        match view.index {
            BlockPositions::Csr16 { row_start, columns } => by_start::<V, T, R, C>(row_start, columns, values, task),
            BlockPositions::Win8 { counts, columns } => {
                by_window::<V, T, R, C>(view.block_cols, counts, columns, values, task);
            }
        }
    }
}

/// # Safety
/// As [`spmv_csr16`].
#[inline(always)]
unsafe fn by_start<V: Decode, T: Value, const R: usize, const C: usize>(
    row_start: &[u32],
    columns: &[u16],
    values: &[T],
    task: &mut Spmv<'_>,
) {
    let far = is_far(values);
    for (row, pair) in row_start.windows(2).enumerate() {
        let &[start, end] = pair else { continue };
        let blocks = start as usize..end as usize;
        let weights = weights::<T, R, C>(values, blocks.clone());
        let columns = columns.get(blocks).unwrap_or(&[]);
        // SAFETY: the caller's promise. Whole vectors are added with the columns
        // where they are, the others with a copy that has zeros behind it.
        unsafe {
            let mut sums = Sums::<V, R, C>::new();
            if weights.len() == columns.len() * R * C && V::all_below(columns, task.x.len() / C) {
                let step = SETS * V::LANES;
                let whole = weights.len() / step * step;
                let (weights, rest) = weights.split_at_unchecked(whole);
                sums.add(task.x.as_ptr(), columns.as_ptr(), weights, far);
                let mut last = [0; SETS * MOST_LANES + MOST_LANES];
                last.iter_mut()
                    .zip(columns.get(whole / (R * C)..).unwrap_or(&[]))
                    .for_each(|(slot, column)| *slot = *column);
                sums.add_all::<T, false>(task.x.as_ptr(), last.as_ptr(), rest);
            }
            sums.finish(row * R, task);
        }
    }
}

/// The weights of some blocks.
fn weights<T, const R: usize, const C: usize>(values: &[T], blocks: Range<usize>) -> &[T] {
    let value = |block: usize| block.saturating_mul(R * C);
    values.get(value(blocks.start)..value(blocks.end)).unwrap_or(&[])
}

/// Columns of a row of blocks, or of a part of it, counted from a window on.
struct Piece {
    columns: [u16; Piece::CAPACITY],
    /// Blocks, counted through all rows.
    blocks: Range<usize>,
    row: usize,
    first_window: usize,
    ends_row: bool,
}

impl Piece {
    const CAPACITY: usize = 1024 + Self::STEP;
    /// Columns that are widened at a time. That many behind the last one are 0.
    const STEP: usize = COLUMNS;

    const EMPTY: Self = Self {
        columns: [0; Self::CAPACITY],
        blocks: 0..0,
        row: 0,
        first_window: 0,
        ends_row: false,
    };
}

/// Cuts the blocks of a `win8` index into pieces.
struct Pieces<'a> {
    counts: &'a [u16],
    columns: &'a [u8],
    /// Windows of a row.
    windows: usize,
    /// Block columns.
    cols: usize,
    row: usize,
    window: usize,
    /// The first block that is in no piece yet.
    at: usize,
}

impl Pieces<'_> {
    /// As many windows of a row as fit; `false` if all rows are done.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    unsafe fn next<V: Decode>(&mut self, piece: &mut Piece) -> bool {
        let counts = self.counts.get(self.row * self.windows..).unwrap_or(&[]);
        let Some(counts) = counts.get(..self.windows) else {
            return false;
        };
        let (first, start) = (self.window, self.at);
        let last_column = (self.cols - (first * WINDOW as usize).min(self.cols)).saturating_sub(1);
        let last_column = last_column.min(u16::MAX.into()) as u16;
        let end = (first + WINDOW as usize).min(self.windows);
        while self.window < end {
            let count = usize::from(counts.get(self.window).copied().unwrap_or(0));
            let len = self.at - start;
            if len + count > Piece::CAPACITY - Piece::STEP {
                break;
            }
            let base = ((self.window - first) * WINDOW as usize) as u16;
            let mut done = 0;
            // Once at least, so that zeros follow.
            loop {
                // Whole steps are read unless the columns end before.
                let mut copy = [0; Piece::STEP];
                let rest = self.columns.get(self.at + done..).unwrap_or(&[]);
                let step = rest.first_chunk().unwrap_or_else(|| {
                    copy.iter_mut().zip(rest).for_each(|(slot, column)| *slot = *column);
                    &copy
                });
                let slots = piece.columns.get_mut(len + done..).unwrap_or(&mut []);
                // SAFETY: the caller's promise.
                unsafe { V::prefetch(step.as_ptr().wrapping_byte_add(AHEAD_BYTES / 4)) }
                if let Some(slots) = slots.first_chunk_mut() {
                    // No column is outside the row: no need to check them later.
                    // SAFETY: the caller's promise.
                    unsafe { V::columns(step, base, last_column, slots) }
                }
                done += Piece::STEP;
                if done >= count {
                    break;
                }
            }
            self.at += count;
            self.window += 1;
        }
        let slots = piece.columns.get_mut(self.at - start..).unwrap_or(&mut []);
        if let Some(slots) = slots.first_chunk_mut::<{ Piece::STEP }>() {
            *slots = [0; Piece::STEP];
        }
        piece.blocks = start..self.at;
        (piece.row, piece.first_window) = (self.row, first);
        piece.ends_row = self.window == self.windows;
        if piece.ends_row {
            (self.row, self.window) = (self.row + 1, 0);
        }
        true
    }
}

/// # Safety
/// As [`spmv_csr16`].
#[inline(always)]
unsafe fn by_window<V: Decode, T: Value, const R: usize, const C: usize>(
    block_cols: u32,
    counts: &[u16],
    columns: &[u8],
    values: &[T],
    task: &mut Spmv<'_>,
) {
    let far = is_far(values);
    let mut pieces = Pieces {
        counts,
        columns,
        windows: block_cols.div_ceil(WINDOW) as usize,
        cols: block_cols as usize,
        row: 0,
        window: 0,
        at: 0,
    };
    // The next piece is widened before the last one is used: single columns
    // cannot be read before the vectors that they were written in have reached the cache.
    let mut both = [Piece::EMPTY, Piece::EMPTY];
    let [mut piece, mut next] = both.each_mut();
    // SAFETY: the caller's promise.
    unsafe {
        let mut more = pieces.next::<V>(piece);
        let mut sums = Sums::<V, R, C>::new();
        while more {
            more = pieces.next::<V>(next);
            let x = task.x.get(piece.first_window * WINDOW as usize * C..).unwrap_or(&[]);
            let (columns, weights) = (piece.columns.as_ptr(), weights::<T, R, C>(values, piece.blocks.clone()));
            let blocks = pieces.cols - piece.first_window * WINDOW as usize;
            if weights.len() == piece.blocks.len() * R * C && x.len() >= blocks * C {
                sums.add(x.as_ptr(), columns, weights, far);
            }
            if piece.ends_row {
                sums.finish(piece.row * R, task);
                sums = Sums::new();
            }
            core::mem::swap(&mut piece, &mut next);
        }
    }
}

/// Partial sums of a row of blocks, in the order in which its weights are
/// stored: those of `R · C` neighbouring lanes are of one block.
struct Sums<V, const R: usize, const C: usize>([V; SETS]);

impl<V: Decode, const R: usize, const C: usize> Sums<V, R, C> {
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { [V::splat(0.0); SETS] })
    }

    /// Adds blocks of a row.
    ///
    /// # Safety
    /// As [`Self::new`]. There is a column for each block of weights, and as
    /// many more as a vector has lanes; all are inside `x`, or 0 behind the last.
    #[inline(always)]
    unsafe fn add<T: Value>(&mut self, x: *const f32, columns: *const u16, weights: &[T], far: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            match far {
                true => self.add_all::<T, true>(x, columns, weights),
                false => self.add_all::<T, false>(x, columns, weights),
            }
        }
    }

    /// # Safety
    /// As [`Self::add`].
    #[inline(always)]
    unsafe fn add_all<T: Value, const FAR: bool>(&mut self, x: *const f32, columns: *const u16, weights: &[T]) {
        let end = weights.len();
        let weights = weights.as_ptr();
        let mut at = 0;
        // SAFETY: the caller's promise; `at` stays below `end`.
        unsafe {
            while at + SETS * V::LANES <= end {
                for set in 0..SETS {
                    let at = at + set * V::LANES;
                    if FAR {
                        V::prefetch(weights.wrapping_add(at).wrapping_byte_add(AHEAD_BYTES));
                    }
                    let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C)));
                    self.0[set] = V::widen(weights.add(at)).mul_add(inputs, self.0[set]);
                }
                at += SETS * V::LANES;
            }
            for sum in &mut self.0 {
                if at >= end {
                    break;
                }
                let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C)));
                if R * C >= V::LANES {
                    *sum = V::widen(weights.add(at)).mul_add(inputs, *sum);
                } else {
                    // Not even zero times an input that may be infinite.
                    let mut lanes = [0.0; MOST_LANES];
                    inputs.store(lanes.as_mut_ptr());
                    let count = (end - at).min(V::LANES);
                    let inputs = V::load_first(lanes.as_ptr(), count);
                    *sum = V::widen_first(weights.add(at), count).mul_add(inputs, *sum);
                }
                at += V::LANES;
            }
        }
    }

    /// # Safety
    /// As [`Self::new`].
    #[inline(always)]
    unsafe fn finish(self, row: usize, task: &mut Spmv<'_>) {
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
