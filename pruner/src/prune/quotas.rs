//! How much of each layer is pruned.

use secateur_format::graph::Graph;

use super::{Fallback, PruneError, PruneOptions, PruneReport, PrunedLayer, importance};
use crate::criterion::{Scores, Unit};
use crate::layer::{Layer, layers};
use crate::mask::{Bounds, Extents, Guard, Pattern, Pool, Quota, Scope, erk, outliers, owl, select};

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
    pub(super) fn share_out_by_scores(&mut self, scores: &Scores) {
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

    /// Layer by layer; zeros are not counted yet.
    pub(super) fn report(&self, guards: &[Guard]) -> PruneReport {
        let rows = self.all.iter().zip(&self.decisions).map(|(layer, decision)| {
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
                note: decision.note.clone().or(kept),
            }
        });
        PruneReport {
            layers: rows.collect(),
            sparsity: 0.0,
            model_sparsity: 0.0,
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

    pub(super) fn build(&self, scores: Scores, unit: Unit, share: f64) -> Vec<Quota<'_>> {
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
    pub(super) fn chosen(&self) -> Vec<(&Layer, &Decision, Pattern)> {
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
pub(super) struct Decision {
    pub(super) pattern: Option<Pattern>,
    pub(super) sparsity: f64,
    /// Whether the sparsity is the scope's to give.
    pub(super) shared: bool,
    /// The share of importance its outputs keep.
    pub(super) alpha: Option<f64>,
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
