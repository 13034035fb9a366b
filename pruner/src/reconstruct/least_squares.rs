//! The best weights that a mask allows: a least-squares problem per row, on its support.

use nalgebra::{DMatrix, RowDVector};
use rayon::prelude::*;

use super::problem::cholesky;
use super::{Problem, Singular, Solution};

pub(super) fn solve(problem: &Problem, mask: Vec<bool>) -> Result<Solution, Singular> {
    fit(&problem.damped(), mask)
}

/// Minimises the error of a damped problem over all weights that are zero where `mask` is `false`: of a row `w` with
/// support `S`, `H[S, S] w′[S] = (H w)[S]`. Since the damping pulls towards `w`, the error without it is no
/// more than that of the masked weights either.
pub(super) fn fit(damped: &Problem, mask: Vec<bool>) -> Result<Solution, Singular> {
    let (rows, cols) = damped.weights.shape();
    let wanted = &damped.weights * &damped.gram;
    let row = |row: usize| -> Result<RowDVector<f64>, Singular> {
        let mask = &mask[row * cols..][..cols];
        let kept: Vec<usize> = (0..cols).filter(|&col| mask[col]).collect();
        if kept.len() == cols {
            return Ok(damped.weights.row(row).into_owned());
        }
        let gram = DMatrix::from_fn(kept.len(), kept.len(), |i, j| damped.gram[(kept[i], kept[j])]);
        let wanted = DMatrix::from_fn(kept.len(), 1, |i, _| wanted[(row, kept[i])]);
        let found = cholesky(gram)?.solve(&wanted);
        let mut weights = RowDVector::zeros(cols);
        kept.iter().zip(&found).for_each(|(&col, &w)| weights[col] = w);
        Ok(weights)
    };
    let fitted: Vec<RowDVector<f64>> = (0..rows).into_par_iter().map(row).collect::<Result<_, _>>()?;
    let weights = match fitted.as_slice() {
        [] => DMatrix::zeros(0, cols),
        fitted => DMatrix::from_rows(fitted),
    };
    Ok(Solution { weights, mask })
}
