//! `bitmask`: weights and inputs are brought together 64 columns at a time, in
//! one of two ways. Where weights are many, they are spread over the lanes of
//! their bits; where they are few, the inputs of the set bits are collected.

use secateur_format::encoding::{Bitmask, Value};

use super::ahead::Ahead;
use super::{Expand, is_far};
use crate::kernel::Spmv;

/// Columns of a word of the mask.
const WORD: usize = 64;
/// Rows at a time, which share the loads of the inputs.
const ROWS: usize = 4;
/// Sets of partial sums of a row: with [`ROWS`], enough to hide the latency of multiply-adds.
const SETS: usize = 2;
/// Weights of a word, on average, up to which inputs are collected: two vectors of them take as long as four that are spread.
const FEW: usize = 18;

/// A matrix and its input.
struct Operands<'a, T> {
    values: &'a [T],
    mask: &'a [u8],
    row_start: &'a [u32],
    x: &'a [f32],
    /// The inputs behind the last whole word, with zeros behind them.
    end: [f32; WORD],
}

/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_expanded<V: Expand, T: Value>(view: &Bitmask<'_>, task: &mut Spmv<'_>) {
    let Some(values) = T::slice(&view.values) else { return };
    let Some(x) = task.x.get(..view.cols as usize) else {
        return;
    };
    let mut end = [0.0; WORD];
    end.iter_mut()
        .zip(x.as_chunks::<WORD>().1)
        .for_each(|(slot, x)| *slot = *x);
    let operands = Operands {
        values,
        mask: view.mask,
        row_start: view.row_start,
        x,
        end,
    };
    // SAFETY: the caller's promise.
    unsafe { operands.all_rows::<V>(task) }
}

impl<T: Value> Operands<'_, T> {
    /// # Safety
    /// As [`spmv_expanded`].
    #[inline(always)]
    unsafe fn all_rows<V: Expand>(&self, task: &mut Spmv<'_>) {
        let rows = self.row_start.len().saturating_sub(1);
        let mut row = 0;
        while row < rows {
            let count = match self.alike::<V>(row) {
                true => ROWS,
                false => 1,
            };
            // SAFETY: the caller's promise; `alike` says that the rows are there, and inside.
            unsafe {
                match (count, self.are_few::<V>(row)) {
                    (ROWS, true) => task.finish(row, &self.rows::<V, ROWS, true, true>(row)),
                    (ROWS, false) => task.finish(row, &self.rows::<V, ROWS, false, true>(row)),
                    (_, true) => task.finish(row, &self.rows::<V, 1, true, false>(row)),
                    (_, false) => task.finish(row, &self.rows::<V, 1, false, false>(row)),
                }
            }
            row += count;
        }
    }

    /// Whether a row's inputs are to be collected: a row chooses for itself, so
    /// that its bits do not depend on others.
    #[inline(always)]
    fn are_few<V: Expand>(&self, row: usize) -> bool {
        match self.row_start.get(row..row + 2) {
            Some(&[start, end]) => V::COLLECTS && end.wrapping_sub(start) as usize <= FEW * self.x.len().div_ceil(WORD),
            _ => false,
        }
    }

    /// Whether [`ROWS`] rows from `row` on can go together: they are there, choose alike, and from the
    /// start of each there are more weights than it has columns, so that none needs be checked.
    #[inline(always)]
    fn alike<V: Expand>(&self, row: usize) -> bool {
        let Some(starts) = self.row_start.get(row..row + ROWS + 1) else {
            return false;
        };
        let inside = |start: &u32| (*start as usize).saturating_add(self.x.len() + WORD) <= self.values.len();
        let few = self.are_few::<V>(row);
        starts.iter().take(ROWS).all(inside) && (1..ROWS).all(|next| self.are_few::<V>(row + next) == few)
    }

    /// The sums of `R` rows. The order of a row's sum does not depend on `R`.
    ///
    /// # Safety
    /// As [`spmv_expanded`]. If `INSIDE`, behind the start of each row are as
    /// many weights as it has columns, and [`WORD`] more.
    #[inline(always)]
    unsafe fn rows<V: Expand, const R: usize, const COLLECT: bool, const INSIDE: bool>(&self, row: usize) -> [f32; R] {
        let row_bytes = self.x.len().div_ceil(8);
        let masks = self.mask.get(row * row_bytes..(row + R) * row_bytes);
        let (Some(masks), Some(starts)) = (masks, self.row_start.get(row..row + R)) else {
            return [0.0; R];
        };
        let words = self.x.len() / WORD;
        // SAFETY: the caller's promise; the words are inside `x` and each row's mask.
        unsafe {
            let mut sums = [[V::splat(0.0); SETS]; R];
            let mut at = [0; R];
            at.iter_mut()
                .zip(starts)
                .for_each(|(at, start)| *at = (*start as usize).min(self.values.len()));
            // The next rows, as long as these.
            let next = |row: usize| self.row_start.get(row).map_or(0, |&start| start as usize);
            let mut ahead = is_far(self.values, self.mask).then(|| {
                let masks = Ahead::of(self.mask, (row + R) * row_bytes);
                (masks, Ahead::of(self.values, next(row + R)))
            });
            let step = (next(row + R).saturating_sub(next(row)) / words.max(1)).saturating_mul(size_of::<T>());
            for word in 0..words {
                if let Some((masks, values)) = &mut ahead {
                    masks.pass::<V>(R * WORD / 8);
                    values.pass::<V>(step);
                }
                let x = self.x.as_ptr().add(word * WORD);
                for (r, (sums, at)) in sums.iter_mut().zip(&mut at).enumerate() {
                    let mask = masks.as_ptr().add(r * row_bytes + 8 * word);
                    *at = self.add_word::<V, COLLECT, INSIDE>(sums, mask, x, *at);
                }
            }
            if words * WORD < self.x.len() {
                for (r, (sums, at)) in sums.iter_mut().zip(&mut at).enumerate() {
                    let mut mask = [0; 8];
                    let rest = masks.get(r * row_bytes + 8 * words..(r + 1) * row_bytes).unwrap_or(&[]);
                    mask.iter_mut().zip(rest).for_each(|(byte, rest)| *byte = *rest);
                    self.add_word::<V, COLLECT, INSIDE>(sums, mask.as_ptr(), self.end.as_ptr(), *at);
                }
            }
            let mut results = [0.0; R];
            for (result, [a, b]) in results.iter_mut().zip(sums) {
                *result = a.add(b).sum();
            }
            results
        }
    }

    /// Adds the products of 64 columns, whose weights start at `at`; returns where the next start.
    ///
    /// # Safety
    /// As [`Self::rows`]; `mask` are 8 bytes and `x` 64 numbers.
    #[inline(always)]
    unsafe fn add_word<V: Expand, const COLLECT: bool, const INSIDE: bool>(
        &self,
        sums: &mut [V; SETS],
        mask: *const u8,
        x: *const f32,
        at: usize,
    ) -> usize {
        // SAFETY: the caller's promise; no weight past the last one is read.
        unsafe {
            let word = u64::from_le_bytes(mask.cast::<[u8; 8]>().read());
            let count = word.count_ones() as usize;
            if COLLECT {
                if INSIDE || at + count <= self.values.len() {
                    sums[0] = V::collect_mul_add(mask, count, x, self.values.as_ptr().add(at), sums[0]);
                }
                return at + count;
            }
            for i in 0..WORD / V::LANES {
                let col = i * V::LANES;
                // Not one after the other, which would be a chain of additions.
                let at = at + (word & ((1 << col) - 1)).count_ones() as usize;
                let weights = match INSIDE || at + V::LANES <= self.values.len() {
                    true => V::widen(self.values.as_ptr().add(at)),
                    false => V::widen_first(
                        self.values.as_ptr().wrapping_add(at),
                        self.values.len().saturating_sub(at).min(V::LANES),
                    ),
                };
                let sum = &mut sums[i % SETS];
                *sum = weights.expand_mul_add(mask.add(col / 8), V::load(x.add(col)), *sum);
            }
            at + count
        }
    }
}
