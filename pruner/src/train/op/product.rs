//! Matrix products, and the linear operator, which is one.
//!
//! `ndarray` calls the `matrixmultiply` crate. On one core of an EPYC (Zen 5) that reached 69 to 205
//! GFLOP/s for the shapes of ResNet-20, the `gemm` crate 53 to 120.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

use crate::train::simd;

/// The view `[rows, cols]` of a slice whose rows lie `stride` apart.
pub(super) fn matrix(data: &[f32], rows: usize, cols: usize, stride: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, cols).strides((stride, 1)), data).expect("the matrix lies within its buffer")
}

/// As [`matrix`], to be written.
pub(super) fn matrix_mut(data: &mut [f32], rows: usize, cols: usize, stride: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, cols).strides((stride, 1)), data).expect("the matrix lies within its buffer")
}

/// `y = a · b + keep · y`; with `keep` 0, what `y` held does not matter.
pub(super) fn multiply(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, keep: f32, mut y: ArrayViewMut2<'_, f32>) {
    general_mat_mul(1.0, &a, &b, keep, &mut y);
}

/// Sets each row of `y` to its number of `bias`; returns the `keep` that then adds to it.
pub(super) fn start_from(bias: Option<&[f32]>, y: &mut [f32], row: usize) -> f32 {
    let Some(bias) = bias else { return 0.0 };
    for (y, &bias) in y.chunks_exact_mut(row).zip(bias) {
        y.fill(bias);
    }
    1.0
}

/// The gradient of a bias: the sums of the rows of `dy`.
pub(in crate::train) fn bias_backward(dy: &[f32], row: usize, dbias: &mut [f32]) {
    for (dy, dbias) in dy.chunks_exact(row).zip(dbias) {
        *dbias += simd::sum(dy);
    }
}

/// `y = W · x + b`: `w` `[rows, cols]`, `x` `[cols, count]`, `y` `[rows, count]`, where `count` is
/// samples times tokens.
pub(in crate::train) fn linear(w: &[f32], bias: Option<&[f32]>, x: &[f32], count: usize, y: &mut [f32]) {
    let (rows, cols) = (y.len() / count, x.len() / count);
    let keep = start_from(bias, y, count);
    multiply(
        matrix(w, rows, cols, cols),
        matrix(x, cols, count, count),
        keep,
        matrix_mut(y, rows, count, count),
    );
}

/// Adds the gradient of the weights: `dw += dy · xᵀ`.
pub(in crate::train) fn linear_weight_backward(x: &[f32], dy: &[f32], count: usize, dw: &mut [f32]) {
    let (rows, cols) = (dy.len() / count, x.len() / count);
    let x = matrix(x, cols, count, count);
    multiply(
        matrix(dy, rows, count, count),
        x.reversed_axes(),
        1.0,
        matrix_mut(dw, rows, cols, cols),
    );
}

/// Adds the gradient of the input: `dx += Wᵀ · dy`.
pub(in crate::train) fn linear_input_backward(w: &[f32], dy: &[f32], count: usize, dx: &mut [f32]) {
    let (rows, cols) = (dy.len() / count, dx.len() / count);
    let w = matrix(w, rows, cols, cols);
    multiply(
        w.reversed_axes(),
        matrix(dy, rows, count, count),
        1.0,
        matrix_mut(dx, cols, count, count),
    );
}
