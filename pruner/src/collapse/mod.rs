//! Layer collapse: of a chain of layers (or residual blocks) that are alike, some become one, where the network hardly
//! notices (LaCo, arXiv 2402.11187).

mod chain;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use secateur_format::graph::{Graph, GraphError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use chain::{Chain, chains};

use crate::calibrate::{Calibration, values};
use crate::eval::EvalError;
use crate::lower::drop_unused;
use crate::prune::{Rule, kept_whole};

/// What the constants of layers become that are one from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// Those of the first, and what each of the others differs from them: `θ_l + Σ (θ_{l+k} − θ_l)`. Of two layers, the second.
    #[default]
    DiffSum,
    /// Those of the last, which is what the notebook of the authors computes.
    Last,
}

/// How to collapse layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Collapse {
    /// How many layers become one at a time.
    #[schemars(range(min = 2, max = 64))]
    pub layers: usize,
    /// How many layers before one that others became part of the next is tried.
    #[schemars(range(min = 1, max = 64))]
    pub interval: usize,
    /// The least mean cosine between what the last layer reads and what it did in the whole network.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub similarity: f64,
    /// What their constants become.
    pub merge: Merge,
}

impl Default for Collapse {
    /// The similarity is the paper's; 2 layers at a time, each in turn, is for networks of some ten layers (ours).
    fn default() -> Self {
        Self {
            layers: 2,
            interval: 1,
            similarity: 0.45,
            merge: Merge::DiffSum,
        }
    }
}

/// Layers that were to become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The first node of the layer that stays.
    pub into: String,
    /// The nodes that go.
    pub nodes: Vec<String>,
    /// The mean cosine without them.
    pub similarity: f64,
    /// Whether they went.
    pub accepted: bool,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            into,
            nodes,
            similarity,
            accepted,
        } = self;
        let what = if *accepted {
            "became part of"
        } else {
            "stays apart from"
        };
        write!(f, "{} {what} {into}: similarity {similarity:.4}", nodes.join(", "))
    }
}

/// Why layers cannot collapse.
#[derive(Debug, Error)]
pub enum CollapseError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The samples do not fit.
    #[error(transparent)]
    Samples(#[from] EvalError),
    /// No two layers in a row are alike.
    #[error(
        "no {layers} layers in a row have equal operators and shapes, so that none can become one: prune channels or weights \
         instead"
    )]
    NoChain {
        /// How many were asked for.
        layers: usize,
    },
}

/// Collapses layers of `graph`, from the last to the first of each chain, as long as the mean cosine over the samples stays
/// above the least; what was tried, in order. Layers that `rules` leave whole stay.
///
/// # Errors
/// A [`CollapseError`]; the graph is then unchanged.
pub fn collapse(
    graph: &mut Graph,
    options: &Collapse,
    rules: &[Rule],
    calibration: &Calibration<'_>,
) -> Result<Vec<Attempt>, CollapseError> {
    // Fewer cannot become one; recipes refuse them by name.
    let layers = options.layers.max(2);
    let mut found = graph.clone();
    // Unused nodes would go with the first layer, and move all others.
    drop_unused(&mut found);
    let chains = candidates(&found, options, rules)?;
    // What the last layer reads says nothing of it if it may itself become part of another.
    let last = found.nodes.iter().rposition(|node| node.op.weight().is_some());
    let returned = chains
        .iter()
        .any(|chain| last.is_some_and(|node| chain.nodes(0..chain.count).contains(&node)));
    let (whole, mut attempts) = (hidden(&found, returned, calibration)?, Vec::new());
    // The last first, so that the nodes of the others keep their places.
    for index in (0..chains.len()).rev() {
        let mut chain = chains[index];
        let mut next = Some(chain.count - layers);
        while let Some(layer) = next {
            let candidate = chain.merged(&found, layer, layers, options.merge)?;
            let similarity = mean_cosine(&whole, &hidden(&candidate, returned, calibration)?);
            let mut attempt = chain.attempt(&found, layer, layers, similarity);
            attempt.accepted = similarity > options.similarity;
            let back = if attempt.accepted {
                found = candidate;
                chain.count -= layers - 1;
                options.interval.max(1)
            } else {
                1
            };
            attempts.push(attempt);
            // With a short interval what comes next may reach beyond the end of what is left.
            let last = chain.count.checked_sub(layers);
            next = layer
                .checked_sub(back)
                .and_then(|layer| last.map(|last| layer.min(last)));
        }
    }
    if attempts.iter().any(|attempt| attempt.accepted) {
        *graph = found;
    }
    Ok(attempts)
}

/// The chains that are long enough, without layers that `rules` leave whole.
///
/// # Errors
/// [`CollapseError::NoChain`] if there is none.
pub fn candidates(graph: &Graph, options: &Collapse, rules: &[Rule]) -> Result<Vec<Chain>, CollapseError> {
    let layers = options.layers.max(2);
    let chains = chains(graph, |name| kept_whole(rules, name).is_some())?;
    let long: Vec<Chain> = chains.into_iter().filter(|chain| chain.count >= layers).collect();
    match long.is_empty() {
        true => Err(CollapseError::NoChain { layers }),
        false => Ok(long),
    }
}

/// Values sample by sample, `[samples · features]`, and the number of features.
type Hidden = (Vec<f32>, usize);

/// What the network returns, or what its last layer reads.
fn hidden(graph: &Graph, returned: bool, calibration: &Calibration<'_>) -> Result<Hidden, CollapseError> {
    let last = graph.nodes.iter().rfind(|node| node.op.weight().is_some());
    let read = last.filter(|_| !returned).and_then(|node| node.inputs.first());
    let value = *read.or(graph.outputs.first()).ok_or(GraphError::Structure)?;
    let features = graph.shapes()?[usize::from(value.0)].elems();
    Ok((values(graph, value, calibration)?, features))
}

fn mean_cosine((a, features): &Hidden, (b, _): &Hidden) -> f64 {
    let samples = a.chunks(*features).zip(b.chunks(*features));
    let count = samples.len().max(1) as f64;
    samples.map(|(a, b)| cosine(a, b)).sum::<f64>() / count
}

/// 0 if one of them is zero; −1, which is never similar enough, if it is not a number.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    match (dot(a, a) * dot(b, b)).sqrt() {
        0.0 => 0.0,
        size if size.is_finite() => dot(a, b) / size,
        _ => -1.0,
    }
}
