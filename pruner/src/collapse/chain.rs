//! Layers in a row that are alike, and what they become together.

use std::collections::BTreeMap;
use std::ops::Range;

use secateur_format::graph::{Graph, GraphError, NodeDef};
use secateur_format::{Op, TensorId, ValueId};

use super::{Collapsed, Merge};
use crate::lower::{drop_unused, for_each_tensor};

/// Layers in a row that are alike: each reads one value of the shape that it makes, and nothing within is read elsewhere. A
/// layer is as many nodes as repeat: a linear and its activation, a residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first node.
    pub first: usize,
    /// Nodes of a layer.
    pub period: usize,
    /// Layers.
    pub count: usize,
}

/// The chains of a graph with layers that have weights, in execution order; they do not overlap.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub fn chains(graph: &Graph) -> Result<Vec<Chain>, GraphError> {
    let shapes = graph.shapes()?;
    let uses = uses(graph);
    let nodes = graph.nodes.len();
    let mut found = Vec::new();
    let mut first = 0;
    while first < nodes {
        let longest = (1..=(nodes - first) / 2).find_map(|period| {
            let layer = |index: usize| first + index * period..first + (index + 1) * period;
            let alike = |index: &usize| {
                let nodes = layer(*index);
                nodes.end <= graph.nodes.len()
                    && is_closed(graph, nodes.clone(), &uses)
                    && shapes[entry(graph, nodes.start)] == shapes[entry(graph, nodes.end)]
                    && (nodes.clone().zip(layer(0)))
                        .all(|(node, like)| are_alike(graph, [node, like], [nodes.start, first]))
            };
            let weighted = graph.nodes[layer(0)].iter().any(|node| node.op.weight().is_some());
            let count = if weighted { (0..).take_while(alike).count() } else { 0 };
            (count > 1).then_some(Chain { first, period, count })
        });
        first = longest.map_or(first + 1, |chain| chain.first + chain.period * chain.count);
        found.extend(longest);
    }
    Ok(found)
}

fn constants(op: &Op) -> Vec<TensorId> {
    let (mut op, mut ids) = (*op, Vec::new());
    for_each_tensor(&mut op, |id| ids.push(*id));
    ids
}

/// How many nodes use each constant.
fn uses(graph: &Graph) -> BTreeMap<TensorId, usize> {
    let mut uses = BTreeMap::new();
    for node in &graph.nodes {
        constants(&node.op)
            .into_iter()
            .for_each(|id| *uses.entry(id).or_default() += 1);
    }
    uses
}

/// The value before a node: what the layer that begins there may read.
fn entry(graph: &Graph, node: usize) -> usize {
    (graph.inputs.len() + node).saturating_sub(1)
}

/// Whether nodes read nothing but the value before them and each other, nobody else reads but the last of them, and nobody
/// else uses their constants.
fn is_closed(graph: &Graph, nodes: Range<usize>, uses: &BTreeMap<TensorId, usize>) -> bool {
    let (entry, last) = (entry(graph, nodes.start), entry(graph, nodes.end));
    let inputs = |nodes: &[NodeDef]| -> Vec<usize> {
        let inputs = nodes.iter().flat_map(|node| &node.inputs);
        inputs.map(|id| usize::from(id.0)).collect()
    };
    let own = graph.nodes.get(nodes.clone()).unwrap_or_default();
    let after = graph.nodes.get(nodes.end..).unwrap_or_default();
    let outputs = graph.outputs.iter().map(|id| usize::from(id.0));
    let mut constants = own.iter().flat_map(|node| constants(&node.op));
    constants.all(|id| uses.get(&id) == Some(&1))
        && graph.inputs.len() + nodes.start > 0
        && inputs(own).iter().all(|&id| id >= entry)
        && inputs(after)
            .into_iter()
            .chain(outputs)
            .all(|id| id >= last || id <= entry)
}

/// Whether two nodes do the same, but for the values of their constants, in layers that begin at some nodes.
fn are_alike(graph: &Graph, nodes: [usize; 2], starts: [usize; 2]) -> bool {
    let [a, b] = nodes.map(|node| &graph.nodes[node]);
    let [of_a, of_b] = starts.map(|start| entry(graph, start));
    let inputs = |node: &NodeDef, entry: usize| -> Vec<usize> {
        node.inputs.iter().map(|id| usize::from(id.0) - entry).collect()
    };
    let bare = |op: &Op| {
        let (mut op, mut shapes) = (*op, Vec::new());
        for_each_tensor(&mut op, |id| {
            shapes.push(graph.tensor(*id).map(|tensor| (tensor.rows, tensor.cols)));
            *id = TensorId(0);
        });
        (op, shapes)
    };
    inputs(a, of_a) == inputs(b, of_b) && bare(&a.op) == bare(&b.op)
}

impl Chain {
    fn nodes(&self, layers: Range<usize>) -> Range<usize> {
        self.first + layers.start * self.period..self.first + layers.end * self.period
    }

    /// The graph in which layer `layer` of the chain stands for `layers` of them. Variances of batch norms do not fall below 0.
    pub(super) fn merged(&self, graph: &Graph, layer: usize, layers: usize, merge: Merge) -> Result<Graph, GraphError> {
        let constants = |layer: usize| -> Vec<usize> {
            let nodes = graph.nodes[self.nodes(layer..layer + 1)].iter();
            let ids = nodes.flat_map(|node| constants(&node.op));
            ids.map(|id| usize::from(id.0)).collect()
        };
        let mut merged = graph.clone();
        let others: Vec<Vec<usize>> = (layer + 1..layer + layers).map(constants).collect();
        for (at, &own) in constants(layer).iter().enumerate() {
            let theta = &graph.tensors[own].data;
            let others = others.iter().map(|other| graph.tensors[other[at]].data.as_slice());
            merged.tensors[own].data = together(theta, others, merge);
        }
        for node in &merged.nodes[self.nodes(layer..layer + 1)] {
            if let Op::BatchNorm(norm) = &node.op {
                let variances = &mut merged.tensors[usize::from(norm.var.0)].data;
                variances.iter_mut().for_each(|variance| *variance = variance.max(0.0));
            }
        }
        let gone = self.nodes(layer + 1..layer + layers);
        let (stays, last) = (entry(graph, gone.start), entry(graph, gone.end));
        merged.nodes.drain(gone.clone());
        let rename = |id: &mut ValueId| {
            let value = usize::from(id.0);
            if value == last {
                id.0 = stays as u16;
            } else if value > last {
                id.0 -= gone.len() as u16;
            }
        };
        merged
            .nodes
            .iter_mut()
            .flat_map(|node| &mut node.inputs)
            .for_each(rename);
        merged.outputs.iter_mut().for_each(rename);
        drop_unused(&mut merged);
        merged.shapes()?;
        Ok(merged)
    }

    /// What [`merged`](Self::merged) does, in words.
    pub(super) fn step(&self, graph: &Graph, layer: usize, layers: usize, similarity: f64) -> Collapsed {
        let names = |nodes: Range<usize>| {
            graph.nodes[nodes]
                .iter()
                .map(|node| node.name.clone())
                .collect::<Vec<_>>()
        };
        Collapsed {
            into: names(self.nodes(layer..layer + 1)).swap_remove(0),
            nodes: names(self.nodes(layer + 1..layer + layers)),
            similarity,
        }
    }
}

/// What the constant of a layer becomes with those of others.
pub(super) fn together<'t>(own: &[f32], others: impl Iterator<Item = &'t [f32]>, merge: Merge) -> Vec<f32> {
    let mut merged: Vec<f64> = own.iter().map(|&w| w.into()).collect();
    for other in others {
        for ((merged, &own), &other) in merged.iter_mut().zip(own).zip(other) {
            match merge {
                Merge::DiffSum => *merged += f64::from(other) - f64::from(own),
                Merge::Last => *merged = other.into(),
            }
        }
    }
    merged.into_iter().map(|w| w as f32).collect()
}
