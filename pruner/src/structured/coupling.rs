//! Coupled channels: what must leave a graph together.
//!
//! Every index of the first axis of every value is followed through the operators; indices that
//! an operator ties to each other are one *channel* (DepGraph, arXiv 2301.12900, with one label
//! per index, so that concatenations, flattening and padded shortcuts need no cases of their own).

use std::collections::{BTreeMap, BTreeSet};

use secateur_format::graph::{Graph, GraphError, NodeDef};
use secateur_format::{Shape, TensorId, ValueId};

use super::classes::Classes;
use super::propagate::propagate;

/// An axis of a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Axis {
    /// Outputs of a weight matrix.
    Rows,
    /// Inputs of a weight matrix, or the entries of a vector.
    Cols,
}

/// An axis of a constant, and the channel that each of its entries leaves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices {
    /// The first node that uses the constant.
    pub node: usize,
    /// The constant.
    pub tensor: TensorId,
    /// Its axis.
    pub axis: Axis,
    /// One channel per entry of the axis.
    pub channels: Vec<usize>,
}

impl Slices {
    /// Whether they are the columns with which a linear or convolution reads channels.
    pub(super) fn reads(&self, nodes: &[NodeDef]) -> bool {
        let weight = nodes.get(self.node).and_then(|node| node.op.weight());
        self.axis == Axis::Cols && weight == Some(self.tensor)
    }
}

/// Channels that occur in the same values: they compete, and one of them stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The first layer whose outputs they are; the first node if they are of none.
    pub name: String,
    /// The channels.
    pub channels: Vec<usize>,
    /// Outputs of the first layer that a channel stands for: more than 1 where a grouped
    /// convolution or a reshape ties neighbours.
    pub width: usize,
    /// Nodes whose weights make them.
    pub layers: Vec<String>,
    /// What leaves with a channel, by the kinds of its operators and axes, in order: groups that are alike have the same.
    pub tag: Vec<(&'static str, Axis)>,
    /// Why they are coupled.
    pub ties: Vec<String>,
    /// Why they cannot be removed; empty if they can.
    pub pins: Vec<String>,
}

/// The channels of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupling {
    /// Of each value, the channel of each index of its first axis.
    pub values: Vec<Vec<usize>>,
    /// Of each constant, what leaves with which channel.
    pub slices: Vec<Slices>,
    /// The channels, in order of their first value.
    pub groups: Vec<Group>,
    /// How many channels there are.
    pub count: usize,
}

impl Coupling {
    /// Finds the channels of a graph.
    ///
    /// # Errors
    /// A [`GraphError`] if the graph is not valid.
    pub fn new(graph: &Graph) -> Result<Self, GraphError> {
        let shapes = graph.shapes()?;
        let mut labels = Labels::new(graph, &shapes);
        propagate(&mut labels)?;
        Ok(labels.finish())
    }

    /// The rows of weights, which make channels.
    pub fn makers(&self) -> impl Iterator<Item = &Slices> {
        self.slices.iter().filter(|slices| slices.axis == Axis::Rows)
    }

    /// Of each channel, the sum of `term` over all weights that read it; it is given a constant, the index of a weight, and all
    /// weights of the constant.
    pub fn sums_over_readers(&self, graph: &Graph, term: impl Fn(TensorId, usize, &[f32]) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.count];
        for slices in self.slices.iter().filter(|slices| slices.reads(&graph.nodes)) {
            let weights = graph.tensor(slices.tensor).map_or(&[][..], |tensor| &tensor.data);
            for (index, &channel) in (0..weights.len()).zip(slices.channels.iter().cycle()) {
                sums[channel] += term(slices.tensor, index, weights);
            }
        }
        sums
    }

    /// What leaves with a channel of a group: parts of constants, and how many of their entries.
    pub fn members(&self, group: &Group) -> impl Iterator<Item = (&Slices, usize)> {
        let one = group.channels.first().copied();
        let members = self.slices.iter().map(move |slices| {
            let entries = slices.channels.iter().filter(|&&channel| Some(channel) == one);
            (slices, entries.count())
        });
        members.filter(|(_, entries)| *entries > 0)
    }
}

/// Coupling under construction: labels of indices, and what joins them.
pub(super) struct Labels<'g> {
    pub(super) graph: &'g Graph,
    pub(super) shapes: &'g [Shape],
    /// Of each value so far, the labels of the indices of its first axis.
    pub(super) values: Vec<Vec<usize>>,
    classes: Classes,
    axes: BTreeMap<(TensorId, Axis), (usize, Vec<usize>)>,
    ties: Vec<(usize, String)>,
    pins: Vec<(usize, String)>,
}

impl<'g> Labels<'g> {
    fn new(graph: &'g Graph, shapes: &'g [Shape]) -> Self {
        Self {
            graph,
            shapes,
            values: Vec::new(),
            classes: Classes::default(),
            axes: BTreeMap::new(),
            ties: Vec::new(),
            pins: Vec::new(),
        }
    }

    /// Labels that nothing else has.
    pub(super) fn fresh(&mut self, count: u32) -> Vec<usize> {
        self.classes.fresh(count as usize)
    }

    /// Ties `a[i]` to `b[i]`.
    pub(super) fn join(&mut self, a: &[usize], b: &[usize], why: impl Fn() -> String) {
        let mut why_once = None;
        for (&a, &b) in a.iter().zip(b) {
            if self.classes.join(a, b) {
                let why = why_once.get_or_insert_with(&why);
                self.ties.push((a, why.clone()));
            }
        }
    }

    /// Says what ties labels that are equal by construction.
    pub(super) fn explain(&mut self, labels: &[usize], why: &str) {
        let distinct: BTreeSet<usize> = labels.iter().copied().collect();
        self.ties
            .extend(distinct.into_iter().map(|label| (label, why.to_owned())));
    }

    /// Keeps labels from being removed.
    pub(super) fn pin(&mut self, labels: &[usize], why: &str) {
        let distinct: BTreeSet<usize> = labels.iter().copied().collect();
        self.pins
            .extend(distinct.into_iter().map(|label| (label, why.to_owned())));
    }

    /// Labels an axis of a constant of `node`. Nodes that share a constant share its labels.
    pub(super) fn slice(&mut self, node: usize, tensor: TensorId, axis: Axis, labels: Vec<usize>) {
        let Some((first, shared)) = self.axes.get(&(tensor, axis)).cloned() else {
            self.axes.insert((tensor, axis), (node, labels));
            return;
        };
        let graph = self.graph;
        let name = graph.tensor(tensor).map_or("", |tensor| tensor.name.as_str());
        let [a, b] = [first, node].map(|node| graph.nodes[node].name.as_str());
        self.join(&shared, &labels, || {
            format!("`{a}` and `{b}` share the weights `{name}`")
        });
    }

    fn finish(mut self) -> Coupling {
        let mut numbers = BTreeMap::new();
        let classes = &mut self.classes;
        let mut number = |labels: Vec<usize>| -> Vec<usize> {
            let channel = |label| {
                let next = numbers.len();
                *numbers.entry(classes.find(label)).or_insert(next)
            };
            labels.into_iter().map(channel).collect()
        };
        let values: Vec<Vec<usize>> = self.values.into_iter().map(&mut number).collect();
        let mut slices: Vec<Slices> = Vec::new();
        for ((tensor, axis), (node, labels)) in self.axes {
            slices.push(Slices {
                node,
                tensor,
                axis,
                channels: number(labels),
            });
        }
        slices.sort_by_key(|slice| slice.node);
        let mut notes = |list: Vec<(usize, String)>| -> Vec<(usize, String)> {
            let (labels, texts): (Vec<usize>, Vec<String>) = list.into_iter().unzip();
            number(labels).into_iter().zip(texts).collect()
        };
        let (ties, pins) = (notes(self.ties), notes(self.pins));
        let count = numbers.len();
        let mut coupling = Coupling {
            values,
            slices,
            groups: Vec::new(),
            count,
        };
        coupling.group(self.graph, &ties, &pins);
        coupling
    }
}

impl Coupling {
    /// Sorts the channels into groups, by the values they occur in.
    fn group(&mut self, graph: &Graph, ties: &[(usize, String)], pins: &[(usize, String)]) {
        let mut places: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); self.count];
        for (value, channels) in self.values.iter().enumerate() {
            for &channel in channels {
                *places[channel].entry(value).or_insert(0) += 1;
            }
        }
        let mut groups: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut group_of = vec![None; self.count];
        for (channel, places) in places.iter().enumerate() {
            // What is of constants alone (columns that no channel owns) is of no group.
            let Some((&first, &width)) = places.first_key_value() else {
                continue;
            };
            let index = *groups
                .entry(places.keys().copied().collect())
                .or_insert(self.groups.len());
            if index == self.groups.len() {
                self.groups.push(Group {
                    name: graph.name(ValueId(first as u16)).to_owned(),
                    channels: Vec::new(),
                    width,
                    layers: Vec::new(),
                    tag: Vec::new(),
                    ties: Vec::new(),
                    pins: Vec::new(),
                });
            }
            let group = &mut self.groups[index];
            group.channels.push(channel);
            group_of[channel] = Some(index);
        }
        for slice in self.slices.iter().filter(|slice| slice.axis == Axis::Rows) {
            let name = &graph.nodes[slice.node].name;
            let owners: BTreeSet<usize> = slice.channels.iter().filter_map(|&c| group_of[c]).collect();
            owners
                .into_iter()
                .for_each(|group| self.groups[group].layers.push(name.clone()));
        }
        let tag = |group: &Group| {
            let members = self.members(group);
            let kinds = members.map(|(slices, _)| (graph.nodes[slices.node].op.name(), slices.axis));
            kinds.collect()
        };
        let tags: Vec<Vec<(&str, Axis)>> = self.groups.iter().map(tag).collect();
        for (group, tag) in self.groups.iter_mut().zip(tags) {
            group.tag = tag;
            if let Some(layer) = group.layers.first() {
                group.name.clone_from(layer);
            }
        }
        let mut note = |notes: &[(usize, String)], list: fn(&mut Group) -> &mut Vec<String>| {
            for (channel, text) in notes {
                if let Some(index) = group_of[*channel] {
                    let list = list(&mut self.groups[index]);
                    if !list.contains(text) {
                        list.push(text.clone());
                    }
                }
            }
        };
        note(ties, |group| &mut group.ties);
        note(pins, |group| &mut group.pins);
    }
}
