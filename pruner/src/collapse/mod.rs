//! Layer collapse: of a chain of layers (or residual blocks) that are alike, some become one, where the network hardly
//! notices (LaCo, arXiv 2402.11187).

mod chain;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use secateur_format::ValueId;
use secateur_format::graph::{Graph, GraphError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use chain::{Chain, chains};

use crate::calibrate::Calibration;
use crate::eval::EvalError;
use crate::train::Interpreter;

/// Samples at a time.
const BATCH: usize = 64;

/// What the constants of layers become that are one from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// Those of the first, and what each of the others differs from them: `θ_l + Σ (θ_{l+k} − θ_l)`.
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

/// A step: layers that became one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collapsed {
    /// The first node of the layer that stays.
    pub into: String,
    /// The nodes that are gone.
    pub nodes: Vec<String>,
    /// The mean cosine then.
    pub similarity: f64,
}

impl fmt::Display for Collapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            into,
            nodes,
            similarity,
        } = self;
        write!(
            f,
            "{} became part of {into}: similarity {similarity:.4}",
            nodes.join(", ")
        )
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
/// above the least; what was done.
///
/// # Errors
/// A [`CollapseError`]; the graph is then unchanged.
pub fn collapse(
    graph: &mut Graph,
    options: &Collapse,
    calibration: &Calibration<'_>,
) -> Result<Vec<Collapsed>, CollapseError> {
    let layers = options.layers;
    let chains = candidates(graph, options)?;
    let whole = hidden(graph, calibration)?;
    let (mut found, mut steps) = (graph.clone(), Vec::new());
    // The last first, so that the nodes of the others keep their places.
    for mut chain in chains.into_iter().rev() {
        let mut next = Some(chain.count - layers);
        while let Some(layer) = next {
            let candidate = chain.merged(&found, layer, layers, options.merge)?;
            let similarity = mean_cosine(&whole, &hidden(&candidate, calibration)?);
            let back = if similarity > options.similarity {
                steps.push(chain.step(&found, layer, layers, similarity));
                found = candidate;
                chain.count -= layers - 1;
                options.interval.max(1)
            } else {
                1
            };
            // With a short interval what comes next may reach beyond the end of what is left.
            let last = chain.count.checked_sub(layers);
            next = layer
                .checked_sub(back)
                .and_then(|layer| last.map(|last| layer.min(last)));
        }
    }
    *graph = found;
    Ok(steps)
}

/// The chains that are long enough.
///
/// # Errors
/// [`CollapseError::NoChain`] if there is none.
pub fn candidates(graph: &Graph, options: &Collapse) -> Result<Vec<Chain>, CollapseError> {
    let layers = options.layers;
    let long = chains(graph)?.into_iter().filter(|chain| chain.count >= layers);
    let long: Vec<Chain> = long.collect();
    match long.is_empty() {
        true => Err(CollapseError::NoChain { layers }),
        false => Ok(long),
    }
}

/// What the last layer reads, sample by sample, `[samples · features]`, and the number of features.
fn hidden(graph: &Graph, calibration: &Calibration<'_>) -> Result<(Vec<f32>, usize), CollapseError> {
    calibration.check_inputs(graph)?;
    let value = last_input(graph);
    let features = graph.shapes()?[usize::from(value.0)].elems();
    let mut interpreter = Interpreter::new(graph, value, BATCH.min(calibration.count()))?;
    let mut hidden = Vec::with_capacity(calibration.count() * features);
    for batch in calibration.batches(BATCH) {
        calibration.set_inputs(&mut interpreter, batch);
        interpreter.forward(graph);
        hidden.extend(interpreter.output());
    }
    Ok((hidden, features))
}

/// The input of the last node with a weight matrix.
fn last_input(graph: &Graph) -> ValueId {
    let last = graph.nodes.iter().rfind(|node| node.op.weight().is_some());
    last.and_then(|node| node.inputs.first().copied()).unwrap_or(ValueId(0))
}

fn mean_cosine((a, features): &(Vec<f32>, usize), (b, _): &(Vec<f32>, usize)) -> f64 {
    let samples = a.chunks(*features).zip(b.chunks(*features));
    let count = samples.len().max(1) as f64;
    samples.map(|(a, b)| cosine(a, b)).sum::<f64>() / count
}

/// 0 if one of them is zero, or not finite.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    if cosine.is_finite() { cosine } else { 0.0 }
}
