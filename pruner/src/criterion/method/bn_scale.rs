//! Network slimming: filters by the scale of the batch norm behind them.

use secateur_format::{Op, ValueId};

use super::{Method, Needs, Unit};
use crate::criterion::Subject;
use crate::layer::Layer;

pub(super) const METHOD: Method = Method {
    name: "bn-scale",
    aliases: &[],
    summary: "|γ| of the batch norm behind the filter, 1 where there is none; for channels",
    source: "Learning Efficient Convolutional Networks through Network Slimming, arXiv 1708.06519",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Sum,
    score: |subject, _| {
        Ok(subject.each_layer(|index, weights| {
            let layer = &subject.layers[index];
            let (cols, scale) = (layer.cols as usize, scale(subject, layer));
            let rows = (0..weights.len() / cols).flat_map(|row| {
                let gamma = scale
                    .and_then(|scale| scale.get(row))
                    .map_or(1.0, |&gamma| f64::from(gamma));
                std::iter::repeat_n(gamma.abs() / cols as f64, cols)
            });
            rows.collect()
        }))
    },
};

/// The scale of the batch norm that reads the layer.
fn scale<'a>(subject: &Subject<'a>, layer: &Layer) -> Option<&'a [f32]> {
    let graph = subject.graph;
    let value: ValueId = graph.output_of(layer.node(graph)?);
    let norm = graph.nodes.iter().find_map(|node| match &node.op {
        Op::BatchNorm(norm) if node.inputs.first() == Some(&value) => Some(norm.scale),
        _ => None,
    })?;
    Some(&graph.tensor(norm)?.data)
}
