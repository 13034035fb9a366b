//! Coresets: how much a neuron or filter can matter to the layers that read it, whatever the input.
//!
//! Of the paper only the abstract could be read; the constants are those of code of others, and geometry is that of textbooks.

use nalgebra::DMatrix;
use rayon::prelude::*;
use secateur_format::TensorId;

use super::{Kind, Method, Needs, Setting, Unit};
use crate::coreset::sensitivities;
use crate::criterion::{CriterionError, Subject};
use crate::layer::Layer;
use crate::structured::Coupling;

const CHOICE: Setting = Setting {
    name: "choice",
    kind: Kind::Name(&["sample", "rank"]),
    help: "Channels are drawn by their sensitivities, and what reads them is weighted anew (sample), or the lowest product of \
           sensitivity and outgoing weights goes (rank, which is ours).",
    ours: false,
};

const RANK: Setting = Setting {
    name: "rank",
    kind: Kind::Whole(8, [1, 64]),
    help: "The most dimensions that points are looked at in: with more than half the root of their number all matter alike.",
    ours: true,
};

pub(super) const METHOD: Method = Method {
    name: "coreset",
    aliases: &[],
    summary: "sensitivity of the filter: how much it can matter, by ellipsoids around the filters of a layer; for channels",
    source: "Pruning Neural Networks via Coresets and Convex Geometry, arXiv 2209.08554",
    needs: Needs::Weights,
    settings: &[CHOICE, RANK],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let ranked = criterion.name_of(&CHOICE) == "rank";
        let outgoing = if ranked { outgoing(subject)? } else { Vec::new() };
        let layer = |layer: &Layer| {
            let points = points(subject, layer);
            // Groups of a convolution read inputs of their own.
            let groups = (0..layer.groups()).map(|group| {
                let rows = points.rows(group * layer.group_rows as usize, layer.group_rows as usize);
                sensitivities(&rows.into_owned(), criterion.whole(&RANK))
            });
            let of_rows: Vec<f64> = groups.flatten().collect();
            let norms = outgoing.iter().find(|(tensor, _)| *tensor == layer.tensor);
            let rows = of_rows.iter().enumerate().flat_map(|(row, sensitivity)| {
                let norm = norms.and_then(|(_, norms)| norms.get(row)).copied().unwrap_or(1.0);
                let share = sensitivity * norm / f64::from(layer.cols);
                std::iter::repeat_n(share, layer.cols as usize)
            });
            rows.collect()
        };
        Ok(subject.layers.par_iter().map(layer).collect())
    },
};

/// Filters with their biases, `[rows, cols + 1]`; without one, `[rows, cols]`.
fn points(subject: &Subject<'_>, layer: &Layer) -> DMatrix<f64> {
    let weights = subject.weights(layer).iter().map(|&w| f64::from(w));
    let points = DMatrix::from_row_iterator(layer.rows as usize, layer.cols as usize, weights);
    let node = layer.node(subject.graph);
    let bias = node.and_then(|node| subject.graph.tensor(subject.graph.nodes[node].op.bias()?));
    match bias {
        Some(bias) => {
            let mut points = points.insert_column(layer.cols as usize, 0.0);
            let column = points.column_mut(layer.cols as usize);
            column.into_iter().zip(&bias.data).for_each(|(x, &b)| *x = b.into());
            points
        }
        None => points,
    }
}

/// By layer, the length of the weights that read each of its outputs.
fn outgoing(subject: &Subject<'_>) -> Result<Vec<(TensorId, Vec<f64>)>, CriterionError> {
    let coupling = Coupling::new(subject.graph).map_err(|error| CriterionError::Samples {
        criterion: METHOD.name,
        problem: error.into(),
    })?;
    let norms = coupling.sums_over_readers(subject.graph, |_, index, weights| f64::from(weights[index]).powi(2));
    let of_rows = |layer: &Layer| {
        let channels = coupling.makers().find(|slices| slices.tensor == layer.tensor);
        let norms = channels.map_or_else(Vec::new, |slices| {
            let lengths = slices.channels.iter().map(|&channel| norms[channel].sqrt());
            lengths.collect()
        });
        (layer.tensor, norms)
    };
    Ok(subject.layers.iter().map(of_rows).collect())
}
