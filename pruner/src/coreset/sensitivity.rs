//! Sensitivities: how much each point can matter, by rounds of L∞ coresets; and drawing by them.

use nalgebra::{DMatrix, RowDVector};

use super::{ellipsoid, hull};

/// Directions with less than this share of the greatest spread are none.
const FLAT: f64 = 1e-10;

/// The sensitivity of each of `points` `[n, d]`, greater than 0: `r^1.5 / i` for those of the coreset of round `i`, each of
/// what the rounds before have left, and `2 r^1.5 / i` for the few that remain. `r` is the rank, at most `highest`:
/// with fewer than `4 r²` points there is no round, and all are equal.
pub fn sensitivities(points: &DMatrix<f64>, highest: usize) -> Vec<f64> {
    let points = project(points, highest);
    let rank = points.ncols();
    let scale = (rank.max(1) as f64).powf(1.5);
    let mut found = vec![0.0; points.nrows()];
    let mut left: Vec<usize> = (0..points.nrows()).collect();
    let mut round = 1.0;
    while rank > 0 && left.len() >= 4 * rank * rank {
        let coreset = outermost(&points.select_rows(left.iter()));
        if coreset.is_empty() {
            break;
        }
        coreset.iter().for_each(|&index| found[left[index]] = scale / round);
        left.retain(|&point| found[point] == 0.0);
        round += 1.0;
    }
    left.iter().for_each(|&point| found[point] = 2.0 * scale / round);
    found
}

/// Coordinates of points `[n, d]` along the directions in which they spread most, at most `highest` `[n, r]`.
fn project(points: &DMatrix<f64>, highest: usize) -> DMatrix<f64> {
    let (count, dimensions) = points.shape();
    let mean: RowDVector<f64> = points.row_mean();
    let centred = DMatrix::from_fn(count, dimensions, |i, j| points[(i, j)] - mean[j]);
    // The smaller of the two products has all directions.
    let wide = dimensions > count;
    let spread = if wide {
        &centred * centred.transpose()
    } else {
        centred.tr_mul(&centred)
    };
    let eigen = spread.symmetric_eigen();
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    let most = order.first().map_or(0.0, |&index| eigen.eigenvalues[index]);
    order.retain(|&index| most > 0.0 && eigen.eigenvalues[index] > FLAT * most);
    order.truncate(highest);
    let directions = eigen.eigenvectors.select_columns(order.iter());
    if !wide {
        return centred * directions;
    }
    let mut along = directions;
    for (mut column, &index) in along.column_iter_mut().zip(&order) {
        column *= eigen.eigenvalues[index].sqrt();
    }
    along
}

/// An L∞ coreset: the points of which the ends of the axes of an ellipsoid within their hull are combinations.
fn outermost(points: &DMatrix<f64>) -> Vec<usize> {
    let points = project(points, points.ncols());
    let Some(ellipsoid) = ellipsoid::around(&points) else {
        return Vec::new();
    };
    let mut used = Vec::new();
    for axis in ellipsoid.axes.column_iter() {
        // Shrunk by the dimension, it is inside.
        let inner = axis / points.ncols() as f64;
        for end in [&ellipsoid.centre + &inner, &ellipsoid.centre - &inner] {
            used.extend(hull::combination(&points, &end));
        }
    }
    used.sort_unstable();
    used.dedup();
    used
}

/// Draws `count` times by `shares`, which are not below 0, with `uniform` numbers in [0, 1); the factor of each, 0 if it
/// was not drawn: times drawn / (count · probability), so that sums are kept on average.
pub fn draw(shares: &[f64], count: usize, uniform: &[f64]) -> Vec<f64> {
    let total: f64 = shares.iter().sum();
    let mut factors = vec![0.0; shares.len()];
    for number in uniform.iter().take(count) {
        let mut left = number * total;
        let drawn = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        if let Some(drawn) = drawn.or(shares.iter().rposition(|&share| share > 0.0)) {
            factors[drawn] += total / (count as f64 * shares[drawn]);
        }
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(count: usize, dimensions: usize) -> DMatrix<f64> {
        DMatrix::from_fn(count, dimensions, |i, j| {
            ((i * 17 + j * 29 + i * j) as f64 * 0.37).sin()
        })
    }

    #[test]
    fn outer_points_matter_more_than_inner_ones() {
        // A square of corners around a small cloud.
        let mut points = cloud(40, 2) * 0.1;
        for (index, corner) in [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
            .into_iter()
            .enumerate()
        {
            points.row_mut(index).copy_from_slice(&corner);
        }
        let found = sensitivities(&points, 8);
        let most = found[..4].iter().copied().fold(f64::MAX, f64::min);
        assert!(found.iter().all(|&sensitivity| sensitivity > 0.0));
        let outer = found[..4]
            .iter()
            .filter(|&&sensitivity| sensitivity == 2f64.powf(1.5))
            .count();
        assert!(
            outer >= 2 && most > found[4..].iter().copied().fold(0.0, f64::max) / 2.0,
            "{found:?}"
        );
        assert!(
            found[4..].iter().all(|&sensitivity| sensitivity < 2f64.powf(1.5)),
            "{found:?}"
        );
    }

    #[test]
    fn few_points_are_all_alike_and_rank_is_bounded() {
        let found = sensitivities(&cloud(30, 6), 8);
        assert!(found.iter().all(|&sensitivity| sensitivity == found[0]));
        assert_eq!(project(&cloud(50, 20), 8).ncols(), 8);
        assert_eq!(project(&DMatrix::from_element(5, 3, 2.0), 8).ncols(), 0);
        assert_eq!(sensitivities(&DMatrix::from_element(5, 3, 2.0), 8), [2.0; 5]);
        // A line in many dimensions has one, whichever side is longer.
        for dimensions in [2, 40] {
            let line = DMatrix::from_fn(20, dimensions, |i, j| i as f64 * (j + 1) as f64);
            assert_eq!(project(&line, 8).ncols(), 1);
        }
    }

    #[test]
    fn projection_keeps_distances() {
        for points in [cloud(12, 5), cloud(5, 12)] {
            let found = project(&points, 12);
            for (i, j) in (0..points.nrows()).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let [a, b] = [&points, &found].map(|points| (points.row(i) - points.row(j)).norm());
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn draws_keep_sums_on_average() {
        let (shares, values) = ([1.0, 3.0, 4.0], [2.0, -1.0, 0.5]);
        let count = 4000;
        let uniform: Vec<f64> = (0..count).map(|i| (i as f64 * 0.754_877_666) % 1.0).collect();
        let factors = draw(&shares, count, &uniform);
        let sum: f64 = factors.iter().zip(values).map(|(factor, value)| factor * value).sum();
        assert!((sum - 1.5).abs() < 0.02, "{sum}");
        assert_eq!(draw(&[0.0, 2.0], 2, &[0.0, 0.999]), [0.0, 1.0]);
        assert_eq!(draw(&shares, 1, &[0.2]), [0.0, 8.0 / 3.0, 0.0]);
    }
}
