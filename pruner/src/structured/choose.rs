//! Which channels stay.

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
        Scope::Uniform | Scope::Row | Scope::Erk | Scope::Lamp | Scope::Importance | Scope::ImportanceReference => {
            groups
                .iter()
                .map(|(_, ranked)| prune_count(fraction, ranked.len()))
                .collect()
        }
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
