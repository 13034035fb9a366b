//! ONG: what a non-negative factorisation of low rank says of |W|.
//!
//! Of the paper only the abstract could be read. Rank and scores are our reading of it, and no result of ours is
//! its result.

use ndarray::{Array2, Zip};

use super::random::uniform;
use super::{Criterion, Kind, Method, Needs, Setting, Unit};
use crate::layer::Layer;

const RANK: Setting = Setting {
    name: "rank",
    kind: Kind::Real(0.1, [0.0, 1.0]),
    help: "The rank of the factors, as a fraction of the smaller extent of W; from 1 to 32.",
    ours: true,
};

const SCORE: Setting = Setting {
    name: "score",
    kind: Kind::Name(&["recon", "product", "residual"]),
    help: "R ≈ |W| of low rank itself (recon), |W| · R (product), or −||W| − R| (residual).",
    ours: true,
};

/// The multiplicative updates of each factor.
const UPDATES: usize = 200;

pub(super) const METHOD: Method = Method {
    name: "nmf",
    aliases: &["ong"],
    summary: "the non-negative factorisation of |W| of low rank, relative to the layer's mean",
    source: "ONG: One-Shot NMF-based Gradient Masking, arXiv 2508.12891",
    needs: Needs::Weights,
    settings: &[RANK, SCORE],
    unit: Unit::Sum,
    score: |subject, criterion| {
        Ok(subject.each_layer(|index, weights| layer_scores(criterion, &subject.layers[index], subject.seed, weights)))
    },
};

fn layer_scores(criterion: &Criterion, layer: &Layer, seed: u64, weights: &[f32]) -> Vec<f64> {
    let (rows, cols) = (layer.rows as usize, layer.cols as usize);
    let a = Array2::from_shape_fn((rows, cols), |(row, col)| f64::from(weights[row * cols + col]).abs());
    let wanted = (criterion.real(&RANK) * rows.min(cols) as f64).round_ties_even() as usize;
    // Filters of a depthwise convolution share no inputs.
    let rank = if layer.group_rows == 1 { 1 } else { wanted.clamp(1, 32) };
    let scale = (a.mean().unwrap_or(0.0) / rank as f64).sqrt();
    let start: Vec<f64> = uniform(rank * (rows + cols), &layer.name, seed);
    let mut v = Array2::from_shape_fn((rows, rank), |(row, r)| scale * start[row * rank + r]);
    let mut h = Array2::from_shape_fn((rank, cols), |(r, col)| scale * start[rank * (rows + col) + r]);
    for _ in 0..UPDATES {
        update(&a, &mut v, &mut h);
    }
    let low = v.dot(&h);
    let mut scores = match criterion.name_of(&SCORE) {
        "product" => &a * &low,
        "residual" => -(&a - &low).mapv(f64::abs),
        _ => low,
    };
    // Layers compete: each by its own measure.
    let mean = scores.mean().unwrap_or(0.0).abs();
    if mean > 0.0 {
        scores /= mean;
    }
    scores.into_iter().collect()
}

/// The multiplicative updates of Lee and Seung (NIPS 2000): H, then V; ‖A − V H‖² does not grow.
fn update(a: &Array2<f64>, v: &mut Array2<f64>, h: &mut Array2<f64>) {
    const EPS: f64 = 1e-12;
    let scaled = |factor: &mut Array2<f64>, above: Array2<f64>, below: Array2<f64>| {
        Zip::from(factor)
            .and(&above)
            .and(&below)
            .for_each(|x, &above, &below| *x *= above / (below + EPS));
    };
    scaled(h, v.t().dot(a), v.t().dot(v).dot(h));
    scaled(v, a.dot(&h.t()), v.dot(&h.dot(&h.t())));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &Array2<f64>, expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn updates_are_those_of_the_worked_example() {
        // algorithms.md 4.5.
        let a = Array2::from_shape_vec((2, 2), vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let (mut v, mut h) = (Array2::ones((2, 1)), Array2::ones((1, 2)));
        update(&a, &mut v, &mut h);
        close(&v, &[0.615_385, 1.384_615]);
        close(&h, &[2.0, 3.0]);
        (0..UPDATES).for_each(|_| update(&a, &mut v, &mut h));
        close(&v.dot(&h), &[1.273_574, 1.807_207, 2.878_979, 4.085_286]);
    }

    #[test]
    fn updates_never_make_it_worse() {
        let noise = uniform(12 * 9 + 12 * 3 + 3 * 9, "a", 1);
        let part = |first: usize, shape: (usize, usize)| {
            Array2::from_shape_vec(shape, noise[first..][..shape.0 * shape.1].to_vec()).unwrap()
        };
        let (a, mut v, mut h) = (part(0, (12, 9)), part(108, (12, 3)), part(144, (3, 9)));
        let error = |v: &Array2<f64>, h: &Array2<f64>| (&a - &v.dot(h)).mapv(|x| x * x).sum();
        let mut last = error(&v, &h);
        for _ in 0..100 {
            update(&a, &mut v, &mut h);
            let now = error(&v, &h);
            assert!(now <= last + 1e-12, "{now} after {last}");
            last = now;
        }
    }
}
