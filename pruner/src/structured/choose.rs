//! Which channels stay.

use std::collections::BTreeSet;

use secateur_format::graph::Graph;

use super::ChannelError;
use super::coupling::{Axis, Coupling, Group};
use crate::calibrate::Calibration;
use crate::criterion::{Criterion, Subject};
use crate::layer::layers;
use crate::mask::{Scope, prune_count};

/// One score per channel: that of the filters that make it, in whichever layers they are, as one unit
/// (Li et al., arXiv 1608.08710, over coupled layers).
///
/// # Errors
/// A [`ChannelError`].
pub fn scores(
    graph: &Graph,
    coupling: &Coupling,
    criterion: &Criterion,
    seed: u64,
    calibration: Option<&Calibration<'_>>,
) -> Result<Vec<f64>, ChannelError> {
    let layers = layers(graph, &graph.shapes()?);
    let subject = Subject {
        graph,
        layers: &layers,
        calibration,
        seed,
    };
    let of_weights = criterion.scores(&subject)?;
    let mut filters = vec![Vec::new(); coupling.count];
    for slices in coupling.slices.iter().filter(|slices| slices.axis == Axis::Rows) {
        let Some(index) = layers.iter().position(|layer| layer.tensor == slices.tensor) else {
            continue;
        };
        let rows = of_weights[index].chunks(layers[index].cols as usize);
        for (row, &channel) in rows.zip(&slices.channels) {
            filters[channel].extend_from_slice(row);
        }
    }
    let unit = criterion.unit();
    Ok(filters.into_iter().map(|filter| unit.score(filter)).collect())
}

/// Chooses the channels that stay of the groups that `may` lose some: `true` = keep.
///
/// Removes `round_half_to_even(fraction · channels)`, lowest score first, of each group or, under
/// [`Scope::Global`], of all of them together, ranked by their scores relative to the mean of their
/// group; under [`Scope::Isomorphic`] of all that have the same tag (arXiv 2407.04616). Then each group gets back as many as `round_to` needs; one channel of each stays.
pub fn choose(
    coupling: &Coupling,
    scores: &[f64],
    may: impl Fn(&Group) -> bool,
    fraction: f64,
    scope: Scope,
    round_to: usize,
) -> Vec<bool> {
    let mut groups: Vec<(&Group, Vec<(f64, usize)>)> = Vec::new();
    for group in coupling
        .groups
        .iter()
        .filter(|group| group.pins.is_empty() && may(group))
    {
        groups.push((group, ranked(group, scores)));
    }
    let removed: Vec<usize> = match scope {
        Scope::Global => {
            let ranked: Vec<&[(f64, usize)]> = groups.iter().map(|(_, ranked)| ranked.as_slice()).collect();
            pooled(&ranked, fraction)
        }
        Scope::Isomorphic => {
            let mut removed = vec![0; groups.len()];
            let tags: BTreeSet<_> = groups.iter().map(|(group, _)| &group.tag).collect();
            for tag in tags {
                let alike: Vec<usize> = (0..groups.len()).filter(|&index| groups[index].0.tag == *tag).collect();
                let ranked: Vec<&[(f64, usize)]> = alike.iter().map(|&index| groups[index].1.as_slice()).collect();
                let found = pooled(&ranked, fraction);
                alike
                    .into_iter()
                    .zip(found)
                    .for_each(|(index, count)| removed[index] = count);
            }
            removed
        }
        _ => groups
            .iter()
            .map(|(_, ranked)| prune_count(fraction, ranked.len()))
            .collect(),
    };
    let mut keep = vec![true; coupling.count];
    for ((group, ranked), removed) in groups.iter().zip(removed) {
        let step = step(group, round_to);
        let kept = (ranked.len() - removed).max(1).next_multiple_of(step).min(ranked.len());
        let lowest = ranked.iter().take(ranked.len() - kept);
        lowest.for_each(|&(_, channel)| keep[channel] = false);
    }
    keep
}

/// The channels of a group with their scores, lowest first.
pub(super) fn ranked(group: &Group, scores: &[f64]) -> Vec<(f64, usize)> {
    let score = |channel| scores.get(channel).copied().unwrap_or(0.0);
    let mut ranked: Vec<(f64, usize)> = group.channels.iter().map(|&c| (score(c), c)).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    ranked
}

/// A group keeps a multiple of so many channels, so that their outputs are one of `round_to`.
pub(super) fn step(group: &Group, round_to: usize) -> usize {
    round_to.max(1) / gcd(round_to.max(1), group.width.max(1))
}

/// The scores relative to the mean size of those of their group.
pub(super) fn relative(coupling: &Coupling, scores: &[f64]) -> Vec<f64> {
    let mut found = scores.to_vec();
    for group in &coupling.groups {
        let sum: f64 = group.channels.iter().map(|&channel| scores[channel].abs()).sum();
        let mean = (sum / group.channels.len().max(1) as f64).max(f64::MIN_POSITIVE);
        group.channels.iter().for_each(|&channel| found[channel] /= mean);
    }
    found
}

/// How many channels each group loses when all are ranked together. `groups` are sorted by score.
fn pooled(groups: &[&[(f64, usize)]], fraction: f64) -> Vec<usize> {
    let mut pool = Vec::new();
    for (index, ranked) in groups.iter().enumerate() {
        // Of their sizes: some criteria have scores below 0.
        let mean = ranked.iter().map(|(score, _)| score.abs()).sum::<f64>() / ranked.len() as f64;
        // The best of each group is no candidate.
        let candidates = ranked.iter().take(ranked.len() - 1);
        pool.extend(candidates.map(|(score, _)| (score / mean.max(f64::MIN_POSITIVE), index)));
    }
    pool.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut removed = vec![0; groups.len()];
    let channels = groups.iter().map(|ranked| ranked.len()).sum();
    let lowest = pool.iter().take(prune_count(fraction, channels));
    lowest.for_each(|&(_, group)| removed[group] += 1);
    removed
}

/// The greatest common divisor; that of 0 and `b` is `b`.
fn gcd(a: usize, b: usize) -> usize {
    if a == 0 { b } else { gcd(b % a, a) }
}
