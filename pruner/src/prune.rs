//! Pruning: rules, criterion, pattern and scope in, zeros out.

mod importance;
mod quotas;
mod report;

use std::borrow::Cow;

use regex::Regex;
use secateur_format::TensorId;
use secateur_format::graph::{Graph, GraphError};
use thiserror::Error;

pub use quotas::Quotas;
pub use report::{PruneReport, PrunedLayer};

use crate::calibrate::Calibration;
use crate::criterion::{Criterion, CriterionError, Subject};
use crate::mask::{Bounds, Pattern, Scope, select};

/// What to do with layers whose channels a pattern does not divide.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Leave the layer dense
    #[default]
    Dense,
    /// Prune single weights to the same sparsity
    Unstructured,
}

/// A per-layer exception: layers whose name matches get another sparsity, or other bounds of it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Searched for in the layer's name.
    pub layers: Regex,
    /// 0 leaves the layer dense; `None` leaves it to the scope.
    pub sparsity: Option<f64>,
    /// What the scope may give it.
    pub bounds: Option<Bounds>,
    /// Whether the layer may lose channels; `None`: unless it is left dense.
    pub channels: Option<bool>,
    /// The share of importance that its outputs keep.
    pub alpha: Option<f64>,
}

/// The rule by which a layer keeps all its channels, if there is one.
pub(crate) fn kept_whole<'r>(rules: &'r [Rule], layer: &str) -> Option<&'r Rule> {
    let last = rules.iter().rfind(|rule| rule.layers.is_match(layer));
    last.filter(|rule| !rule.channels.unwrap_or(rule.sparsity != Some(0.0)))
}

/// How to prune.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// Fraction of the prunable weights to remove; `None` where the pattern fixes it, or `alpha` decides it.
    pub sparsity: Option<f64>,
    /// With [`Scope::Importance`]: the share of importance that each output keeps.
    pub alpha: Option<f64>,
    /// What is pruned together.
    pub pattern: Pattern,
    /// Which weights go first.
    pub criterion: Criterion,
    /// Where they compete.
    pub scope: Scope,
    /// Layers that do not fit the pattern.
    pub fallback: Fallback,
    /// The least and the greatest sparsity of every layer that is pruned.
    pub bounds: Bounds,
    /// Exceptions; the last that matches a layer counts.
    pub rules: Vec<Rule>,
    /// Seed of random scores.
    pub seed: u64,
}

impl PruneOptions {
    /// The fraction that the pattern or the options fix; 0 if neither does.
    pub(crate) fn share(&self) -> f64 {
        self.pattern.fixed_sparsity().or(self.sparsity).unwrap_or(0.0)
    }
}

/// Why a graph cannot be pruned as asked.
#[derive(Debug, Error)]
pub enum PruneError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A rule's pattern matches no layer.
    #[error("the rule `{pattern}` matches no layer; the layers are: {layers}")]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// All names.
        layers: String,
    },
    /// A sparsity is missing, outside 0..1, or contradicts the pattern.
    #[error("{0}")]
    Sparsity(String),
    /// The criterion cannot score the model.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// The training does not suit the method that prunes during it.
    #[error("{0}")]
    Training(String),
    /// LAMP divides by sums of scores, and OWL compares with their mean.
    #[error("{criterion} gives scores below zero, which scopes lamp and owl cannot compare: use another scope")]
    Signed {
        /// The criterion.
        criterion: &'static str,
    },
    /// The model has no prunable layers.
    #[error("the model has no linear or convolution layers to prune")]
    NoLayers,
    /// Nothing would be pruned.
    #[error(
        "nothing would be pruned: every layer is skipped, or pattern {pattern} fits none; try --fallback unstructured"
    )]
    Nothing {
        /// The pattern asked for.
        pattern: Pattern,
    },
}

/// Masks by constant: `true` keeps a weight.
pub type Masks = Vec<(TensorId, Vec<bool>)>;

/// Sets the pruned weights of `graph` to zero; criteria that need samples take those of `calibration`.
///
/// # Errors
/// A [`PruneError`]; the graph is then unchanged.
pub fn prune(
    graph: &mut Graph,
    options: &PruneOptions,
    calibration: Option<&Calibration<'_>>,
) -> Result<PruneReport, PruneError> {
    let (masks, report) = choose(graph, |_| None, options, calibration)?;
    apply(graph, &masks);
    Ok(report)
}

/// Sets the weights to zero that `masks` does not keep.
pub fn apply(graph: &mut Graph, masks: &Masks) {
    for (id, mask) in masks {
        if let Some(tensor) = graph.tensors.get_mut(usize::from(id.0)) {
            let weights = tensor.data.iter_mut().zip(mask);
            weights.filter(|(_, keep)| !**keep).for_each(|(w, _)| *w = 0.0);
        }
    }
}

/// The weights that [`choose`] would choose from.
///
/// # Errors
/// A [`PruneError`].
pub fn prunable(graph: &Graph, options: &PruneOptions) -> Result<Vec<TensorId>, PruneError> {
    let quotas = Quotas::new(graph, options)?;
    Ok(quotas.layers().iter().map(|layer| layer.tensor).collect())
}

/// Chooses the weights that stay, by the scores of those of `graph`; what `pruned` masks already stays
/// pruned (its weights are zero), and counts as pruned. The report is of the graph after that.
///
/// # Errors
/// A [`PruneError`].
pub fn choose<'m>(
    graph: &Graph,
    pruned: impl Fn(TensorId) -> Option<&'m [bool]>,
    options: &PruneOptions,
    calibration: Option<&Calibration<'_>>,
) -> Result<(Masks, PruneReport), PruneError> {
    let mut quotas = Quotas::new(graph, options)?;
    let criterion = match options.scope {
        // LAMP is of squares.
        Scope::Lamp if options.criterion == Criterion::default() => Criterion::named("l2").unwrap_or_default(),
        _ => options.criterion.clone(),
    };
    let rounds = match options.pattern.fixed_sparsity() {
        _ if quotas.layers().is_empty() => 0,
        Some(_) => 1,
        None => criterion.rounds(),
    };
    let mut masks: Masks = Vec::new();
    for layer in quotas.layers() {
        let kept = pruned(layer.tensor).map_or_else(|| vec![true; layer.weights()], <[bool]>::to_vec);
        masks.push((layer.tensor, kept));
    }
    let (mut left, mut guards, mut biases) = (Cow::Borrowed(graph), Vec::new(), Masks::new());
    for round in 1..=rounds {
        let subject = Subject {
            graph: &left,
            layers: quotas.layers(),
            calibration,
            seed: options.seed,
        };
        let mut scores = criterion.scores(&subject)?;
        if matches!(options.scope, Scope::Lamp | Scope::Owl)
            && scores
                .iter()
                .flatten()
                .any(|&score| criterion.unit().score([score]) < 0.0)
        {
            let criterion = criterion.method().name;
            return Err(PruneError::Signed { criterion });
        }
        if options.scope == Scope::Owl {
            quotas.share_out_by_scores(&scores);
        }
        for (scores, (_, mask)) in scores.iter_mut().zip(&masks) {
            let gone = scores.iter_mut().zip(mask).filter(|(_, keep)| !**keep);
            gone.for_each(|(score, _)| *score = f64::NEG_INFINITY);
        }
        // Densities fall exponentially, to what was asked for (arXiv 2006.05467).
        let share = f64::from(round) / f64::from(rounds);
        let built = quotas.build(scores, criterion.unit(), share);
        let found = match options.scope.prefix() {
            Some(prefix) => importance::select(graph, &pruned, &quotas.chosen(), built, prefix, &mut biases),
            None => {
                let (found, acted) = select(&built);
                guards = acted;
                found
            }
        };
        for ((_, mask), found) in masks.iter_mut().zip(found) {
            mask.iter_mut().zip(found).for_each(|(keep, found)| *keep &= found);
        }
        apply(left.to_mut(), &masks);
    }
    if options.scope.prefix().is_some() {
        importance::propagate(left.to_mut(), quotas.layers(), &mut masks, biases)?;
    }
    let mut report = quotas.report(&guards);
    report.recount(&left)?;
    Ok((masks, report))
}
