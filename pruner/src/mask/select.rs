//! Selection: from scores to masks.

use clap::ValueEnum;

use super::Pattern;
use crate::layer::Layer;

/// Where units compete with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Each layer is pruned to the sparsity
    Layer,
    /// All layers are ranked together and pruned to the sparsity overall
    #[default]
    Global,
}

/// A layer with its scores and the sparsity it is pruned to.
#[derive(Clone, Debug)]
pub struct Quota<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// The pattern of this layer.
    pub pattern: Pattern,
    /// Fraction of the layer's units to prune (of the pool's, for pooled layers).
    pub sparsity: f64,
    /// One score per weight.
    pub scores: Vec<f64>,
    /// Whether the layer competes with the other pooled ones.
    pub pooled: bool,
}

/// A layer that global ranking would have emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The layer's name.
    pub layer: String,
    /// Units kept although they ranked among the pruned.
    pub kept: usize,
}

/// A unit that competes.
#[derive(Clone, Copy)]
struct Candidate {
    score: f64,
    layer: usize,
    unit: usize,
}

/// Chooses the weights that stay: one mask per layer, `true` = keep.
///
/// Prunes `round_half_to_even(sparsity · units)` units, lowest `(score, index)`
/// first, so that counts are exact under ties. A pooled layer keeps at least
/// one unit in a thousand, and at least one; the last one keeps as many units as
/// it has rows. Each time that matters is returned.
pub fn select(quotas: &[Quota<'_>]) -> (Vec<Vec<bool>>, Vec<Guard>) {
    let mut masks: Vec<Vec<bool>> = quotas.iter().map(|q| vec![true; q.layer.weights()]).collect();
    let mut pool = Vec::new();
    let mut pool_sparsity = 0.0;
    for (i, (quota, mask)) in quotas.iter().zip(&mut masks).enumerate() {
        let units = quota.pattern.units(quota.layer);
        if let Pattern::Nm { n, .. } = quota.pattern {
            for group in 0..units.count() {
                let mut members: Vec<usize> = units.members(group).collect();
                members.sort_by(|&a, &b| quota.scores[a].total_cmp(&quota.scores[b]).then(a.cmp(&b)));
                members
                    .iter()
                    .take(units.size() - usize::from(n))
                    .for_each(|&w| mask[w] = false);
            }
            continue;
        }
        let mut ranked: Vec<Candidate> = (0..units.count())
            .map(|unit| Candidate {
                score: units.members(unit).map(|w| quota.scores[w]).sum(),
                layer: i,
                unit,
            })
            .collect();
        if quota.pooled {
            pool_sparsity = quota.sparsity;
            pool.append(&mut ranked);
            continue;
        }
        let count = prune_count(quota.sparsity, ranked.len());
        rank(&mut ranked);
        for candidate in ranked.into_iter().take(count) {
            units.members(candidate.unit).for_each(|w| mask[w] = false);
        }
    }
    let guards = prune_pool(quotas, &mut masks, pool, pool_sparsity);
    (masks, guards)
}

fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        a.score
            .total_cmp(&b.score)
            .then((a.layer, a.unit).cmp(&(b.layer, b.unit)))
    });
}

/// `round_half_to_even(sparsity · units)`.
fn prune_count(sparsity: f64, units: usize) -> usize {
    ((sparsity * units as f64).round_ties_even() as usize).min(units)
}

/// Ranks pooled units of different sizes by their mean score, and prunes weights, not units, to the quota.
fn prune_pool(quotas: &[Quota<'_>], masks: &mut [Vec<bool>], mut pool: Vec<Candidate>, sparsity: f64) -> Vec<Guard> {
    let size = |candidate: &Candidate| {
        quotas[candidate.layer]
            .pattern
            .units(quotas[candidate.layer].layer)
            .size()
    };
    let total: usize = pool.iter().map(size).sum();
    for candidate in &mut pool {
        candidate.score /= size(candidate) as f64;
    }
    rank(&mut pool);
    let last = quotas.iter().rposition(|q| q.pooled);
    let mut left: Vec<usize> = quotas.iter().map(|q| q.pattern.units(q.layer).count()).collect();
    let floors: Vec<usize> = quotas
        .iter()
        .enumerate()
        .map(|(i, q)| {
            let units = q.pattern.units(q.layer).count();
            let outputs = if Some(i) == last { q.layer.rows as usize } else { 1 };
            units.div_ceil(1000).max(outputs).min(units)
        })
        .collect();
    let mut budget = prune_count(sparsity, total);
    let mut kept = vec![0; quotas.len()];
    for candidate in pool {
        let weights = size(&candidate);
        if budget < weights {
            // Larger units may no longer fit where smaller ones still do.
            if budget == 0 {
                break;
            }
            continue;
        }
        if left[candidate.layer] <= floors[candidate.layer] {
            kept[candidate.layer] += 1;
            continue;
        }
        left[candidate.layer] -= 1;
        budget -= weights;
        let quota = &quotas[candidate.layer];
        let mask = &mut masks[candidate.layer];
        quota
            .pattern
            .units(quota.layer)
            .members(candidate.unit)
            .for_each(|w| mask[w] = false);
    }
    let guarded = quotas.iter().zip(kept).filter(|(_, kept)| *kept > 0);
    guarded
        .map(|(quota, kept)| Guard {
            layer: quota.layer.name.clone(),
            kept,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use secateur_format::TensorId;

    use super::*;
    use crate::criterion::Criterion;

    fn layer(name: &str, rows: u32, cols: u32) -> Layer {
        let tensor = TensorId(0);
        Layer {
            name: name.into(),
            op: "linear",
            tensor,
            rows,
            cols,
            group_rows: rows,
            channels: cols,
        }
    }

    fn quota<'a>(layer: &'a Layer, pattern: Pattern, weights: &[f32], sparsity: f64, pooled: bool) -> Quota<'a> {
        Quota {
            layer,
            pattern,
            sparsity,
            scores: Criterion::L1.scores(weights, &layer.name, 0),
            pooled,
        }
    }

    fn bits(mask: &[bool]) -> Vec<u8> {
        mask.iter().map(|&keep| keep.into()).collect()
    }

    #[test]
    fn two_of_four_keeps_the_two_largest_of_each_group() {
        let l = layer("a", 1, 8);
        let weights = [0.1, -0.9, 0.5, 0.2, -0.7, 0.3, 0.3, 0.8];
        let (masks, _) = select(&[quota(&l, Pattern::Nm { n: 2, m: 4 }, &weights, 0.5, false)]);
        assert_eq!(bits(&masks[0]), [0, 1, 1, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn ties_are_pruned_in_index_order_and_counts_round_half_to_even() {
        let l = layer("a", 1, 5);
        let (masks, _) = select(&[quota(&l, Pattern::Unstructured, &[1.0; 5], 0.5, false)]);
        // 2.5 rounds to 2.
        assert_eq!(bits(&masks[0]), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn blocks_are_ranked_by_their_norm() {
        let l = layer("a", 2, 2);
        let weights = [3.0, 1.0, 0.0, 1.0];
        let (masks, _) = select(&[quota(&l, Pattern::Block { r: 2, c: 1 }, &weights, 0.5, false)]);
        assert_eq!(bits(&masks[0]), [1, 0, 1, 0]);
    }

    #[test]
    fn the_pool_ranks_layers_together_and_empties_none() {
        let (a, b) = (layer("a", 1, 4), layer("b", 1, 4));
        let quotas = [
            quota(&a, Pattern::Unstructured, &[0.1, 0.2, 0.3, 0.4], 0.75, true),
            quota(&b, Pattern::Unstructured, &[5.0, 6.0, 7.0, 8.0], 0.75, true),
        ];
        let (masks, guards) = select(&quotas);
        assert_eq!(bits(&masks[0]), [0, 0, 0, 1]);
        assert_eq!(bits(&masks[1]), [0, 0, 0, 1]);
        assert_eq!(
            guards,
            [Guard {
                layer: "a".into(),
                kept: 1
            }]
        );
    }
}
