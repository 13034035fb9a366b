//! Selection: from scores to masks.

use std::cmp::Ordering;

use super::Pattern;
use super::scope::{Bounds, lamp};
use crate::criterion::Unit;
use crate::layer::Layer;

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
    /// How they make the score of a unit.
    pub unit: Unit,
    /// Where its units compete.
    pub pool: Pool,
    /// The least and the greatest sparsity, for pooled layers too.
    pub bounds: Bounds,
    /// Whether it is the model's last layer.
    pub last: bool,
}

/// Where units compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Within a row of units.
    Row,
    /// Within the layer.
    Layer,
    /// With those of all layers that do, by their scores.
    Scores,
    /// So, too, by their scores relative to what is left of the layer (arXiv 2010.07611).
    Lamp,
}

impl Pool {
    /// Whether layers compete.
    fn shared(self) -> bool {
        matches!(self, Self::Scores | Self::Lamp)
    }
}

/// A layer that the sparsity asked for would have emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The layer's name.
    pub layer: String,
    /// Units kept although their scores were low enough.
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
/// first, so that counts are exact under ties. A layer keeps at least one unit
/// in a thousand, and at least one; the model's last layer keeps as many units
/// as would give each of its outputs an input. Each time that matters is returned.
pub fn select(quotas: &[Quota<'_>]) -> (Vec<Vec<bool>>, Vec<Guard>) {
    let mut masks: Vec<Vec<bool>> = quotas.iter().map(|q| vec![true; q.layer.weights()]).collect();
    let floors: Vec<usize> = quotas.iter().map(floor).collect();
    let mut kept = vec![0; quotas.len()];
    let mut pool = Vec::new();
    for (i, (quota, mask)) in quotas.iter().zip(&mut masks).enumerate() {
        if let Pattern::Nm { n, .. } = quota.pattern {
            prune_groups(quota, n.into(), mask);
        } else if quota.pool.shared() {
            let mut units = ranked(quota, i);
            if quota.pool == Pool::Lamp {
                rank(&mut units);
                let sums: Vec<f64> = units.iter().map(|unit| unit.score).collect();
                units
                    .iter_mut()
                    .zip(lamp(&sums))
                    .for_each(|(unit, score)| unit.score = score);
            }
            pool.extend(units);
        } else {
            let mut units = ranked(quota, i);
            let rows = match quota.pool {
                Pool::Row => quota.pattern.units(quota.layer).block_rows().max(1),
                _ => 1,
            };
            let per_row = (units.len() / rows).max(1);
            let mut lowest = Vec::new();
            for row in units.chunks_mut(per_row) {
                let count = prune_count(quota.bounds.clamp(quota.sparsity), row.len());
                if count < row.len() {
                    row.select_nth_unstable_by(count, order);
                }
                lowest.extend(row.iter().take(count));
            }
            // What the floor gives back is the best of it.
            rank(&mut lowest);
            let count = lowest.len().min(units.len() - floors[i]);
            kept[i] = lowest.len() - count;
            lowest
                .iter()
                .take(count)
                .for_each(|candidate| prune_unit(quota, candidate.unit, mask));
        }
    }
    prune_pool(quotas, &mut masks, pool, &floors, &mut kept);
    let guarded = quotas.iter().zip(kept).filter(|(_, kept)| *kept > 0);
    let guards = guarded.map(|(quota, kept)| Guard {
        layer: quota.layer.name.clone(),
        kept,
    });
    (masks, guards.collect())
}

/// The fewest units a layer keeps.
fn floor(quota: &Quota<'_>) -> usize {
    let units = quota.pattern.units(quota.layer);
    let connected = if quota.last { units.block_rows() } else { 1 };
    let most = units.count() - prune_count(quota.bounds.max, units.count());
    units.count().div_ceil(1000).max(connected).max(most).min(units.count())
}

/// Keeps the `n` best weights of each group.
fn prune_groups(quota: &Quota<'_>, n: usize, mask: &mut [bool]) {
    let units = quota.pattern.units(quota.layer);
    let mut members = Vec::with_capacity(units.size());
    for group in 0..units.count() {
        members.clear();
        members.extend(units.members(group));
        let score = |weight| quota.unit.score([quota.scores[weight]]);
        members.sort_by(|&a, &b| score(a).total_cmp(&score(b)).then(a.cmp(&b)));
        members.iter().take(units.size() - n).for_each(|&w| mask[w] = false);
    }
}

/// The units of a layer with their scores.
fn ranked(quota: &Quota<'_>, layer: usize) -> Vec<Candidate> {
    let units = quota.pattern.units(quota.layer);
    let score = |unit| quota.unit.score(units.members(unit).map(|w| quota.scores[w]));
    (0..units.count())
        .map(|unit| Candidate {
            score: score(unit),
            layer,
            unit,
        })
        .collect()
}

fn prune_unit(quota: &Quota<'_>, unit: usize, mask: &mut [bool]) {
    quota
        .pattern
        .units(quota.layer)
        .members(unit)
        .for_each(|w| mask[w] = false);
}

fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by(order);
}

fn order(a: &Candidate, b: &Candidate) -> Ordering {
    let places = (a.layer, a.unit).cmp(&(b.layer, b.unit));
    a.score.total_cmp(&b.score).then(places)
}

/// `round_half_to_even(sparsity · units)`.
pub(crate) fn prune_count(sparsity: f64, units: usize) -> usize {
    ((sparsity * units as f64).round_ties_even() as usize).min(units)
}

/// Ranks pooled units of different sizes by their mean score, and prunes weights, not units, to the quota.
fn prune_pool(
    quotas: &[Quota<'_>],
    masks: &mut [Vec<bool>],
    mut pool: Vec<Candidate>,
    floors: &[usize],
    kept: &mut [usize],
) {
    let size = |candidate: &Candidate| {
        quotas[candidate.layer]
            .pattern
            .units(quotas[candidate.layer].layer)
            .size()
    };
    let total: usize = pool.iter().map(size).sum();
    let sparsity = quotas
        .iter()
        .find(|quota| quota.pool.shared())
        .map_or(0.0, |quota| quota.sparsity);
    let asked = prune_count(sparsity, total);
    for candidate in &mut pool {
        let quota = &quotas[candidate.layer];
        if quota.pool == Pool::Scores && quota.unit.grows() {
            candidate.score /= size(candidate) as f64;
        }
    }
    rank(&mut pool);
    let mut left: Vec<usize> = quotas.iter().map(|q| q.pattern.units(q.layer).count()).collect();
    // What every layer has to lose does not compete.
    let mut owed: Vec<usize> = quotas
        .iter()
        .zip(&left)
        .zip(floors)
        .map(|((quota, &units), &floor)| prune_count(quota.bounds.min, units).min(units - floor))
        .collect();
    let (mut seen, mut pruned) = (0, 0);
    let mut free = Vec::with_capacity(pool.len());
    for candidate in pool {
        let layer = candidate.layer;
        if owed[layer] == 0 {
            free.push(candidate);
            continue;
        }
        owed[layer] -= 1;
        left[layer] -= 1;
        seen += size(&candidate);
        pruned += size(&candidate);
        prune_unit(&quotas[layer], candidate.unit, &mut masks[layer]);
    }
    for candidate in free {
        let weights = size(&candidate);
        seen += weights;
        if pruned + weights > asked {
            // Larger units may no longer fit where smaller ones still do.
            if pruned >= asked {
                break;
            }
            continue;
        }
        if left[candidate.layer] <= floors[candidate.layer] {
            kept[candidate.layer] += usize::from(seen <= asked);
            continue;
        }
        left[candidate.layer] -= 1;
        pruned += weights;
        prune_unit(&quotas[candidate.layer], candidate.unit, &mut masks[candidate.layer]);
    }
}

#[cfg(test)]
mod tests {
    use secateur_format::TensorId;

    use super::*;

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
            extents: rows + cols,
        }
    }

    fn quota<'a>(layer: &'a Layer, pattern: Pattern, weights: &[f32], sparsity: f64, pooled: bool) -> Quota<'a> {
        Quota {
            layer,
            pattern,
            sparsity,
            scores: weights.iter().map(|&w| f64::from(w).abs()).collect(),
            unit: Unit::Sum,
            pool: if pooled { Pool::Scores } else { Pool::Layer },
            bounds: Bounds::default(),
            last: layer.name == "b",
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
    fn a_fraction_is_of_what_is_left() {
        // algorithms.md 5.1: a fifth of 10 units, three times.
        assert_eq!([10, 8, 6].map(|left| prune_count(0.2, left)), [2, 2, 1]);
    }

    #[test]
    fn blocks_are_ranked_by_their_norm() {
        let l = layer("a", 2, 4);
        let weights = [3.0, 1.0, 0.0, 4.0, 0.0, 1.0, 2.5, 0.0];
        let (masks, guards) = select(&[quota(&l, Pattern::Block { r: 2, c: 1 }, &weights, 0.5, false)]);
        assert_eq!(bits(&masks[0]), [1, 0, 0, 1, 1, 0, 0, 1]);
        assert_eq!(guards, []);
    }

    #[test]
    fn a_block_is_worth_its_sum_its_largest_or_its_smallest_weight() {
        // algorithms.md 5.1: the rows of [[0.5, -0.1, 0.3], [-0.2, 0.4, -0.6]], and a row that is pruned in part.
        let rows = [[0.5, 0.1, 0.3], [0.2, 0.4, 0.6], [f64::NEG_INFINITY, 0.3, 0.7]];
        let scores = |unit: Unit| rows.map(|row| unit.score(row));
        let close = |found: [f64; 3], expected: [f64; 3]| {
            let off = found
                .iter()
                .zip(expected)
                .map(|(a, b)| if *a == b { 0.0 } else { (a - b).abs() });
            assert!(off.fold(0.0, f64::max) < 1e-12, "{found:?} instead of {expected:?}");
        };
        close(scores(Unit::Sum), [0.9, 1.2, f64::NEG_INFINITY]);
        close(scores(Unit::Max), [0.5, 0.6, 0.7]);
        close(scores(Unit::Min), [0.1, 0.2, 0.3]);
        assert_eq!(Unit::AbsSum.score([0.25, -0.75]), 0.5);
        assert_eq!(Unit::AbsSum.score([f64::NEG_INFINITY, 1.0]), f64::NEG_INFINITY);
        assert_eq!(Unit::Min.score([f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
    }

    #[test]
    fn rows_that_compete_by_themselves_lose_alike() {
        let l = layer("a", 2, 4);
        let weights = [1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 80.0, 70.0];
        let quota = Quota {
            pool: Pool::Row,
            ..quota(&l, Pattern::Unstructured, &weights, 0.75, false)
        };
        assert_eq!(
            bits(&select(std::slice::from_ref(&quota)).0[0]),
            [0, 0, 0, 1, 0, 0, 1, 0]
        );
        let bounded = Quota {
            bounds: Bounds { min: 0.0, max: 0.5 },
            ..quota
        };
        assert_eq!(bits(&select(&[bounded]).0[0]), [0, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn a_layer_of_its_own_is_never_emptied() {
        let (a, b) = (layer("a", 2, 1024), layer("b", 3, 8));
        let ones = vec![1.0; 2048];
        for pattern in [Pattern::Unstructured, Pattern::Block { r: 1, c: 2 }] {
            let quotas = [
                quota(&a, pattern, &ones, 0.9999, false),
                quota(&b, pattern, &ones[..24], 0.9999, false),
            ];
            let (masks, guards) = select(&quotas);
            let kept = |mask: &[bool]| mask.iter().filter(|&&keep| keep).count();
            let units = |quota: &Quota<'_>| quota.pattern.units(quota.layer);
            // One in a thousand, rounded up; in the last layer, one per row.
            let floors = [units(&quotas[0]).count().div_ceil(1000), 3];
            for ((mask, quota), floor) in masks.iter().zip(&quotas).zip(floors) {
                assert_eq!(kept(mask), floor * units(quota).size());
            }
            let expected = [("a", floors[0]), ("b", 3)].map(|(layer, kept)| Guard {
                layer: layer.into(),
                kept,
            });
            assert_eq!(guards, expected);
        }
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

    #[test]
    fn pooled_layers_keep_to_their_bounds() {
        let (a, b) = (layer("a", 1, 4), layer("c", 1, 4));
        let mut quotas = [
            quota(&a, Pattern::Unstructured, &[0.1, 0.2, 0.3, 0.4], 0.5, true),
            quota(&b, Pattern::Unstructured, &[5.0, 6.0, 7.0, 8.0], 0.5, true),
        ];
        let kept = |quotas: &[Quota<'_>]| select(quotas).0.iter().map(|mask| bits(mask)).collect::<Vec<_>>();
        quotas[0].bounds.max = 0.75;
        assert_eq!(kept(&quotas), [[0, 0, 0, 1], [0, 1, 1, 1]]);
        quotas[0].bounds.max = 1.0;
        quotas[1].bounds.min = 0.5;
        assert_eq!(kept(&quotas), [[0, 0, 1, 1], [0, 0, 1, 1]]);
    }

    #[test]
    fn lamp_keeps_what_its_authors_keep() {
        // algorithms.md 6.18: the same layers, ranked by magnitude, would keep 0.5 and -0.6 of a and all of b.
        let (a, b) = (layer("a", 2, 3), layer("c", 1, 2));
        let weights: [&[f32]; 2] = [&[0.5, -0.1, 0.3, -0.2, 0.4, -0.6], &[0.5, -2.0]];
        let quotas = [(&a, weights[0]), (&b, weights[1])].map(|(layer, weights)| Quota {
            scores: weights.iter().map(|&w| f64::from(w) * f64::from(w)).collect(),
            pool: Pool::Lamp,
            ..quota(layer, Pattern::Unstructured, weights, 0.5, true)
        });
        let masks = select(&quotas).0;
        assert_eq!(bits(&masks[0]), [1, 0, 0, 0, 1, 1]);
        assert_eq!(bits(&masks[1]), [0, 1]);
    }
}
