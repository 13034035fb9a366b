//! `bitmask`: weights are spread over the lanes of their bits, 64 columns at a time.

use secateur_format::chunks::chunks;
use secateur_format::encoding::{Bitmask, Value};

use super::{Expand, SETS};
use crate::kernel::Spmv;

/// Columns of a word of the mask.
const WORD: usize = 64;
/// How far ahead values are asked for: their addresses come from the mask, too
/// irregular for the CPU to foresee, and it never looks past a page.
const AHEAD_BYTES: usize = 8192;

/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_expanded<V: Expand, T: Value>(view: &Bitmask<'_>, task: &mut Spmv<'_>) {
    let Some(values) = T::slice(&view.values) else { return };
    let Some(x) = task.x.get(..view.cols as usize) else {
        return;
    };
    let (words, rest) = x.as_chunks::<WORD>();
    // Room for a whole word at the end of the row.
    let mut end = [0.0; WORD];
    end.iter_mut().zip(rest).for_each(|(slot, x)| *slot = *x);

    let starts = view.row_start.iter().map(|&start| start as usize);
    let rows = chunks(view.mask, view.cols.div_ceil(8) as usize);
    for (row, (mask, mut at)) in rows.zip(starts).enumerate() {
        // The bytes of the columns in `words`, and of those in `end`.
        let (masks, rest) = mask.split_at_checked(8 * words.len()).unwrap_or((mask, &[]));
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [V::splat(0.0); SETS];
            for (mask, x) in masks.as_chunks::<8>().0.iter().zip(words) {
                V::prefetch(mask.as_ptr().wrapping_add(AHEAD_BYTES / 8));
                let ahead = values.as_ptr().wrapping_add(at).wrapping_byte_add(AHEAD_BYTES);
                V::prefetch(ahead);
                V::prefetch(ahead.wrapping_byte_add(64));
                at = add_word::<V, T>(&mut sums, u64::from_le_bytes(*mask), x, values, at);
            }
            if !rest.is_empty() {
                let mut mask = [0; 8];
                mask.iter_mut().zip(rest).for_each(|(byte, rest)| *byte = *rest);
                add_word::<V, T>(&mut sums, u64::from_le_bytes(mask), &end, values, at);
            }
            let [a, b, c, d] = sums;
            task.finish(row, &[a.add(b).add(c.add(d)).sum()]);
        }
    }
}

/// Adds the products of 64 columns, whose weights start at `at`; returns where the next start.
///
/// # Safety
/// As [`spmv_expanded`].
#[inline(always)]
unsafe fn add_word<V: Expand, T: Value>(
    sums: &mut [V; SETS],
    word: u64,
    x: &[f32; WORD],
    values: &[T],
    mut at: usize,
) -> usize {
    // Whole vectors are loaded unless the values end before.
    let inside = at + WORD <= values.len();
    // SAFETY: the instruction set is the caller's promise; 64 inputs, and no
    // weight past the last one.
    unsafe {
        let mut col = 0;
        while col < WORD {
            let bits = (word >> col) as u32 & ((1 << V::LANES) - 1);
            let weights = match inside {
                true => V::widen(values.as_ptr().add(at)),
                false => V::widen_first(
                    values.as_ptr().wrapping_add(at),
                    values.len().saturating_sub(at).min(V::LANES),
                ),
            };
            let sum = &mut sums[col / V::LANES % SETS];
            *sum = weights.expand_mul_add(bits, V::load(x.as_ptr().add(col)), *sum);
            at += bits.count_ones() as usize;
            col += V::LANES;
        }
    }
    at
}
