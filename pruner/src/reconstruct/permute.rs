//! Channel permutation: an order of channels in which a pattern keeps more of the weights' magnitude. The network computes
//! what it did before. For N:M of input channels (Pool and Yu 2021, "Channel Permutations for N:M Sparsity"); for blocks of
//! both, so that weights of like magnitude meet (TETRIS, Ji et al., NeurIPS 2018).
//!
//! Ours: no random swaps once no swap helps; for blocks a swap counts what they exceed the threshold by that prunes the
//! matrix as it stands.

use std::collections::BTreeMap;

use rayon::prelude::*;
use secateur_format::TensorId;
use secateur_format::graph::{Graph, GraphError, Tensor};

use crate::layer::{Layer, layers};
use crate::mask::{Pattern, prune_count};
use crate::structured::{Axis, Coupling, Group, permute};

/// Reorders the channels of `graph` so that more of the matrices is kept that `pattern` will prune, each to `sparsity`
/// unless the pattern fixes it. Channels stay where they are if they are pinned, or if the units of some matrix mix them
/// with others.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub fn permute_channels(
    graph: &Graph,
    prunable: &[TensorId],
    pattern: Pattern,
    sparsity: f64,
) -> Result<Graph, GraphError> {
    let coupling = Coupling::new(graph)?;
    let pruned = |layer: &Layer| pattern.fits(layer).is_ok() && prunable.contains(&layer.tensor);
    let layers = layers(graph, &graph.shapes()?).into_iter().filter(pruned);
    let keeps = |tensor: &Tensor| match pattern {
        Pattern::Nm { n, .. } => Keeps::Largest(n.into()),
        _ => Keeps::Above(threshold(tensor, pattern, sparsity)),
    };
    let pruned: BTreeMap<TensorId, Keeps> = layers
        .filter_map(|layer| Some((layer.tensor, keeps(graph.tensor(layer.tensor)?))))
        .collect();
    let kept = |graph: &Graph| -> f64 {
        let tensors = pruned.keys().filter_map(|id| graph.tensor(*id));
        tensors.map(|tensor| retained(tensor, pattern, sparsity)).sum()
    };
    let (mut permuted, mut best) = (graph.clone(), kept(graph));
    for group in coupling.groups.iter().filter(|group| coupling.permutable(group)) {
        let Some(slots) = Slots::new(&permuted, &coupling, group, &pruned, pattern) else {
            continue;
        };
        let mut order: Vec<usize> = (0..coupling.count).collect();
        for (slot, from) in search(&slots).into_iter().enumerate() {
            order[slots.channels[slot]] = slots.channels[from];
        }
        let candidate = permute(&permuted, &coupling, &order)?;
        // The threshold moves with the order, so that what exceeds the old one says nothing certain of what is kept.
        let found = kept(&candidate);
        if matches!(pattern, Pattern::Nm { .. }) || found > best {
            (permuted, best) = (candidate, found);
        }
    }
    Ok(permuted)
}

/// |w| summed over each block, lowest first, and how many of them are pruned.
fn blocks(tensor: &Tensor, pattern: Pattern, sparsity: f64) -> (Vec<f64>, usize) {
    let (r, c) = pattern.extents();
    let (r, c, cols) = (usize::from(r), usize::from(c), tensor.cols as usize);
    let sums = tensor.data.chunks_exact(r * cols).flat_map(|rows| {
        let block = move |first: usize| {
            let weights = rows.chunks_exact(cols).flat_map(move |row| &row[first..first + c]);
            weights.map(|&w| f64::from(w).abs()).sum::<f64>()
        };
        (0..cols / c).map(move |at| block(at * c))
    });
    let mut sums: Vec<f64> = sums.collect();
    sums.sort_unstable_by(f64::total_cmp);
    let pruned = prune_count(sparsity, sums.len());
    (sums, pruned)
}

fn threshold(tensor: &Tensor, pattern: Pattern, sparsity: f64) -> f64 {
    let (sums, pruned) = blocks(tensor, pattern, sparsity);
    sums.get(pruned).or(sums.last()).copied().unwrap_or(0.0)
}

/// What blocks keep of the magnitude.
pub(super) fn retained(tensor: &Tensor, pattern: Pattern, sparsity: f64) -> f64 {
    let (sums, pruned) = blocks(tensor, pattern, sparsity);
    sums.iter().skip(pruned).sum()
}

/// What is kept of what meets in a unit.
#[derive(Clone, Copy)]
pub(super) enum Keeps {
    /// The largest so many.
    Largest(usize),
    /// All, if together they are more than this: that which they exceed it by counts.
    Above(f64),
}

impl Keeps {
    fn sum(self, unit: &mut [f64]) -> f64 {
        match self {
            Self::Largest(n) => {
                unit.sort_unstable_by(|a, b| b.total_cmp(a));
                unit.iter().take(n).sum()
            }
            Self::Above(threshold) => (unit.iter().sum::<f64>() - threshold).max(0.0),
        }
    }
}

/// Where channels meet: `width` neighbours in a unit.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) width: usize,
    pub(super) keeps: Keeps,
}

/// The places of channels, so many neighbours to a group, and what each channel weighs wherever it is pruned.
pub(super) struct Slots {
    pub(super) channels: Vec<usize>,
    /// Slots of a group.
    pub(super) neighbours: usize,
    pub(super) lines: Vec<Line>,
    /// `[slots][lines]`: |w|.
    pub(super) scores: Vec<Vec<f64>>,
}

impl Slots {
    /// `None` if there is nothing to gain, or the groups are not the same wherever the channels meet.
    fn new(
        graph: &Graph,
        coupling: &Coupling,
        group: &Group,
        pruned: &BTreeMap<TensorId, Keeps>,
        pattern: Pattern,
    ) -> Option<Self> {
        let (r, c) = pattern.extents();
        let (r, c) = (usize::from(r), usize::from(c));
        // Extents are powers of two wherever both matter: the smaller units are within the larger ones.
        let m = r.max(c);
        let mut lines = Vec::new();
        let mut first = None;
        let mut scores: BTreeMap<usize, Vec<f64>> = group.channels.iter().map(|&c| (c, Vec::new())).collect();
        let mut neighbours: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for slices in &coupling.slices {
            let Some(&keeps) = pruned.get(&slices.tensor) else {
                continue;
            };
            let width = match slices.axis {
                Axis::Rows => r,
                Axis::Cols => c,
            };
            if width == 1 {
                continue;
            }
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
                    let weights = magnitudes(tensor, slices.axis, index * m + at, r * c / width);
                    // The lines of all channels are those of the first.
                    if *channel == *first.get_or_insert(*channel) {
                        lines.extend(std::iter::repeat_n(Line { width, keeps }, weights.len()));
                    }
                    scores.get_mut(channel)?.extend(weights);
                }
            }
        }
        let channels = neighbours.into_values().flatten().collect::<Vec<_>>();
        let mut sorted = channels.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let once = sorted.len() == channels.len();
        let scores: Option<Vec<Vec<f64>>> = channels.iter().map(|channel| scores.remove(channel)).collect();
        let alike = |scores: &Vec<Vec<f64>>| scores.iter().all(|own| own.len() == lines.len());
        let scores = scores.filter(|scores| once && channels.len() > m && alike(scores))?;
        Some(Self {
            channels,
            neighbours: m,
            lines,
            scores,
        })
    }

    /// What some slots keep.
    fn kept(&self, group: &[usize]) -> f64 {
        let mut unit = Vec::with_capacity(group.len());
        let mut kept = 0.0;
        for (at, line) in self.lines.iter().enumerate() {
            for slots in group.chunks(line.width) {
                unit.clear();
                unit.extend(slots.iter().map(|&slot| self.scores[slot][at]));
                kept += line.keeps.sum(&mut unit);
            }
        }
        kept
    }
}

/// |w| of a row or column, summed over each `width` neighbours across.
fn magnitudes(tensor: &Tensor, axis: Axis, index: usize, width: usize) -> Vec<f64> {
    let cols = tensor.cols as usize;
    let line: Vec<f64> = match axis {
        Axis::Rows => tensor.data[index * cols..][..cols]
            .iter()
            .map(|&w| f64::from(w).abs())
            .collect(),
        Axis::Cols => {
            let column = tensor.data.iter().skip(index).step_by(cols);
            column.map(|&w| f64::from(w).abs()).collect()
        }
    };
    line.chunks(width).map(|across| across.iter().sum()).collect()
}

/// The slot whose channel each slot gets: swaps between two groups, the best first, until none keeps more.
pub(super) fn search(slots: &Slots) -> Vec<usize> {
    let m = slots.neighbours;
    let mut order: Vec<usize> = (0..slots.scores.len()).collect();
    let groups = order.len() / m;
    let all: f64 = slots.scores.iter().flatten().sum();
    let mut stale: Vec<(usize, usize)> = (0..groups).flat_map(|a| (a + 1..groups).map(move |b| (a, b))).collect();
    let mut swaps: BTreeMap<(usize, usize), Swap> = BTreeMap::new();
    loop {
        let found: Vec<_> = stale
            .par_iter()
            .map(|&pair| (pair, best(slots, &order, pair)))
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
fn best(slots: &Slots, order: &[usize], (a, b): (usize, usize)) -> Swap {
    let m = slots.neighbours;
    let channels = |group: usize| order[group * m..][..m].to_vec();
    let (mut first, mut second) = (channels(a), channels(b));
    let before = slots.kept(&first) + slots.kept(&second);
    let mut best = Swap {
        gain: 0.0,
        slots: (a * m, a * m),
    };
    for i in 0..m {
        for j in 0..m {
            std::mem::swap(&mut first[i], &mut second[j]);
            let gain = slots.kept(&first) + slots.kept(&second) - before;
            if gain > best.gain {
                let slots = (a * m + i, b * m + j);
                best = Swap { gain, slots };
            }
            std::mem::swap(&mut first[i], &mut second[j]);
        }
    }
    best
}
