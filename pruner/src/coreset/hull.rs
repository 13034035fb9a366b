//! Points of a set in whose convex hull another point lies.

use nalgebra::{DMatrix, DVector};

/// What is left of a distance that counts as none.
const TOLERANCE: f64 = 1e-9;

/// Indices of at most `r + 1` of `points` `[n, r]` of which `target` is a convex combination, or, if it is outside
/// their hull, of which one is as near as any (Carathéodory, by the active sets of Lawson and Hanson 1974).
pub(super) fn combination(points: &DMatrix<f64>, target: &DVector<f64>) -> Vec<usize> {
    // That shares add up to 1 is one more row.
    let matrix = points.transpose().insert_row(points.ncols(), 1.0);
    let wanted = target.clone().push(1.0);
    let mut shares = DVector::zeros(points.nrows());
    let mut active: Vec<usize> = Vec::new();
    for _ in 0..4 * matrix.nrows() {
        let gradient = matrix.tr_mul(&(&wanted - &matrix * &shares));
        let free = (0..shares.len()).filter(|index| !active.contains(index));
        let Some(next) = free.max_by(|&a, &b| gradient[a].total_cmp(&gradient[b]).then(b.cmp(&a))) else {
            break;
        };
        if gradient[next] <= TOLERANCE {
            break;
        }
        active.push(next);
        if !settle(&matrix, &wanted, &mut active, &mut shares) {
            break;
        }
    }
    active.sort_unstable();
    active
}

/// Moves the shares of the active points to their best, and lets go those that would fall below zero on the way.
fn settle(matrix: &DMatrix<f64>, wanted: &DVector<f64>, active: &mut Vec<usize>, shares: &mut DVector<f64>) -> bool {
    while !active.is_empty() {
        let best = matrix
            .select_columns(active.iter())
            .svd(true, true)
            .solve(wanted, 1e-12);
        let Ok(best) = best else { return false };
        if best.iter().all(|&share| share > 0.0) {
            active
                .iter()
                .zip(&best)
                .for_each(|(&index, &share)| shares[index] = share);
            return true;
        }
        let falling = active.iter().zip(&best).filter(|(_, best)| **best <= 0.0);
        let reach = falling.map(|(&index, &best)| shares[index] / (shares[index] - best));
        let reach = reach.fold(1.0, f64::min);
        for (&index, &best) in active.iter().zip(&best) {
            shares[index] += reach * (best - shares[index]);
        }
        let before = active.len();
        active.retain(|&index| {
            let stays = shares[index] > 1e-14;
            if !stays {
                shares[index] = 0.0;
            }
            stays
        });
        if active.len() == before {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_inside_are_combinations_of_few() {
        let points = DMatrix::from_fn(40, 3, |i, j| ((i * 5 + j * 11) as f64 * 0.43).cos());
        for seed in 0..10 {
            let mut shares = DVector::from_fn(40, |i, _| (1.0 + ((i + seed) as f64 * 1.7).sin()) / 40.0);
            shares /= shares.sum();
            let target = points.tr_mul(&shares);
            let used = combination(&points, &target);
            assert!(!used.is_empty() && used.len() <= 4, "{used:?}");
            // The shares that the used points need, by themselves.
            let own = points.select_rows(used.iter()).transpose().insert_row(3, 1.0);
            let wanted = target.clone().push(1.0);
            let found = own.clone().svd(true, true).solve(&wanted, 1e-12).unwrap();
            assert!((own * &found - wanted).norm() < 1e-6 && found.iter().all(|&share| share > -1e-9));
        }
    }

    #[test]
    fn a_point_is_the_combination_of_itself() {
        let points = DMatrix::from_row_slice(3, 2, &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(combination(&points, &DVector::from_vec(vec![1.0, 0.0])), [1]);
        assert_eq!(combination(&points, &DVector::from_vec(vec![0.25, 0.25])), [0, 1, 2]);
    }
}
