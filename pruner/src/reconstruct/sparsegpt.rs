//! SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774).
//!
//! Columns are decided from the first to the last, and those that follow make up for what a pruned weight gave. So
//! what is left of `H⁻¹` is the same for all rows: its rows are those of the upper Cholesky factor `U` of
//! `H⁻¹ = Uᵀ U`. Time is O(K³ + rows · K²).

use nalgebra::{DMatrix, DVector};

use super::problem::cholesky;
use super::{Problem, Removal, Singular, Solution};
use crate::mask::Pattern;

/// Columns whose weights compete.
const TILE: usize = 128;

pub(super) fn solve(problem: &Problem, removal: Removal) -> Result<Solution, Singular> {
    let damped = problem.damped();
    let upper = cholesky(cholesky(damped.gram)?.inverse())?.l().transpose();
    Ok(walk(damped.weights, &upper, removal, TILE))
}

/// Goes through the columns, `tile` at a time.
pub(super) fn walk(mut weights: DMatrix<f64>, upper: &DMatrix<f64>, removal: Removal, tile: usize) -> Solution {
    let (rows, cols) = weights.shape();
    let mut mask = vec![true; rows * cols];
    let (pattern, unit) = (removal.pattern, usize::from(removal.pattern.extents().1));
    let tile = tile - tile % unit;
    // Groups of N:M are chosen by what the columns before them have made of their weights.
    let choice = if matches!(pattern, Pattern::Nm { .. }) {
        unit
    } else {
        tile
    };
    let mut pruned = 0;
    for first in (0..cols).step_by(tile) {
        let end = cols.min(first + tile);
        // All tiles together lose what is asked for, to the unit.
        let due = (2 * removal.units * end + cols) / (2 * cols);
        let units = due - std::mem::replace(&mut pruned, due);
        let mut errors = DMatrix::zeros(rows, end - first);
        for start in (first..end).step_by(choice) {
            let within = start..end.min(start + choice);
            let score = |row, col| (weights[(row, col)] / upper[(col, col)]).powi(2);
            Removal { pattern, units }.prune(&mut mask, cols, within.clone(), score);
            for col in within {
                let own = DVector::from_fn(rows, |row, _| {
                    let pruned = !mask[row * cols + col];
                    if pruned {
                        weights[(row, col)] / upper[(col, col)]
                    } else {
                        0.0
                    }
                });
                for later in col..end {
                    weights.column_mut(later).axpy(-upper[(col, later)], &own, 1.0);
                }
                // Exactly.
                (0..rows)
                    .filter(|row| !mask[row * cols + col])
                    .for_each(|row| weights[(row, col)] = 0.0);
                errors.set_column(col - first, &own);
            }
        }
        let later = upper.view((first, end), (end - first, cols - end));
        weights.columns_mut(end, cols - end).gemm(-1.0, &errors, &later, 1.0);
    }
    Solution { weights, mask }
}
