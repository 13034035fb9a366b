//! Which channels stay.

use secateur_format::graph::Graph;

use super::coupling::{Axis, Coupling, Group};
use crate::criterion::Criterion;
use crate::mask::{Scope, prune_count};

/// One score per channel: the sum over the filters that make it, in whichever layers they are
/// (Li et al., arXiv 1608.08710, over coupled layers).
pub fn scores(graph: &Graph, coupling: &Coupling, criterion: Criterion, seed: u64) -> Vec<f64> {
    let mut scores = vec![0.0; coupling.count];
    for slices in coupling.slices.iter().filter(|slices| slices.axis == Axis::Rows) {
        let Some(tensor) = graph.tensor(slices.tensor) else {
            continue;
        };
        let weights = criterion.scores(&tensor.data, &graph.nodes[slices.node].name, seed);
        let filters = weights.chunks(tensor.cols as usize);
        for (filter, &channel) in filters.zip(&slices.channels) {
            scores[channel] += filter.iter().sum::<f64>();
        }
    }
    scores
}

/// Chooses the channels that stay of the groups that `may` lose some: `true` = keep.
///
/// Removes `round_half_to_even(fraction · channels)`, lowest score first, of each group or, under
/// [`Scope::Global`], of all of them together, ranked by their scores relative to the mean of their
/// group. Then each group gets back as many as `round_to` needs; one channel of each stays.
pub fn choose(
    coupling: &Coupling,
    scores: &[f64],
    may: impl Fn(&Group) -> bool,
    fraction: f64,
    scope: Scope,
    round_to: usize,
) -> Vec<bool> {
    let mut groups = Vec::new();
    for group in coupling
        .groups
        .iter()
        .filter(|group| group.pins.is_empty() && may(group))
    {
        let score = |channel| scores.get(channel).copied().unwrap_or(0.0);
        let mut ranked: Vec<(f64, usize)> = group.channels.iter().map(|&c| (score(c), c)).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        groups.push((group, ranked));
    }
    let removed: Vec<usize> = match scope {
        Scope::Uniform | Scope::Erk | Scope::Lamp => groups
            .iter()
            .map(|(_, ranked)| prune_count(fraction, ranked.len()))
            .collect(),
        Scope::Global => {
            let ranked: Vec<&[(f64, usize)]> = groups.iter().map(|(_, ranked)| ranked.as_slice()).collect();
            pooled(&ranked, fraction)
        }
    };
    let mut keep = vec![true; coupling.count];
    for ((group, ranked), removed) in groups.iter().zip(removed) {
        let step = round_to.max(1) / gcd(round_to.max(1), group.width);
        let kept = (ranked.len() - removed).max(1).next_multiple_of(step).min(ranked.len());
        let lowest = ranked.iter().take(ranked.len() - kept);
        lowest.for_each(|&(_, channel)| keep[channel] = false);
    }
    keep
}

/// How many channels each group loses when all are ranked together. `groups` are sorted by score.
fn pooled(groups: &[&[(f64, usize)]], fraction: f64) -> Vec<usize> {
    let mut pool = Vec::new();
    for (index, ranked) in groups.iter().enumerate() {
        let mean = ranked.iter().map(|(score, _)| score).sum::<f64>() / ranked.len() as f64;
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
