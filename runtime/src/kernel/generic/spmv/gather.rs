//! Encodings with an index per block: `csr16`, `win8` (both as blocks of one
//! weight) and `block`. Lanes are the weights as they are stored: several
//! small blocks, one, or a part of a tall one.

use core::marker::PhantomData;
use core::ops::Range;

use secateur_format::chunks::chunks;
use secateur_format::encoding::{Block, BlockPositions, Csr16, Value, WINDOW, Win8};

use super::{Decode, SETS, entries};
use crate::kernel::Spmv;
use crate::kernel::vector::MOST_LANES;

/// How far ahead values are asked for: the CPU never looks past a page.
const AHEAD_BYTES: usize = 4096;

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
    for (row, pair) in row_start.windows(2).enumerate() {
        let &[start, end] = pair else { continue };
        let blocks = start as usize..end as usize;
        let columns = columns.get(blocks.clone()).unwrap_or(&[]);
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = Sums::<V, R, C>::new();
            sums.add(task.x, columns, weights::<T, R, C>(values, blocks));
            sums.finish(row * R, task);
        }
    }
}

/// The weights of some blocks.
fn weights<T, const R: usize, const C: usize>(values: &[T], blocks: Range<usize>) -> &[T] {
    let value = |block: usize| block.saturating_mul(R * C);
    values.get(value(blocks.start)..value(blocks.end)).unwrap_or(&[])
}

/// Columns of a row of blocks, counted from a window on.
struct Row {
    columns: [u16; Row::CAPACITY],
    len: usize,
    first_window: usize,
}

impl Row {
    const CAPACITY: usize = 1024;
    /// Columns that are widened at a time; what is behind `len` has no meaning.
    const STEP: usize = 32;

    /// Empties the row, and counts columns from `window` on.
    #[inline(always)]
    fn restart(&mut self, window: usize) {
        (self.len, self.first_window) = (0, window);
    }

    /// Whether a window with `count` blocks fits in, as any does in an empty row.
    #[inline(always)]
    fn has_room(&self, window: usize, count: usize) -> bool {
        window == self.first_window
            || (self.len + count.next_multiple_of(Self::STEP) <= Self::CAPACITY
                && window < self.first_window + WINDOW as usize)
    }

    /// Appends the `count` columns of a window, which are at `at`.
    #[inline(always)]
    fn push(&mut self, window: usize, columns: &[u8], at: usize, count: usize) {
        let base = ((window - self.first_window) * WINDOW as usize) as u16;
        let mut done = 0;
        while done < count {
            // Whole steps are read unless the columns end before.
            let mut step = [0; Self::STEP];
            let rest = columns.get(at + done..).unwrap_or(&[]);
            match rest.first_chunk() {
                Some(whole) => step = *whole,
                None => step.iter_mut().zip(rest).for_each(|(slot, column)| *slot = *column),
            }
            let slots = self.columns.get_mut(self.len + done..).unwrap_or(&mut []);
            if let Some(slots) = slots.first_chunk_mut::<{ Self::STEP }>() {
                for (slot, column) in slots.iter_mut().zip(step) {
                    *slot = base + u16::from(column);
                }
            }
            done += Self::STEP;
        }
        self.len += count;
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
    let mut row = Row {
        columns: [0; Row::CAPACITY],
        len: 0,
        first_window: 0,
    };
    let mut at = 0;
    for (block_row, counts) in chunks(counts, block_cols.div_ceil(WINDOW) as usize).enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = Sums::<V, R, C>::new();
            let mut window = 0;
            while window < counts.len() {
                row.restart(window);
                let first = at;
                // As many windows as the row has room for.
                while let Some(count) = counts.get(window).map(|&count| usize::from(count))
                    && row.has_room(window, count)
                {
                    row.push(window, columns, at, count);
                    at += count;
                    window += 1;
                }
                let x = task.x.get(row.first_window * WINDOW as usize * C..).unwrap_or(&[]);
                let columns = row.columns.get(..row.len).unwrap_or(&[]);
                sums.add(x, columns, weights::<T, R, C>(values, first..at));
            }
            sums.finish(block_row * R, task);
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

    /// Adds blocks of a row. Nothing if a column is outside `x` or weights are
    /// missing, which validated matrices do not have.
    ///
    /// # Safety
    /// As [`Self::new`].
    #[inline(always)]
    unsafe fn add<T: Value>(&mut self, x: &[f32], columns: &[u16], weights: &[T]) {
        // SAFETY: the caller's promise.
        let inside = unsafe { V::all_below(columns, x.len() / C) };
        if !inside || weights.len() != columns.len() * R * C {
            return;
        }
        let (x, columns, end) = (x.as_ptr(), columns.as_ptr(), weights.len());
        let weights = weights.as_ptr();
        let mut at = 0;
        // SAFETY: the instruction set is the caller's promise; `at` stays below
        // `end`, and the columns of all blocks are inside `x`, as was checked.
        unsafe {
            while at + SETS * V::LANES <= end {
                V::prefetch(columns.wrapping_add(at / (R * C)).wrapping_byte_add(AHEAD_BYTES / 2));
                for set in 0..SETS {
                    let at = at + set * V::LANES;
                    let weights = weights.add(at);
                    V::prefetch(weights.wrapping_byte_add(AHEAD_BYTES));
                    let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C)));
                    self.0[set] = V::widen(weights).mul_add(inputs, self.0[set]);
                }
                at += SETS * V::LANES;
            }
            for sum in &mut self.0 {
                if at + V::LANES > end {
                    break;
                }
                let inputs = V::inputs::<R, C>(x, columns.add(at / (R * C)));
                *sum = V::widen(weights.add(at)).mul_add(inputs, *sum);
                at += V::LANES;
            }
            let rest = end - at;
            if rest > 0 {
                let mut inputs = [0.0; MOST_LANES];
                for (i, input) in inputs.iter_mut().enumerate().take(rest) {
                    *input = *x.add(usize::from(*columns.add((at + i) / (R * C))) * C + i % C);
                }
                let inputs = V::load(inputs.as_ptr());
                // Blocks are smaller than a vector, so that any set will do.
                self.0[0] = V::widen_first(weights.add(at), rest).mul_add(inputs, self.0[0]);
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
