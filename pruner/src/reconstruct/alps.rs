//! ALPS (Meng et al. 2024, arXiv 2406.07831): weights `B` that fit and weights `D` that are sparse, pulled together by
//! ADMM, ever more strongly.
//!
//! Ours: the values on the final support are exact, where the authors' code takes ten steps of conjugate
//! gradients; and ρ is lowered at most [`LOWERINGS`] times.

use nalgebra::{DMatrix, DVector};

use super::{Problem, Removal, Singular, Solution, least_squares};

const ITERATIONS: usize = 300;
/// Iterations from one change of ρ to the next.
const PERIOD: usize = 3;
/// Iterations after which a support that hardly changes is taken.
const PATIENCE: usize = 30;
/// Share of the support that may change then.
const SETTLED: f64 = 3e-4;
const LOWERINGS: usize = 20;

pub(super) fn solve(problem: &Problem, removal: Removal) -> Result<Solution, Singular> {
    let damped = problem.damped();
    if !damped.gram.iter().all(|x| x.is_finite()) {
        return Err(Singular);
    }
    let mask = support(&damped, removal);
    least_squares::fit(&damped, mask)
}

/// The support that ADMM ends with. Columns are scaled so that the diagonal of the Gram matrix is 1.
fn support(damped: &Problem, removal: Removal) -> Vec<bool> {
    let scale = damped.gram.diagonal().map(|x| x.sqrt() + 1e-8);
    let (rows, cols) = damped.weights.shape();
    let gram = DMatrix::from_fn(cols, cols, |i, j| damped.gram[(i, j)] / (scale[i] * scale[j]));
    let dense = DMatrix::from_fn(rows, cols, |i, j| damped.weights[(i, j)] * scale[j]);
    let wanted = &dense * &gram;
    let eigen = gram.symmetric_eigen();
    let transposed = eigen.eigenvectors.transpose();
    // x (G + ρ I)⁻¹, for rows x.
    let solve = |x: DMatrix<f64>, rho: f64| {
        let factors: DVector<f64> = eigen.eigenvalues.map(|lambda| 1.0 / (lambda + rho));
        let mut turned = x * &eigen.eigenvectors;
        turned
            .column_iter_mut()
            .zip(&factors)
            .for_each(|(mut column, &factor)| column *= factor);
        turned * &transposed
    };
    let first = largest(&dense, removal);
    let kept = first.iter().filter(|&&keep| keep).count().max(1) as f64;
    let mut previous = first.clone();
    let (mut fitting, mut sparse) = (dense.clone(), masked(&dense, &first));
    let mut dual = DMatrix::zeros(rows, cols);
    let (mut rho, mut raised, mut lowerings) = (0.1, false, 0);
    for iteration in 1..=ITERATIONS {
        fitting = solve(&wanted - &dual + rho * &sparse, rho);
        let sum = &fitting + &dual / rho;
        let mask = largest(&sum, removal);
        sparse = masked(&sum, &mask);
        dual += rho * (&fitting - &sparse);
        if !iteration.is_multiple_of(PERIOD) {
            continue;
        }
        let changed = mask.iter().zip(&previous).filter(|(a, b)| a != b).count();
        previous = mask;
        let share = changed as f64 / kept;
        if share > 0.1 {
            (rho, raised) = (rho * 1.3, true);
        } else if share > 0.005 {
            (rho, raised) = (rho * 1.2, true);
        } else if raised && changed > 0 {
            rho *= 1.1;
        } else if raised || lowerings == LOWERINGS {
            break;
        } else {
            // It began too strongly: the support hardly moves.
            (rho, lowerings) = (rho / 5.0, lowerings + 1);
            if changed > 0 {
                (fitting, sparse) = (dense.clone(), masked(&dense, &first));
                dual.fill(0.0);
            }
        }
        if iteration >= PATIENCE && share < SETTLED {
            break;
        }
    }
    largest(&fitting, removal)
}

/// Keeps the entries of largest square, as the pattern has it.
fn largest(x: &DMatrix<f64>, removal: Removal) -> Vec<bool> {
    let (rows, cols) = x.shape();
    let mut mask = vec![true; rows * cols];
    removal.prune(&mut mask, cols, 0..cols, |row, col| x[(row, col)].powi(2));
    mask
}

fn masked(x: &DMatrix<f64>, mask: &[bool]) -> DMatrix<f64> {
    let cols = x.ncols();
    DMatrix::from_fn(x.nrows(), cols, |row, col| {
        if mask[row * cols + col] { x[(row, col)] } else { 0.0 }
    })
}
