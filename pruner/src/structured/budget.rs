//! Which channels go so that a network costs no more than so many multiplications, or so much time.

use std::collections::BTreeMap;

use secateur_format::graph::{Graph, GraphError};

use super::choose::{ranked, step};
use super::coupling::{Axis, Coupling, Group};
use super::latency::Line;

/// What a weight matrix costs.
struct Cost {
    /// Whatever its size.
    fixed: f64,
    /// For each row and column, at all positions.
    price: f64,
    rows: f64,
    cols: f64,
}

impl Cost {
    fn total(&self) -> f64 {
        self.fixed + self.price * self.rows * self.cols
    }
}

/// A group whose channels may go, lowest first.
struct Candidate {
    channels: Vec<(f64, usize)>,
    removed: usize,
    step: usize,
    /// By matrix, the rows and columns of one channel.
    entries: Vec<(usize, f64, f64)>,
}

impl Candidate {
    /// The channels that go next, if one stays after them: as many as leave a multiple of the step.
    fn next(&self) -> Option<&[(f64, usize)]> {
        let left = self.channels.len() - self.removed;
        let count = match left % self.step {
            0 => self.step,
            rest => rest,
        };
        self.channels
            .get(self.removed..self.removed + count)
            .filter(|_| count < left)
    }

    /// The multiplications they save.
    fn saved(&self, costs: &[Cost], count: usize) -> f64 {
        let saved = self.entries.iter().map(|&(matrix, rows, cols)| {
            let Cost {
                price,
                rows: all_rows,
                cols: all_cols,
                ..
            } = costs[matrix];
            let count = count as f64;
            price * (all_rows * all_cols - (all_rows - count * rows) * (all_cols - count * cols))
        });
        saved.sum()
    }
}

/// The channels that stay, `true` = keep, with at most `share` of the multiplications of all or, with the `lines` of nodes,
/// of their time: always the channels go next that lose the least score for what they save. `None` if one channel of each
/// group is too many.
///
/// The greedy order is ours: arXiv 2204.09656 searches over units of two kinds, each of one cost.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub(super) fn within(
    graph: &Graph,
    coupling: &Coupling,
    scores: &[f64],
    may: impl Fn(&Group) -> bool,
    lines: Option<&BTreeMap<String, Line>>,
    share: f64,
    round_to: usize,
) -> Result<Option<Vec<bool>>, GraphError> {
    let shapes = graph.shapes()?;
    let mut costs = Vec::with_capacity(graph.tensors.len());
    for (index, tensor) in graph.tensors.iter().enumerate() {
        let nodes = graph.nodes.iter().zip(shapes.iter().skip(graph.inputs.len()));
        let own = nodes.filter(|(node, _)| node.op.weight().is_some_and(|id| usize::from(id.0) == index));
        let mut cost = Cost {
            fixed: 0.0,
            price: 0.0,
            rows: tensor.rows.into(),
            cols: tensor.cols.into(),
        };
        for (node, shape) in own {
            let positions = (shape.elems() / tensor.rows.max(1) as usize) as f64;
            let line = match lines {
                Some(lines) => lines.get(&node.name).copied().unwrap_or_default(),
                None => Line::MULTIPLICATIONS,
            };
            cost.fixed += line.fixed;
            cost.price += line.slope * positions;
        }
        costs.push(cost);
    }
    let candidate = |group: &Group| {
        // A matrix may read and make the same channels.
        let mut entries: BTreeMap<usize, [f64; 2]> = BTreeMap::new();
        for (slices, count) in coupling.members(group) {
            let both = entries.entry(usize::from(slices.tensor.0)).or_default();
            both[usize::from(slices.axis == Axis::Cols)] += count as f64;
        }
        let of_weights = entries.into_iter().filter(|(matrix, _)| costs[*matrix].price > 0.0);
        Candidate {
            channels: ranked(group, scores),
            removed: 0,
            step: step(group, round_to),
            entries: of_weights.map(|(matrix, [rows, cols])| (matrix, rows, cols)).collect(),
        }
    };
    let free = coupling
        .groups
        .iter()
        .filter(|group| group.pins.is_empty() && may(group));
    let mut candidates: Vec<Candidate> = free.map(candidate).collect();
    let total = |costs: &[Cost]| costs.iter().map(Cost::total).sum::<f64>();
    let budget = share * total(&costs);
    let mut keep = vec![true; coupling.count];
    while total(&costs) > budget {
        let loss = |candidate: &Candidate| {
            let next = candidate.next()?;
            let saved = candidate.saved(&costs, next.len());
            if saved <= 0.0 {
                return None;
            }
            Some(next.iter().map(|(score, _)| score).sum::<f64>() / saved)
        };
        let losses = candidates
            .iter()
            .enumerate()
            .filter_map(|(index, candidate)| Some((index, loss(candidate)?)));
        let Some((index, _)) = losses.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            return Ok(None);
        };
        let candidate = &mut candidates[index];
        let gone: Vec<usize> = candidate
            .next()
            .unwrap_or_default()
            .iter()
            .map(|&(_, channel)| channel)
            .collect();
        for &(matrix, rows, cols) in &candidate.entries {
            costs[matrix].rows -= gone.len() as f64 * rows;
            costs[matrix].cols -= gone.len() as f64 * cols;
        }
        candidate.removed += gone.len();
        gone.into_iter().for_each(|channel| keep[channel] = false);
    }
    Ok(Some(keep))
}
