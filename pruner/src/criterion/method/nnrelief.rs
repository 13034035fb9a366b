//! NNrelief: what a connection adds to its output, in size and on average over samples.
//!
//! At position `p`, kernel `K` of input channel `c` adds `t_p = mean |x| of its patch · |K|`, because a mean of sums is
//! the sum of means. Over positions the paper takes sums or lengths of vectors; here they are means and root mean squares, so
//! that a bias counts `|b|` in every layer. The weights of a kernel share its score so that it is their sum.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::{Kind, Method, Needs, Setting, Unit};
use crate::layer::Layer;

const POSITIONS: Setting = Setting {
    name: "positions",
    kind: Kind::Name(&["sum", "l2"]),
    help: "How what a kernel adds at all positions becomes one score: the sum, as the authors have it for LeNets, or \
           the length of the vector, as for VGG and ResNets.",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "nnrelief",
    aliases: &[],
    summary: "mean of |w · x|, what the weight adds to its output; made for scope importance, with pattern kernel",
    source: "Neural Network Relief, arXiv 2109.10795",
    needs: Needs::Inputs,
    settings: &[POSITIONS],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let length = criterion.name_of(&POSITIONS) == "l2";
        let layer = |layer| {
            let maps = subject.mean_sizes(criterion, layer)?;
            let rows = subject.weights(layer).par_chunks(layer.cols as usize).enumerate();
            let scored = rows.flat_map_iter(|(row, weights)| {
                let map = maps[row / layer.group_rows.max(1) as usize].view();
                if length {
                    lengths(layer, weights, map)
                } else {
                    sums(weights, map)
                }
            });
            Ok(scored.collect())
        };
        subject.layers.iter().map(layer).collect()
    },
};

/// `map` is `[positions, columns]`, as everywhere here.
fn sums(weights: &[f32], map: ArrayView2<'_, f64>) -> Vec<f64> {
    let positions = map.nrows().max(1) as f64;
    let columns = map.columns().into_iter().map(|column| column.sum() / positions);
    weights
        .iter()
        .zip(columns)
        .map(|(&w, mean)| f64::from(w).abs() * mean)
        .collect()
}

/// A weight's share of a root mean square is what it would lose if the weight grew smaller, times the weight.
fn lengths(layer: &Layer, weights: &[f32], map: ArrayView2<'_, f64>) -> Vec<f64> {
    let channels = layer.channels.max(1) as usize;
    let positions = map.nrows().max(1) as f64;
    let mut scores = vec![0.0; weights.len()];
    for channel in 0..channels {
        let kernel: Vec<usize> = (channel..weights.len()).step_by(channels).collect();
        let size = |column: usize| f64::from(weights[column]).abs();
        let added = map
            .rows()
            .into_iter()
            .map(|row| kernel.iter().map(|&u| size(u) * row[u]).sum());
        let added: Vec<f64> = added.collect();
        let length = (added.iter().map(|t| t * t).sum::<f64>() / positions).sqrt();
        if length > 0.0 {
            for &column in &kernel {
                let along = map.column(column).iter().zip(&added).map(|(x, t)| x * t).sum::<f64>();
                scores[column] = size(column) * along / (positions * length);
            }
        }
    }
    scores
}
