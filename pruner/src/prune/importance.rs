//! Pruning by importance (NNrelief, arXiv 2109.10795): biases take part, and what feeds only what is pruned goes, too.

use secateur_format::TensorId;
use secateur_format::graph::{Graph, GraphError};

use super::quotas::Decision;
use super::{Masks, PruneError, PruneOptions, apply};
use crate::layer::Layer;
use crate::mask::{Bounds, Connections, Pattern, Prefix, Quota, select_importance};
use crate::structured::unused;

/// Criteria whose scores are in the unit of a bias: what a weight adds to its output, at inputs that are known or 1.
const CRITERIA: [&str; 2] = ["nnrelief", "magnitude"];

/// Whether what was asked for is there and fits.
pub(super) fn check(options: &PruneOptions) -> Result<(), PruneError> {
    let wrong = |problem: String| Err(PruneError::Sparsity(problem));
    let by_rules = options.rules.iter().filter_map(|rule| rule.alpha);
    let asked = options.alpha.into_iter().chain(by_rules);
    if options.scope.prefix().is_none() {
        return match asked.into_iter().next() {
            Some(_) => wrong("alpha is a share of importance: use it with scope importance".into()),
            None => Ok(()),
        };
    }
    let criterion = options.criterion.method().name;
    if !CRITERIA.contains(&criterion) {
        return wrong(format!(
            "scope importance adds scores and biases up, so scores must be what weights add to outputs: use criterion {}, \
             not {criterion}",
            CRITERIA.join(" or ")
        ));
    }
    if !options.pattern.within_rows() {
        let pattern = options.pattern;
        return wrong(format!(
            "pattern {pattern} spans outputs or fixes their sparsity, and scope importance is a choice within each: use \
             unstructured or kernel"
        ));
    }
    if options.bounds != Bounds::default() || options.rules.iter().any(|rule| rule.bounds.is_some()) {
        return wrong("scope importance has no min and max of sparsity: give layers an alpha by rules".into());
    }
    if let Some(alpha) = asked.into_iter().find(|alpha| !(*alpha > 0.0 && *alpha < 1.0)) {
        return wrong(format!(
            "alpha {alpha} is not between 0 and 1 (0.95 = outputs keep 95 % of their importance)"
        ));
    }
    if options.alpha.is_some() && options.sparsity.is_some() {
        return wrong("alpha decides the sparsity: give one of them".into());
    }
    match options
        .rules
        .iter()
        .find(|rule| rule.sparsity.is_some_and(|sparsity| sparsity != 0.0))
    {
        Some(rule) => wrong(format!(
            "the rule `{}` has a sparsity: with scope importance give it an alpha, or sparsity 0 to leave its layers dense",
            rule.layers
        )),
        None => Ok(()),
    }
}

/// What stays of each layer; what stays of biases goes to `biases`.
pub(super) fn select<'m>(
    graph: &Graph,
    pruned: impl Fn(TensorId) -> Option<&'m [bool]>,
    chosen: &[(&Layer, &Decision, Pattern)],
    quotas: Vec<Quota<'_>>,
    prefix: Prefix,
    biases: &mut Masks,
) -> Vec<Vec<bool>> {
    let bias = |layer: &Layer| graph.nodes[layer.node(graph)?].op.bias();
    let asked = chosen.iter().find(|(_, decision, _)| decision.shared);
    let sparsity = asked.map_or(0.0, |(_, decision, _)| decision.sparsity);
    let connections = chosen
        .iter()
        .zip(quotas)
        .map(|(&(layer, decision, _), quota)| Connections {
            quota,
            bias: bias(layer)
                .and_then(|id| graph.tensor(id))
                .map(|tensor| tensor.data.as_slice()),
            alpha: decision.alpha,
        });
    let connections: Vec<Connections<'_>> = connections.collect();
    let kept = select_importance(&connections, sparsity, prefix)
        .into_iter()
        .zip(chosen);
    let weights = kept.map(|(mut kept, (layer, ..))| {
        if let Some(id) = bias(layer) {
            let before = pruned(id).unwrap_or_default();
            kept.bias
                .iter_mut()
                .zip(before)
                .for_each(|(keep, before)| *keep &= before);
            merge(biases, id, kept.bias);
        }
        kept.weights
    });
    weights.collect()
}

/// Adds `biases` to `masks`, and what makes only channels that nothing reads any more.
pub(super) fn propagate(
    left: &mut Graph,
    pruned: &[Layer],
    masks: &mut Masks,
    biases: Masks,
) -> Result<(), GraphError> {
    let dead = unused(left, |name| pruned.iter().any(|layer| layer.name == name))?;
    biases
        .into_iter()
        .chain(dead)
        .for_each(|(id, mask)| merge(masks, id, mask));
    apply(left, masks);
    Ok(())
}

/// Both masks of a constant are one.
fn merge(masks: &mut Masks, id: TensorId, mask: Vec<bool>) {
    match masks.iter_mut().find(|(own, _)| *own == id) {
        Some((_, own)) => own.iter_mut().zip(mask).for_each(|(own, keep)| *own &= keep),
        None => masks.push((id, mask)),
    }
}
