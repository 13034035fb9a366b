//! Structured pruning: channels leave the graph, with everything that is coupled to them, and
//! what stays is a smaller dense graph like any other.

mod choose;
mod classes;
mod coupling;
mod permute;
mod propagate;
mod remove;
#[cfg(test)]
mod tests;
mod unused;

use secateur_format::graph::{Graph, GraphError};
use thiserror::Error;

pub use choose::{choose, scores};
pub use coupling::{Axis, Coupling, Group, Slices};
pub use permute::permute;
pub use remove::remove;
pub use unused::unused;

use crate::calibrate::Calibration;
use crate::criterion::{Criterion, CriterionError};
use crate::layer::multiplications;
use crate::mask::Scope;
use crate::prune::Rule;

/// How to remove channels.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Fraction of the removable channels to remove.
    pub fraction: f64,
    /// Each group keeps a multiple of so many channels, or all.
    pub round_to: usize,
    /// Which channels go first.
    pub criterion: Criterion,
    /// Where they compete.
    pub scope: Scope,
    /// Groups with a layer that these leave dense, or whose channels they leave alone, keep all; the last that matches a
    /// layer counts.
    pub rules: Vec<Rule>,
    /// Seed of random scores.
    pub seed: u64,
}

/// What happened to a group.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RemovedGroup {
    /// The group's name.
    pub name: String,
    /// Nodes whose outputs they are.
    pub layers: Vec<String>,
    /// Channels before.
    pub before: usize,
    /// Channels after.
    pub after: usize,
    /// Why it was left as it is.
    pub note: Option<String>,
}

/// The size of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Numbers in all constants.
    pub parameters: u64,
    /// Multiplications of linear and convolution layers, for one sample.
    pub multiplications: u64,
    /// Of the constants in f32.
    pub bytes: u64,
}

impl Size {
    /// The size of `graph`.
    ///
    /// # Errors
    /// A [`GraphError`] if the graph is not valid.
    pub fn new(graph: &Graph) -> Result<Self, GraphError> {
        let parameters = graph.tensors.iter().map(|tensor| tensor.data.len() as u64).sum();
        Ok(Self {
            parameters,
            multiplications: multiplications(graph, &graph.shapes()?),
            bytes: 4 * parameters,
        })
    }
}

/// What removal did.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ChannelReport {
    /// Group by group.
    pub groups: Vec<RemovedGroup>,
    /// The graph as it was.
    pub before: Size,
    /// The graph as it is.
    pub after: Size,
}

/// Why channels cannot be removed as asked.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The criterion cannot score the model.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// The fraction is outside 0..1.
    #[error("{0} is not a fraction of channels from 0 to below 1 (0.5 = half of them removed)")]
    Fraction(f64),
    /// Nothing would be removed.
    #[error(
        "no channel would be removed: each of the {groups} groups is pinned, skipped, or so small that rounding \
         keeps all of it; `inspect --groups` shows them"
    )]
    Nothing {
        /// How many groups there are.
        groups: usize,
    },
}

/// The channels that leave a graph.
#[derive(Clone, Debug)]
pub struct Removal {
    coupling: Coupling,
    keep: Vec<bool>,
    groups: Vec<RemovedGroup>,
}

impl Removal {
    /// Chooses them; criteria that need samples take those of `calibration`.
    ///
    /// # Errors
    /// A [`ChannelError`].
    pub fn new(
        graph: &Graph,
        options: &ChannelOptions,
        calibration: Option<&Calibration<'_>>,
    ) -> Result<Self, ChannelError> {
        if !(0.0..1.0).contains(&options.fraction) {
            return Err(ChannelError::Fraction(options.fraction));
        }
        let coupling = Coupling::new(graph)?;
        let scores = scores(graph, &coupling, &options.criterion, options.seed, calibration)?;
        let kept_whole = |layer: &String| {
            let last = options.rules.iter().rfind(|rule| rule.layers.is_match(layer));
            last.filter(|rule| !rule.channels.unwrap_or(rule.sparsity != Some(0.0)))
        };
        let skipped = |group: &Group| group.layers.iter().find_map(kept_whole);
        let keep = choose(
            &coupling,
            &scores,
            |group| skipped(group).is_none(),
            options.fraction,
            options.scope,
            options.round_to,
        );
        if options.fraction > 0.0 && keep.iter().all(|&keep| keep) {
            let groups = coupling.groups.len();
            return Err(ChannelError::Nothing { groups });
        }
        let row = |group: &Group| {
            let kept = group.channels.iter().filter(|&&channel| keep[channel]).count();
            let rule = || skipped(group).map(|rule| format!("skipped by the rule `{}`", rule.layers));
            RemovedGroup {
                name: group.name.clone(),
                layers: group.layers.clone(),
                before: group.channels.len() * group.width,
                after: kept * group.width,
                note: group.pins.first().cloned().or_else(rule),
            }
        };
        let groups = coupling.groups.iter().map(row).collect();
        Ok(Self { coupling, keep, groups })
    }

    /// Zeroes the weights that read channels which leave: the graph then computes in all others what the smaller
    /// one will.
    pub fn disconnect(&self, graph: &mut Graph) {
        let Graph { nodes, tensors, .. } = graph;
        for slices in &self.coupling.slices {
            let reads = slices.reads(nodes);
            let Some(tensor) = tensors.get_mut(usize::from(slices.tensor.0)).filter(|_| reads) else {
                continue;
            };
            for row in tensor.data.chunks_mut(slices.channels.len().max(1)) {
                let entries = row.iter_mut().zip(&slices.channels);
                let gone = entries.filter(|(_, channel)| !self.keep[**channel]);
                gone.for_each(|(weight, _)| *weight = 0.0);
            }
        }
    }

    /// The graph without them, and what that did.
    ///
    /// # Errors
    /// A [`ChannelError`], if it is another graph than they were chosen for.
    pub fn apply(self, graph: &Graph) -> Result<(Graph, ChannelReport), ChannelError> {
        let smaller = remove(graph, &self.coupling, &self.keep)?;
        let report = ChannelReport {
            groups: self.groups,
            before: Size::new(graph)?,
            after: Size::new(&smaller)?,
        };
        Ok((smaller, report))
    }
}

/// Removes channels of `graph`; criteria that need samples take those of `calibration`.
///
/// # Errors
/// A [`ChannelError`]; the graph is then unchanged.
pub fn remove_channels(
    graph: &mut Graph,
    options: &ChannelOptions,
    calibration: Option<&Calibration<'_>>,
) -> Result<ChannelReport, ChannelError> {
    let (smaller, report) = Removal::new(graph, options, calibration)?.apply(graph)?;
    *graph = smaller;
    Ok(report)
}
