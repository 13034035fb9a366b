//! Encodings with an index per block: `csr16`, `win8` (both as blocks of one
//! weight) and `block`. Lanes are the weights as they are stored: several
//! small blocks, one, or a part of a tall one.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

use secateur_format::encoding::{Block, BlockPositions, Csr16, Value, WINDOW, Win8};

use super::ahead::Ahead;
use super::sums::Sums;
use super::windows::{MOST_ROWS, Piece, Pieces};
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
    let mut ahead = is_far(values, columns).then(|| Ahead::of(values, AHEAD_BYTES / size_of::<T>()));
    for (row, pair) in row_start.windows(2).enumerate() {
        let &[start, end] = pair else { continue };
        let blocks = start as usize..end as usize;
        let weights = weights::<T, R, C>(values, blocks.clone());
        // The columns behind those of the row are looked at, too, but do not count.
        let padded = columns.get(blocks.start..blocks.end.saturating_add(MOST_LANES));
        let own = padded.unwrap_or(columns.get(blocks.clone()).unwrap_or(&[]));
        // SAFETY: the caller's promise. Whole vectors are added with the columns where they are; so are
        // the others, unless no columns follow: then with a copy that has zeros behind it.
        unsafe {
            let mut sums = Sums::<V, R, C>::new();
            if weights.len() == blocks.len().saturating_mul(R * C) && V::all_below(own, task.x.len() / C) {
                let x = task.x.as_ptr();
                if padded.is_some() {
                    sums.add(x, own.as_ptr(), weights, &mut ahead);
                } else {
                    let step = SETS * V::LANES;
                    let (whole, rest) = weights.split_at_unchecked(weights.len() / step * step);
                    sums.add(x, own.as_ptr(), whole, &mut ahead);
                    let mut last = [0; SETS * MOST_LANES + MOST_LANES];
                    let columns = own.get(whole.len() / (R * C)..).unwrap_or(&[]);
                    last.iter_mut().zip(columns).for_each(|(slot, column)| *slot = *column);
                    sums.add(x, last.as_ptr(), rest, &mut None);
                }
            }
            sums.finish(row * R, task);
        }
    }
}

/// The weights of some blocks.
#[inline(always)]
fn weights<T, const R: usize, const C: usize>(values: &[T], blocks: Range<usize>) -> &[T] {
    let value = |block: usize| block.saturating_mul(R * C);
    values.get(value(blocks.start)..value(blocks.end)).unwrap_or(&[])
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
    let block_cols = block_cols as usize;
    let mut pieces = Pieces::new::<T, R, C>(counts, columns, block_cols, is_far(values, columns));
    let mut ahead = pieces.are_far().then(|| Ahead::of(values, 0));
    let mut started = [const { MaybeUninit::<Sums<V, R, C>>::uninit() }; MOST_ROWS];
    // The next piece is widened before the last one is used: single columns
    // cannot be read before the vectors that they were written in have reached the cache.
    let mut both = [Piece::EMPTY, Piece::EMPTY];
    let [mut piece, mut next] = both.each_mut();
    // SAFETY: the caller's promise; the first piece of a row comes first, and slots are fewer than `MOST_ROWS`.
    unsafe {
        let mut more = pieces.next::<V>(piece);
        while more {
            more = pieces.next::<V>(next);
            let kept = started.get_unchecked_mut(piece.slot);
            let mut sums = match piece.first_window {
                0 => Sums::new(),
                _ => kept.assume_init(),
            };
            if ahead.is_some() && piece.first_window == 0 && piece.slot == 0 {
                ahead = Some(Ahead::of(
                    values,
                    (piece.blocks.start + piece.ahead).saturating_mul(R * C),
                ));
            }
            let first = piece.first_window * WINDOW as usize;
            let x = task.x.get(first * C..).unwrap_or(&[]);
            let weights = weights::<T, R, C>(values, piece.blocks.clone());
            if weights.len() == piece.blocks.len() * R * C && x.len() >= (block_cols - first) * C {
                sums.add(x.as_ptr(), piece.columns(), weights, &mut ahead);
            }
            match piece.ends_row {
                true => sums.finish(piece.row * R, task),
                false => *kept = MaybeUninit::new(sums),
            }
            core::mem::swap(&mut piece, &mut next);
        }
    }
}
