//! What a method is given, and what it returns.

use nalgebra::{Cholesky, DMatrix, Dyn};

use super::Singular;

/// Share of the mean of the diagonal that is added to it, so that few samples do not make the weights run away
/// (as in the code of arXiv 2208.11580, 2301.00774 and 2406.07831).
const DAMPING: f64 = 0.01;

/// Outputs that share their inputs, and what is known of these.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Weights `W` `[rows, K]`.
    pub weights: DMatrix<f64>,
    /// The Gram matrix of the inputs, `H = Xᵀ X` `[K, K]`; a factor does not matter.
    pub gram: DMatrix<f64>,
}

/// Pruned weights.
#[derive(Clone, Debug)]
pub struct Solution {
    /// `[rows, K]`, zero where the mask is `false`.
    pub weights: DMatrix<f64>,
    /// `[rows, K]`, row by row: `true` keeps a weight.
    pub mask: Vec<bool>,
}

impl Problem {
    /// How far the outputs are from their own with other weights: `tr((W−W′) H (W−W′)ᵀ)`.
    pub fn error(&self, weights: &DMatrix<f64>) -> f64 {
        let difference = &self.weights - weights;
        (&difference * &self.gram).dot(&difference)
    }

    /// The weights, zero where `mask` is `false`.
    pub fn masked(&self, mask: &[bool]) -> DMatrix<f64> {
        let cols = self.weights.ncols();
        let keep = |row: usize, col: usize| mask.get(row * cols + col).copied().unwrap_or(true);
        DMatrix::from_fn(self.weights.nrows(), cols, |row, col| {
            if keep(row, col) { self.weights[(row, col)] } else { 0.0 }
        })
    }

    /// The problem that methods solve: `H` damped so that it is positive definite, and inputs that are always zero
    /// apart from all others, with weights of zero.
    pub(super) fn damped(&self) -> Self {
        let mut damped = self.clone();
        let cols = self.gram.ncols();
        let damping = DAMPING * self.gram.trace() / cols.max(1) as f64;
        for col in 0..cols {
            let dead = self.gram[(col, col)] == 0.0;
            damped.gram[(col, col)] = if dead { 1.0 } else { self.gram[(col, col)] + damping };
            if dead {
                damped.weights.column_mut(col).fill(0.0);
            }
        }
        damped
    }
}

/// The Cholesky factors of a positive definite matrix.
pub(super) fn cholesky(matrix: DMatrix<f64>) -> Result<Cholesky<f64, Dyn>, Singular> {
    // Comparisons with NaN fail, so that it would pass for a pivot.
    if !matrix.iter().all(|x| x.is_finite()) {
        return Err(Singular);
    }
    Cholesky::new(matrix).ok_or(Singular)
}
