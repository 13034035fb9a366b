//! Dense rows: four at a time, so that an input is loaded once for all of them.

use core::marker::PhantomData;

use secateur_format::chunks::chunks;
use secateur_format::encoding::{Dense, Value};

use super::Decode;
use crate::kernel::Spmv;

/// Rows at a time.
const ROWS: usize = 4;

/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn spmv_dense<V: Decode, T: Value>(
    view: &Dense<'_>,
    task: &mut Spmv<'_>,
    _: PhantomData<T>,
) {
    let Some(values) = T::slice(&view.values) else { return };
    let Some(x) = task.x.get(..view.cols as usize) else {
        return;
    };
    // SAFETY: the caller's promise.
    unsafe {
        // As many sets of sums as the registers hold.
        match V::SUMS / ROWS {
            0 | 1 => all_rows::<V, T, 1>(x, values, task),
            2 | 3 => all_rows::<V, T, 2>(x, values, task),
            _ => all_rows::<V, T, 4>(x, values, task),
        }
    }
}

/// # Safety
/// As [`spmv_dense`].
#[inline(always)]
unsafe fn all_rows<V: Decode, T: Value, const SETS: usize>(x: &[f32], values: &[T], task: &mut Spmv<'_>) {
    let mut row = 0;
    for weights in chunks(values, ROWS * x.len()) {
        // SAFETY: the caller's promise; `ROWS` rows of weights.
        task.finish(row, &unsafe { dot::<V, T, ROWS, SETS>(x, weights.as_ptr()) });
        row += ROWS;
    }
    for weights in chunks(values.get(row * x.len()..).unwrap_or(&[]), x.len()) {
        // SAFETY: the caller's promise; a row of weights.
        task.finish(row, &unsafe { dot::<V, T, 1, SETS>(x, weights.as_ptr()) });
        row += 1;
    }
}

/// The sums of `R` rows of weights. The order of a row's sum does not depend on `R`.
///
/// # Safety
/// As [`spmv_dense`]; `weights` are `R` rows of `x.len()`.
#[inline(always)]
unsafe fn dot<V: Decode, T: Value, const R: usize, const SETS: usize>(x: &[f32], weights: *const T) -> [f32; R] {
    // SAFETY: the instruction set is the caller's promise; columns stay below `x.len()`.
    unsafe {
        let mut sums = [[V::splat(0.0); R]; SETS];
        let mut col = 0;
        while col + SETS * V::LANES <= x.len() {
            for (set, sums) in sums.iter_mut().enumerate() {
                let col = col + set * V::LANES;
                let input = V::load(x.as_ptr().add(col));
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = V::widen(weights.add(row * x.len() + col)).mul_add(input, *sum);
                }
            }
            col += SETS * V::LANES;
        }
        for sums in &mut sums {
            let count = (x.len() - col).min(V::LANES);
            if count == 0 {
                break;
            }
            let input = V::load_first(x.as_ptr().add(col), count);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = V::widen_first(weights.add(row * x.len() + col), count).mul_add(input, *sum);
            }
            col += count;
        }
        // No closures here: they would not be compiled for the instruction set.
        let mut results = [0.0; R];
        for (row, result) in results.iter_mut().enumerate() {
            let mut sum = sums[0][row];
            for set in sums.iter().skip(1) {
                sum = sum.add(set[row]);
            }
            *result = sum.sum();
        }
        results
    }
}
