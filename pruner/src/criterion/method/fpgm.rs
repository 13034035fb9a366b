//! Filters near the geometric median of their layer: what others can stand in for.

use rayon::prelude::*;

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "fpgm",
    aliases: &[],
    summary: "sum of the distances of the filter to all others of its layer; for channels",
    source: "Filter Pruning via Geometric Median, arXiv 1811.00250",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Sum,
    score: |subject, _| {
        Ok(subject.each_layer(|index, weights| {
            let cols = subject.layers[index].cols as usize;
            let distances = weights.par_chunks(cols).map(|filter| {
                let others = weights.chunks(cols).map(|other| distance(filter, other));
                others.sum::<f64>() / cols as f64
            });
            let of_rows: Vec<f64> = distances.collect();
            of_rows
                .into_iter()
                .flat_map(|share| std::iter::repeat_n(share, cols))
                .collect()
        }))
    },
};

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    squares.sum::<f64>().sqrt()
}
