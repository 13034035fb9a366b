//! Layers in a row that are alike, and what they become together.

use std::collections::BTreeMap;
use std::ops::Range;

use secateur_format::graph::{Graph, GraphError, NodeDef};
use secateur_format::{Op, Shape, TensorId, ValueId};

use super::{Attempt, Merge};
use crate::lower::{drop_unused, for_each_tensor};

/// Layers in a row that are alike: each reads one value of the shape that it makes, and nothing within the chain is read
/// elsewhere. A layer is as many nodes as repeat: a linear and its activation, a residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first node.
    pub first: usize,
    /// Nodes of a layer.
    pub period: usize,
    /// Layers.
    pub count: usize,
}

/// The chains of a graph with layers that have weights, in execution order; they do not overlap. Layers with a node whose
/// name `stays` is true for are in none. Of the chains that begin at a node the one with the most nodes counts, then that of
/// the most layers.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub fn chains(graph: &Graph, stays: impl Fn(&str) -> bool) -> Result<Vec<Chain>, GraphError> {
    let search = Search::new(graph, stays)?;
    let nodes = graph.nodes.len();
    let mut found = Vec::new();
    let mut first = 0;
    while first < nodes {
        let chains = (1..=(nodes - first) / 2).map(|period| Chain {
            first,
            period,
            count: search.count(first, period),
        });
        let longest = chains
            .filter(|chain| chain.count > 1)
            .max_by_key(|chain| (chain.period * chain.count, chain.count));
        first = longest.map_or(first + 1, |chain| chain.first + chain.period * chain.count);
        found.extend(longest);
    }
    Ok(found)
}

/// What chains are looked for with.
struct Search<'g> {
    graph: &'g Graph,
    shapes: Vec<Shape>,
    /// By value: the last node that reads it; after all nodes if the graph returns it.
    last_reader: Vec<usize>,
    /// By node: whether it may be part of a layer that goes, with constants of its own.
    free: Vec<bool>,
}

impl<'g> Search<'g> {
    fn new(graph: &'g Graph, stays: impl Fn(&str) -> bool) -> Result<Self, GraphError> {
        let shapes = graph.shapes()?;
        let mut last_reader = vec![0; graph.value_count()];
        let mut uses: BTreeMap<TensorId, usize> = BTreeMap::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|id| last_reader[usize::from(id.0)] = index);
            constants(&node.op)
                .into_iter()
                .for_each(|id| *uses.entry(id).or_default() += 1);
        }
        graph
            .outputs
            .iter()
            .for_each(|id| last_reader[usize::from(id.0)] = graph.nodes.len());
        let own = |node: &NodeDef| constants(&node.op).iter().all(|id| uses.get(id) == Some(&1));
        let free = graph.nodes.iter().map(|node| own(node) && !stays(&node.name)).collect();
        Ok(Self {
            graph,
            shapes,
            last_reader,
            free,
        })
    }

    /// How many layers of `period` nodes from `first` on are alike; 0 if they have no weights.
    fn count(&self, first: usize, period: usize) -> usize {
        let layer = |index: usize| first + index * period..first + (index + 1) * period;
        let alike = |index: &usize| {
            let nodes = layer(*index);
            nodes.end <= self.graph.nodes.len()
                && (nodes.clone().zip(layer(0))).all(|(node, like)| self.are_alike([node, like], [nodes.start, first]))
                && self.is_closed(nodes, *index > 0)
        };
        let weighted = self.graph.nodes[layer(0)].iter().any(|node| node.op.weight().is_some());
        if weighted { (0..).take_while(alike).count() } else { 0 }
    }

    /// Whether nodes read nothing but the value before them and each other, make one of its shape, and nobody else reads but
    /// the last of them; nor the value before them, if they are `inner` layers of a chain.
    fn is_closed(&self, nodes: Range<usize>, inner: bool) -> bool {
        let (graph, before) = (self.graph, entry(self.graph, nodes.start));
        let mut inputs = graph.nodes[nodes.clone()].iter().flat_map(|node| &node.inputs);
        let within = nodes.start..nodes.end - 1;
        let mut outputs = within.map(|node| usize::from(graph.output_of(node).0));
        graph.inputs.len() + nodes.start > 0
            && self.free[nodes.clone()].iter().all(|&free| free)
            && self.shapes[before] == self.shapes[entry(graph, nodes.end)]
            && inputs.all(|id| usize::from(id.0) >= before)
            && outputs.all(|value| self.last_reader[value] < nodes.end)
            && (!inner || self.last_reader[before] < nodes.end)
    }

    /// Whether two nodes do the same, but for the values of their constants, in layers that begin at some nodes.
    fn are_alike(&self, nodes: [usize; 2], starts: [usize; 2]) -> bool {
        let [a, b] = nodes.map(|node| &self.graph.nodes[node]);
        let [of_a, of_b] = starts.map(|start| entry(self.graph, start));
        let inputs = |node: &NodeDef, entry: usize| -> Vec<i64> {
            let distance = |id: &ValueId| i64::from(id.0) - entry as i64;
            node.inputs.iter().map(distance).collect()
        };
        let bare = |op: &Op| {
            let (mut op, mut shapes) = (*op, Vec::new());
            for_each_tensor(&mut op, |id| {
                shapes.push(self.graph.tensor(*id).map(|tensor| (tensor.rows, tensor.cols)));
                *id = TensorId(0);
            });
            (op, shapes)
        };
        inputs(a, of_a) == inputs(b, of_b) && bare(&a.op) == bare(&b.op)
    }
}

/// The value before a node: what the layer that begins there may read.
fn entry(graph: &Graph, node: usize) -> usize {
    (graph.inputs.len() + node).saturating_sub(1)
}

fn constants(op: &Op) -> Vec<TensorId> {
    let (mut op, mut ids) = (*op, Vec::new());
    for_each_tensor(&mut op, |id| ids.push(*id));
    ids
}

impl Chain {
    /// The nodes of some layers.
    pub(super) fn nodes(&self, layers: Range<usize>) -> Range<usize> {
        self.first + layers.start * self.period..self.first + layers.end * self.period
    }

    /// The graph, which has no unused nodes, in which layer `layer` of the chain stands for `layers` of them. Variances of
    /// batch norms do not fall below 0.
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
    pub(super) fn attempt(&self, graph: &Graph, layer: usize, layers: usize, similarity: f64) -> Attempt {
        let names = |nodes: Range<usize>| {
            graph.nodes[nodes]
                .iter()
                .map(|node| node.name.clone())
                .collect::<Vec<_>>()
        };
        Attempt {
            into: names(self.nodes(layer..layer + 1)).swap_remove(0),
            nodes: names(self.nodes(layer + 1..layer + layers)),
            similarity,
            accepted: false,
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
