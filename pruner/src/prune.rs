//! Pruning: rules, criterion, pattern and scope in, zeros out.

mod importance;

use std::borrow::Cow;

use regex::Regex;
use secateur_format::TensorId;
use secateur_format::graph::{Graph, GraphError, Tensor};
use thiserror::Error;

use crate::calibrate::Calibration;
use crate::criterion::{Criterion, CriterionError, Scores, Subject, Unit};
use crate::layer::{Layer, layers};
use crate::mask::{Bounds, Extents, Guard, Pattern, Pool, Quota, Scope, erk, outliers, owl, select};

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

/// What happened to a layer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PrunedLayer {
    /// Name of its node.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// Weights.
    pub weights: usize,
    /// Weights that are zero now.
    pub zeros: usize,
    /// The pattern applied; `None` if the layer was left dense.
    pub pattern: Option<String>,
    /// Whether a rule asked to leave it dense.
    pub skipped: bool,
    /// Why it was not pruned as the others.
    pub note: Option<String>,
}

/// What pruning did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PruneReport {
    /// Layer by layer.
    pub layers: Vec<PrunedLayer>,
    /// Fraction of zeros over the weights of all linear and convolution layers.
    pub sparsity: f64,
    /// Fraction of zeros over all parameters.
    pub model_sparsity: f64,
}

impl PruneReport {
    /// Counts the zeros anew, in the weights that `graph` has now.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn recount(&mut self, graph: &Graph) -> Result<(), GraphError> {
        let zeros = |tensor: &Tensor| tensor.data.iter().filter(|&&w| w == 0.0).count();
        for (row, layer) in self.layers.iter_mut().zip(layers(graph, &graph.shapes()?)) {
            row.zeros = graph.tensor(layer.tensor).map_or(0, zeros);
        }
        let part = |zeros: usize, of: usize| zeros as f64 / of.max(1) as f64;
        let weights = self.layers.iter().map(|row| row.weights).sum();
        self.sparsity = part(self.layers.iter().map(|row| row.zeros).sum(), weights);
        let all = graph.tensors.iter().map(|tensor| tensor.data.len()).sum();
        self.model_sparsity = part(graph.tensors.iter().map(zeros).sum(), all);
        Ok(())
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
    let mut report = report(&quotas.all, quotas.decisions, &guards);
    report.recount(&left)?;
    Ok((masks, report))
}

/// How much of each layer goes, by rules, scope and pattern. Scores then say which weights.
#[derive(Clone)]
pub struct Quotas {
    /// The sparsity asked for.
    target: f64,
    all: Vec<Layer>,
    decisions: Vec<Decision>,
    pruned: Vec<Layer>,
}

impl Quotas {
    /// Those of a graph.
    ///
    /// # Errors
    /// A [`PruneError`].
    pub fn new(graph: &Graph, options: &PruneOptions) -> Result<Self, PruneError> {
        let (target, all, decisions) = decisions(graph, options)?;
        let pruned = all
            .iter()
            .zip(&decisions)
            .filter(|(_, decision)| decision.pattern.is_some());
        Ok(Self {
            target,
            pruned: pruned.map(|(layer, _)| layer.clone()).collect(),
            all,
            decisions,
        })
    }

    /// The layers that are pruned.
    pub fn layers(&self) -> &[Layer] {
        &self.pruned
    }

    /// OWL: each layer a sparsity of its own, by its scores, together the target.
    fn share_out_by_scores(&mut self, scores: &Scores) {
        let mut shared: Vec<(&Layer, &mut Decision, f64)> = Vec::new();
        let decided = self.all.iter().zip(&mut self.decisions);
        let pruned = decided.filter(|(_, decision)| decision.pattern.is_some());
        for ((layer, decision), scores) in pruned.zip(scores).filter(|((_, decision), _)| decision.shared) {
            shared.push((layer, decision, outliers(scores)));
        }
        let layers: Vec<(f64, f64)> = shared
            .iter()
            .map(|(layer, _, outliers)| (*outliers, layer.weights() as f64))
            .collect();
        for ((_, decision, _), sparsity) in shared.into_iter().zip(owl(&layers, self.target)) {
            decision.sparsity = sparsity;
        }
    }

    /// The same with other patterns.
    pub(crate) fn with_patterns(&self, pattern: impl Fn(&Layer, Pattern) -> Pattern) -> Self {
        let mut changed = self.clone();
        for (layer, decision) in changed.all.iter().zip(&mut changed.decisions) {
            decision.pattern = decision.pattern.map(|own| pattern(layer, own));
        }
        changed
    }

    /// Chooses the weights that stay, by a vector of scores for each of [`Quotas::layers`], to densities that are
    /// those asked for to the power of `share`; see [`select`].
    pub fn select(&self, scores: Scores, unit: Unit, share: f64) -> (Vec<Vec<bool>>, Vec<Guard>) {
        select(&self.build(scores, unit, share))
    }

    fn build(&self, scores: Scores, unit: Unit, share: f64) -> Vec<Quota<'_>> {
        let part = |sparsity: f64| {
            if share == 1.0 {
                sparsity
            } else {
                1.0 - (1.0 - sparsity).powf(share)
            }
        };
        let quota = |((layer, decision, pattern), scores): ((_, &Decision, _), _)| Quota {
            layer,
            pattern,
            sparsity: part(decision.sparsity),
            scores,
            unit,
            pool: decision.pool,
            bounds: Bounds {
                min: part(decision.bounds.min),
                max: part(decision.bounds.max),
            },
            last: self.all.last() == Some(layer),
        };
        self.chosen().into_iter().zip(scores).map(quota).collect()
    }

    /// The layers that are pruned, each with what is done to it.
    fn chosen(&self) -> Vec<(&Layer, &Decision, Pattern)> {
        let decided = self.all.iter().zip(&self.decisions);
        decided
            .filter_map(|(layer, decision)| Some((layer, decision, decision.pattern?)))
            .collect()
    }
}

/// The sparsity asked for, the layers of a graph, and what is done to each.
fn decisions(graph: &Graph, options: &PruneOptions) -> Result<(f64, Vec<Layer>, Vec<Decision>), PruneError> {
    let target = check_sparsity(options)?;
    let layers = layers(graph, &graph.shapes()?);
    if layers.is_empty() {
        return Err(PruneError::NoLayers);
    }
    for rule in &options.rules {
        if !layers.iter().any(|layer| rule.layers.is_match(&layer.name)) {
            let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
            return Err(PruneError::NoMatch {
                pattern: rule.layers.to_string(),
                layers: names.join(", "),
            });
        }
    }
    let mut decisions: Vec<Decision> = layers.iter().map(|layer| decide(layer, options, target)).collect();
    if options.scope == Scope::Erk {
        share_out(&layers, &mut decisions, target);
    }
    if target > 0.0 && decisions.iter().all(|decision| decision.pattern.is_none()) {
        return Err(PruneError::Nothing {
            pattern: options.pattern,
        });
    }
    Ok((target, layers, decisions))
}

/// ERK: each layer a sparsity of its own, together the target.
fn share_out(layers: &[Layer], decisions: &mut [Decision], target: f64) {
    let shared = |decision: &Decision| decision.pattern.is_some() && decision.shared;
    let extents = |(layer, decision): (&Layer, &Decision)| Extents {
        sum: layer.extents.into(),
        weights: layer.weights() as f64,
        bounds: decision.bounds,
    };
    let of: Vec<Extents> = layers
        .iter()
        .zip(&*decisions)
        .filter(|(_, decision)| shared(decision))
        .map(extents)
        .collect();
    let sparsities = erk(&of, target);
    let own = decisions.iter_mut().filter(|decision| shared(decision));
    own.zip(sparsities)
        .for_each(|(decision, sparsity)| decision.sparsity = sparsity);
}

/// What is done to one layer.
#[derive(Clone)]
struct Decision {
    pattern: Option<Pattern>,
    sparsity: f64,
    /// Whether the sparsity is the scope's to give.
    shared: bool,
    /// The share of importance its outputs keep.
    alpha: Option<f64>,
    pool: Pool,
    bounds: Bounds,
    skipped: bool,
    note: Option<String>,
}

fn check_sparsity(options: &PruneOptions) -> Result<f64, PruneError> {
    let wrong = |s: f64| {
        PruneError::Sparsity(format!(
            "sparsity {s} is not from 0 to below 1 (0.9 = 90 % of the weights removed)"
        ))
    };
    let all = options.rules.iter().filter_map(|rule| rule.bounds);
    for Bounds { min, max } in std::iter::once(options.bounds).chain(all) {
        if !(0.0..=1.0).contains(&min) || !(min..=1.0).contains(&max) {
            return Err(PruneError::Sparsity(format!(
                "the least and the greatest sparsity of a layer are {min} and {max}: they must be from 0 to 1, in this order"
            )));
        }
    }
    for (rule, sparsity) in options.rules.iter().filter_map(|rule| Some((rule, rule.sparsity?))) {
        if !(0.0..1.0).contains(&sparsity) {
            return Err(wrong(sparsity));
        }
        if let Some(fixed) = options.pattern.fixed_sparsity()
            && sparsity != 0.0
            && (sparsity - fixed).abs() > 1e-9
        {
            return Err(PruneError::Sparsity(format!(
                "pattern {} fixes the sparsity at {fixed}; the rule `{}` can only skip layers (sparsity 0), not ask for {sparsity}",
                options.pattern, rule.layers
            )));
        }
    }
    importance::check(options)?;
    if options.scope == Scope::Isomorphic && options.sparsity != Some(0.0) {
        let problem = "scope isomorphic is for channels: prune weights in a run of their own, with another scope";
        return Err(PruneError::Sparsity(problem.into()));
    }
    if let Some(alpha) = options.alpha {
        // The share that goes, of importance as otherwise of weights.
        return Ok(1.0 - alpha);
    }
    match (options.sparsity, options.pattern.fixed_sparsity()) {
        (Some(asked), Some(fixed)) if (asked - fixed).abs() > 1e-9 => Err(PruneError::Sparsity(format!(
            "pattern {} fixes the sparsity at {fixed}, not {asked}: leave --sparsity out",
            options.pattern
        ))),
        (_, Some(fixed)) => Ok(fixed),
        (Some(asked), None) if (0.0..1.0).contains(&asked) => Ok(asked),
        (Some(asked), None) => Err(wrong(asked)),
        (None, None) => Err(PruneError::Sparsity(format!(
            "pattern {} needs a sparsity",
            options.pattern
        ))),
    }
}

fn decide(layer: &Layer, options: &PruneOptions, target: f64) -> Decision {
    let rule = options
        .rules
        .iter()
        .rev()
        .find(|rule| rule.layers.is_match(&layer.name));
    let alpha = rule.and_then(|rule| rule.alpha);
    let own = rule.and_then(|rule| rule.sparsity).or(alpha.map(|alpha| 1.0 - alpha));
    let sparsity = own.unwrap_or(target);
    let shared = own.is_none();
    let pool = match options.scope {
        Scope::Global => Pool::Scores,
        Scope::Lamp => Pool::Lamp,
        Scope::Row => Pool::Row,
        Scope::Uniform
        | Scope::Erk
        | Scope::Owl
        | Scope::Importance
        | Scope::ImportanceReference
        | Scope::Isomorphic => Pool::Layer,
    };
    let dense = Decision {
        pattern: None,
        sparsity: 0.0,
        shared: false,
        alpha: None,
        pool: Pool::Layer,
        bounds: Bounds::default(),
        skipped: false,
        note: None,
    };
    if sparsity == 0.0 {
        let rule = rule.filter(|_| own.is_some());
        let note = rule.map(|rule| format!("skipped by the rule `{}`", rule.layers));
        return Decision {
            skipped: rule.is_some(),
            note,
            ..dense
        };
    }
    let pruned = Decision {
        pattern: Some(options.pattern),
        sparsity,
        shared,
        alpha: alpha.or(options.alpha),
        pool: if shared || pool == Pool::Row { pool } else { Pool::Layer },
        bounds: match (shared, rule.and_then(|rule| rule.bounds)) {
            (false, None) => Bounds::default(),
            (_, Some(bounds)) => bounds,
            (true, None) => options.bounds,
        },
        ..dense
    };
    match (options.pattern.fits(layer), options.fallback) {
        (Ok(()), _) => pruned,
        (Err(misfit), Fallback::Dense) => {
            let note = Some(format!("left dense, {} does not fit: {misfit}", options.pattern));
            Decision {
                pattern: None,
                sparsity: 0.0,
                pool: Pool::Layer,
                note,
                ..pruned
            }
        }
        (Err(misfit), Fallback::Unstructured) => Decision {
            pattern: Some(Pattern::Unstructured),
            // The units of N:M do not compete with other layers, so neither may its substitute.
            pool: match options.pattern.fixed_sparsity() {
                Some(_) => Pool::Layer,
                None => pruned.pool,
            },
            note: Some(format!(
                "pruned unstructured, {} does not fit: {misfit}",
                options.pattern
            )),
            ..pruned
        },
    }
}

/// Layer by layer; zeros are not counted yet.
fn report(layers: &[Layer], decisions: Vec<Decision>, guards: &[Guard]) -> PruneReport {
    let rows = layers.iter().zip(decisions).map(|(layer, decision)| {
        let guard = guards.iter().find(|guard| guard.layer == layer.name);
        let kept = guard.map(|g| {
            format!(
                "{} units were kept that the sparsity asked for would remove, so that the layer stays connected",
                g.kept
            )
        });
        PrunedLayer {
            name: layer.name.clone(),
            op: layer.op,
            weights: layer.weights(),
            zeros: 0,
            pattern: decision.pattern.map(|pattern| pattern.to_string()),
            skipped: decision.skipped,
            note: decision.note.or(kept),
        }
    });
    PruneReport {
        layers: rows.collect(),
        sparsity: 0.0,
        model_sparsity: 0.0,
    }
}
