//! The largest eigenvalue of a symmetric matrix that is known by its products only.

use crate::calibrate::length;

/// Most products of an iteration.
const ITERATIONS: usize = 50;

/// What an eigenvalue may still change by, relative to itself, when it is taken for found.
const TOLERANCE: f64 = 1e-4;

/// A vector in parts of any lengths, as gradients are.
type Parts = Vec<Vec<f64>>;

/// The largest eigenvalue, with its sign, by power iteration from `start`.
pub fn largest_eigenvalue(start: Parts, mut product: impl FnMut(&[Vec<f64>]) -> Parts) -> f64 {
    let dominant = dominant(start.clone(), &mut product);
    if dominant >= 0.0 {
        return dominant;
    }
    // The eigenvalue of the greatest size is the least one. Moved up by its size, all are at least 0.
    let shifted = self::dominant(start, &mut |vector| {
        let mut found = product(vector);
        let pairs = found.iter_mut().flatten().zip(vector.iter().flatten());
        pairs.for_each(|(found, v)| *found -= dominant * v);
        found
    });
    dominant + shifted
}

/// The eigenvalue of the greatest size, as the Rayleigh quotient of the vector that iteration ends at.
fn dominant(mut vector: Parts, product: &mut dyn FnMut(&[Vec<f64>]) -> Parts) -> f64 {
    let mut value = 0.0;
    for _ in 0..ITERATIONS {
        let size = length(vector.iter().flatten().copied());
        if size == 0.0 {
            break;
        }
        vector.iter_mut().flatten().for_each(|v| *v /= size);
        let next = product(&vector);
        let pairs = vector.iter().flatten().zip(next.iter().flatten());
        let before = std::mem::replace(&mut value, pairs.map(|(v, h)| v * h).sum());
        vector = next;
        if (value - before).abs() <= TOLERANCE * value.abs() {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product with a diagonal matrix.
    fn diagonal<const N: usize>(values: [f64; N]) -> impl FnMut(&[Vec<f64>]) -> Vec<Vec<f64>> {
        move |vector| vec![vector[0].iter().zip(values).map(|(v, value)| v * value).collect()]
    }

    #[test]
    fn the_sign_of_the_largest_counts_and_not_its_size() {
        for (values, expected) in [
            ([3.0, 1.0, -2.0], 3.0),
            ([-5.0, 1.0, 0.5], 1.0),
            ([-1.0, -2.0, -4.0], -1.0),
        ] {
            let found = largest_eigenvalue(vec![vec![0.6, -0.5, 0.4]], diagonal(values));
            assert!((found - expected).abs() < 1e-2, "{found} instead of {expected}");
        }
        assert_eq!(largest_eigenvalue(vec![vec![1.0, 1.0]], diagonal([0.0, 0.0])), 0.0);
    }

    /// algorithms.md 5.9
    #[test]
    fn a_quadratic_has_its_curvature() {
        // ½ (2 t₁² + t₂²), by differences of its gradient.
        let gradient = |t: [f64; 2]| [2.0 * t[0], t[1]];
        let found = largest_eigenvalue(vec![vec![0.3, 1.0]], |v| {
            let (at, step) = ([0.5, -2.0], 1e-3);
            let moved = |step: f64| gradient([at[0] + step * v[0][0], at[1] + step * v[0][1]]);
            let (ahead, behind) = (moved(step), moved(-step));
            vec![(0..2).map(|i| (ahead[i] - behind[i]) / (2.0 * step)).collect()]
        });
        assert!((found - 2.0).abs() < 1e-4, "{found}");
    }
}
