//! `nm`: a group's weights pick their inputs from registers, four rows at a
//! time, so that the inputs are loaded once for all of them.

use core::marker::PhantomData;

use secateur_format::encoding::{Nm, Value};

use super::decode::{MOST_SOURCES, position_bits};
use super::{Decode, entries};
use crate::kernel::Spmv;
use crate::kernel::vector::MOST_LANES;

/// Rows at a time.
const ROWS: usize = 4;
/// Sets of partial sums of a row.
const SETS: usize = 2;

/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_nm<V: Decode, T: Value>(view: &Nm<'_>, task: &mut Spmv<'_>, _: PhantomData<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        match (view.n, view.m) {
            (1, 2) => all_rows::<V, T, 1, 2>(view, task),
            (1, 4) => all_rows::<V, T, 1, 4>(view, task),
            (2, 4) => all_rows::<V, T, 2, 4>(view, task),
            (4, 8) => all_rows::<V, T, 4, 8>(view, task),
            _ => entries::spmv::<V, _, T>(view, task),
        }
    }
}

/// # Safety
/// As [`spmv_nm`].
#[inline(always)]
unsafe fn all_rows<V: Decode, T: Value, const N: usize, const M: usize>(view: &Nm<'_>, task: &mut Spmv<'_>) {
    let Some(values) = T::slice(&view.values) else { return };
    let Some(x) = task.x.get(..view.cols as usize) else {
        return;
    };
    let stored = x.len() / M * N;
    let row_bytes = (stored * position_bits(M)).div_ceil(8);
    if stored == 0 {
        return;
    }
    let rows = (values.len() / stored).min(view.positions.len() / row_bytes);
    let mut row = 0;
    while row < rows {
        // SAFETY: the caller's promise; `rows` rows have all their weights and positions.
        unsafe {
            let (weights, positions) = (
                values.as_ptr().add(row * stored),
                view.positions.as_ptr().add(row * row_bytes),
            );
            if row + ROWS <= rows {
                task.finish(row, &dot::<V, T, N, M, ROWS>(x, weights, positions));
                row += ROWS;
            } else {
                task.finish(row, &dot::<V, T, N, M, 1>(x, weights, positions));
                row += 1;
            }
        }
    }
}

/// The sums of `R` rows. The order of a row's sum does not depend on `R`.
///
/// # Safety
/// As [`spmv_nm`]; `weights` and `positions` are those of `R` rows of `x.len()` columns.
#[inline(always)]
unsafe fn dot<V: Decode, T: Value, const N: usize, const M: usize, const R: usize>(
    x: &[f32],
    weights: *const T,
    positions: *const u8,
) -> [f32; R] {
    let stored = x.len() / M * N;
    let row_bytes = (stored * position_bits(M)).div_ceil(8);
    let sources = M / N;
    // SAFETY: the instruction set is the caller's promise; `at` stays below
    // `stored`, so that columns and position bytes are inside their rows.
    unsafe {
        let mut sums = [[V::splat(0.0); R]; SETS];
        let mut at = 0;
        while at + V::LANES <= stored {
            for sums in &mut sums {
                if at + V::LANES > stored {
                    break;
                }
                let mut inputs = [V::splat(0.0); MOST_SOURCES];
                for (i, input) in inputs.iter_mut().enumerate().take(sources) {
                    *input = V::load(x.as_ptr().add(at * sources + i * V::LANES));
                }
                for (row, sum) in sums.iter_mut().enumerate() {
                    let positions = read::<M>(positions.add(row * row_bytes), at, V::LANES);
                    let weights = V::widen(weights.add(row * stored + at));
                    *sum = weights.mul_add(V::pick::<N, M>(&inputs, positions), *sum);
                }
                at += V::LANES;
            }
        }
        let count = stored - at;
        if count > 0 {
            let mut rest = [0.0; MOST_SOURCES * MOST_LANES];
            let behind = x.get(at * sources..).unwrap_or(&[]);
            rest.iter_mut().zip(behind).for_each(|(slot, x)| *slot = *x);
            let mut inputs = [V::splat(0.0); MOST_SOURCES];
            for (i, input) in inputs.iter_mut().enumerate() {
                *input = V::load(rest.as_ptr().add(i * V::LANES));
            }
            for (row, sum) in sums[SETS - 1].iter_mut().enumerate() {
                let positions = read::<M>(positions.add(row * row_bytes), at, count);
                let weights = V::widen_first(weights.add(row * stored + at), count);
                *sum = weights.mul_add(V::pick::<N, M>(&inputs, positions), *sum);
            }
        }
        let mut results = [0.0; R];
        for (row, result) in results.iter_mut().enumerate() {
            *result = sums[0][row].add(sums[1][row]).sum();
        }
        results
    }
}

/// `count` positions of a row from the one of weight `at` on, lowest bits first.
///
/// # Safety
/// The row has them.
#[inline(always)]
unsafe fn read<const M: usize>(row: *const u8, at: usize, count: usize) -> u64 {
    let bit = at * position_bits(M);
    // A multiple of eight positions ends with a byte.
    let shift = if count.is_multiple_of(8) { 0 } else { bit % 8 };
    let bytes = (shift + count * position_bits(M)).div_ceil(8);
    // SAFETY: the caller's promise.
    unsafe {
        let first = row.add(bit / 8);
        let mut word = 0;
        for i in 0..bytes {
            word |= u64::from(*first.add(i)) << (8 * i);
        }
        word >> shift
    }
}
