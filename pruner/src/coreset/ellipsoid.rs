//! The ellipsoid of least volume around points (Khachiyan 1996).

use nalgebra::{Cholesky, DMatrix, DVector};

/// Distances from the optimum at which it is found.
const TOLERANCE: f64 = 1e-3;

/// The algorithm needs fewer than dimensions / tolerance.
const STEPS: usize = 20_000;

/// An ellipsoid in `r` dimensions.
#[derive(Clone, Debug)]
pub(super) struct Ellipsoid {
    /// `[r]`.
    pub(super) centre: DVector<f64>,
    /// Half axes, as columns `[r, r]`.
    pub(super) axes: DMatrix<f64>,
}

/// The least ellipsoid around `points` `[n, r]`, which must span all `r` dimensions; `None` if they do not.
pub(super) fn around(points: &DMatrix<f64>) -> Option<Ellipsoid> {
    let (count, rank) = points.shape();
    let lifted = points.clone().insert_column(rank, 1.0);
    let mut shares = DVector::from_element(count, 1.0 / count.max(1) as f64);
    for _ in 0..STEPS {
        let found = leverages(&lifted, &shares)?;
        let (farthest, leverage) = found.argmax();
        let full = (rank + 1) as f64;
        if leverage / full - 1.0 < TOLERANCE {
            break;
        }
        let step = (leverage - full) / (full * (leverage - 1.0));
        shares *= 1.0 - step;
        shares[farthest] += step;
    }
    let centre = points.tr_mul(&shares);
    let weighted = DMatrix::from_fn(count, rank, |i, j| points[(i, j)] * shares[i]);
    let spread = points.tr_mul(&weighted) - &centre * centre.transpose();
    let eigen = spread.symmetric_eigen();
    let mut axes = eigen.eigenvectors;
    for (mut axis, value) in axes.column_iter_mut().zip(&eigen.eigenvalues) {
        axis *= (rank as f64 * value.max(0.0)).sqrt();
    }
    Some(Ellipsoid { centre, axes })
}

/// `q_iᵀ X⁻¹ q_i` with `X = Σ share_i q_i q_iᵀ`, of the rows of `lifted` `[n, r + 1]`.
fn leverages(lifted: &DMatrix<f64>, shares: &DVector<f64>) -> Option<DVector<f64>> {
    let (count, rank) = lifted.shape();
    let weighted = DMatrix::from_fn(count, rank, |i, j| lifted[(i, j)] * shares[i]);
    let inverse = Cholesky::new(lifted.tr_mul(&weighted))?.inverse();
    let along = lifted * inverse;
    Some(DVector::from_fn(count, |i, _| along.row(i).dot(&lifted.row(i))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_of_a_square_have_the_circle_around_them() {
        // algorithms.md 5.5.
        let corners = DMatrix::from_row_slice(4, 2, &[1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0]);
        let lifted = corners.clone().insert_column(2, 1.0);
        let start = leverages(&lifted, &DVector::from_element(4, 0.25)).unwrap();
        assert!(start.iter().all(|leverage| (leverage - 3.0).abs() < 1e-12), "{start}");
        let circle = around(&corners).unwrap();
        assert!(circle.centre.norm() < 1e-9);
        let product = circle.axes.transpose() * &circle.axes;
        assert!((product - DMatrix::identity(2, 2) * 2.0).norm() < 1e-9);
    }

    #[test]
    fn all_points_are_inside_and_some_on_the_edge() {
        let points = DMatrix::from_fn(60, 3, |i, j| {
            ((i * 7 + j * 13 + i * i * j) as f64 * 0.61).sin() * (j + 1) as f64
        });
        let ellipsoid = around(&points).unwrap();
        let inverse = ellipsoid.axes.clone().try_inverse().unwrap();
        let lengths = points
            .row_iter()
            .map(|point| (&inverse * (point.transpose() - &ellipsoid.centre)).norm());
        let longest = lengths.fold(0.0, f64::max);
        assert!((longest - 1.0).abs() < 5e-3, "{longest}");
        let flat = DMatrix::from_fn(5, 2, |i, _| i as f64);
        assert!(around(&flat).is_none());
    }
}
