//! Channel permutation for N:M (Pool and Yu 2021, "Channel Permutations for N:M Sparsity"): an order of the input
//! channels in which the pattern keeps more of the weights' magnitude. The network computes what it did before.
//!
//! Ours: no random swaps once no swap helps.

use std::collections::BTreeMap;

use rayon::prelude::*;
use secateur_format::TensorId;
use secateur_format::graph::{Graph, GraphError};

use crate::layer::{Layer, layers};
use crate::mask::Pattern;
use crate::structured::{Axis, Coupling, Group, permute};

/// Reorders the channels of `graph` so that more of the matrices that N:M will prune is kept. Channels stay
/// where they are if they are pinned, or if the groups of M of some matrix mix them with others.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub fn permute_channels(graph: &Graph, prunable: &[TensorId], n: u8, m: u8) -> Result<Graph, GraphError> {
    let coupling = Coupling::new(graph)?;
    let pruned = |layer: &Layer| {
        let fits = Pattern::Nm { n, m }.fits(layer).is_ok();
        fits && prunable.contains(&layer.tensor)
    };
    let layers = layers(graph, &graph.shapes()?).into_iter();
    let pruned: Vec<TensorId> = layers.filter(pruned).map(|layer| layer.tensor).collect();
    let mut order: Vec<usize> = (0..coupling.count).collect();
    for group in coupling.groups.iter().filter(|group| coupling.permutable(group)) {
        if let Some(slots) = Slots::new(graph, &coupling, group, &pruned, m.into()) {
            let found = search(&slots.scores, n.into(), m.into());
            for (slot, from) in found.into_iter().enumerate() {
                order[slots.channels[slot]] = slots.channels[from];
            }
        }
    }
    permute(graph, &coupling, &order)
}

/// The places of channels, M neighbours to a group, and what each channel weighs wherever it is read.
struct Slots {
    channels: Vec<usize>,
    /// By slot: |w| for each matrix, kernel position and row.
    scores: Vec<Vec<f64>>,
}

impl Slots {
    /// `None` if there is nothing to gain, or the groups of M are not the same wherever the channels are read.
    fn new(graph: &Graph, coupling: &Coupling, group: &Group, pruned: &[TensorId], m: usize) -> Option<Self> {
        let mut scores: BTreeMap<usize, Vec<f64>> = group.channels.iter().map(|&c| (c, Vec::new())).collect();
        let mut neighbours: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let inputs = coupling.slices.iter().filter(|slices| slices.axis == Axis::Cols);
        for slices in inputs.filter(|slices| pruned.contains(&slices.tensor)) {
            let tensor = graph.tensor(slices.tensor)?;
            for (index, chunk) in slices.channels.chunks(m).enumerate() {
                let own = chunk.iter().filter(|channel| scores.contains_key(*channel)).count();
                if own == 0 {
                    continue;
                }
                let same = *neighbours.entry(chunk[0]).or_insert_with(|| chunk.to_vec()) == chunk;
                if own < m || !same {
                    return None;
                }
                for (at, channel) in chunk.iter().enumerate() {
                    let column = tensor.data.iter().skip(index * m + at).step_by(tensor.cols as usize);
                    scores.get_mut(channel)?.extend(column.map(|&w| f64::from(w).abs()));
                }
            }
        }
        let channels = neighbours.into_values().flatten().collect::<Vec<_>>();
        let mut sorted = channels.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let once = sorted.len() == channels.len();
        (once && channels.len() > m).then(|| Self {
            scores: channels
                .iter()
                .map(|channel| scores.remove(channel).unwrap_or_default())
                .collect(),
            channels,
        })
    }
}

/// The slot whose channel each slot gets: swaps between two groups, the best first, until none keeps more.
/// `scores` `[slots][lines]`; in each line the `n` largest of each `m` neighbours are kept.
pub(super) fn search(scores: &[Vec<f64>], n: usize, m: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let groups = scores.len() / m;
    let all: f64 = order.chunks(m).map(|group| kept(scores, group, n)).sum();
    let mut stale: Vec<(usize, usize)> = (0..groups).flat_map(|a| (a + 1..groups).map(move |b| (a, b))).collect();
    let mut swaps: BTreeMap<(usize, usize), Swap> = BTreeMap::new();
    loop {
        let found: Vec<_> = stale
            .par_iter()
            .map(|&pair| (pair, best(scores, &order, pair, n, m)))
            .collect();
        swaps.extend(found);
        let mut ranked: Vec<_> = swaps.iter().filter(|(_, swap)| swap.gain > 1e-9 * all).collect();
        ranked.sort_by(|a, b| b.1.gain.total_cmp(&a.1.gain).then(a.0.cmp(b.0)));
        let mut touched = vec![false; groups];
        for (&(a, b), swap) in ranked {
            if !touched[a] && !touched[b] {
                (touched[a], touched[b]) = (true, true);
                order.swap(swap.slots.0, swap.slots.1);
            }
        }
        if !touched.contains(&true) {
            return order;
        }
        stale = swaps
            .keys()
            .copied()
            .filter(|&(a, b)| touched[a] || touched[b])
            .collect();
    }
}

/// Two slots that change their channels, and how much more is kept then.
#[derive(Clone, Copy)]
struct Swap {
    gain: f64,
    slots: (usize, usize),
}

/// The best swap between two groups.
fn best(scores: &[Vec<f64>], order: &[usize], (a, b): (usize, usize), n: usize, m: usize) -> Swap {
    let channels = |group: usize| order[group * m..][..m].to_vec();
    let (mut first, mut second) = (channels(a), channels(b));
    let before = kept(scores, &first, n) + kept(scores, &second, n);
    let mut best = Swap {
        gain: 0.0,
        slots: (a * m, a * m),
    };
    for i in 0..m {
        for j in 0..m {
            std::mem::swap(&mut first[i], &mut second[j]);
            let gain = kept(scores, &first, n) + kept(scores, &second, n) - before;
            if gain > best.gain {
                let slots = (a * m + i, b * m + j);
                best = Swap { gain, slots };
            }
            std::mem::swap(&mut first[i], &mut second[j]);
        }
    }
    best
}

/// What a group keeps: over all lines, the sum of the `n` largest.
fn kept(scores: &[Vec<f64>], group: &[usize], n: usize) -> f64 {
    let lines = group.first().map_or(0, |&slot| scores[slot].len());
    let mut line = Vec::with_capacity(group.len());
    let largest = |at: usize| {
        line.clear();
        line.extend(group.iter().map(|&slot| scores[slot][at]));
        line.sort_unstable_by(|a, b| b.total_cmp(a));
        line.iter().take(n).sum::<f64>()
    };
    (0..lines).map(largest).sum()
}
