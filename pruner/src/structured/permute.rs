//! Permutation: the same function with its channels in another order.

use std::collections::BTreeMap;

use secateur_format::graph::{Graph, GraphError, Tensor};

use super::coupling::{Axis, Coupling, Group};

impl Coupling {
    /// Whether the channels of a group may change places: none is pinned, and all occur equally often wherever
    /// one does.
    pub fn permutable(&self, group: &Group) -> bool {
        let mut axes = self
            .values
            .iter()
            .chain(self.slices.iter().map(|slices| &slices.channels));
        group.pins.is_empty()
            && axes.all(|axis| {
                let mut counts: BTreeMap<usize, usize> = group.channels.iter().map(|&channel| (channel, 0)).collect();
                for channel in axis {
                    counts.entry(*channel).and_modify(|count| *count += 1);
                }
                let mut counts = counts.values();
                let first = counts.next();
                counts.all(|count| Some(count) == first)
            })
    }
}

/// The graph with channel `order[c]` in the place of channel `c`: a permutation of all channels that moves those of
/// [permutable](Coupling::permutable) groups within their group. `coupling` must be that of `graph`. What it computes
/// stays the same, to the order of sums.
///
/// # Errors
/// [`GraphError::Structure`] if `order` is no such permutation.
pub fn permute(graph: &Graph, coupling: &Coupling, order: &[usize]) -> Result<Graph, GraphError> {
    let mut permuted = graph.clone();
    for slices in &coupling.slices {
        let from = sources(&slices.channels, order).ok_or(GraphError::Structure)?;
        if let Some(tensor) = permuted.tensors.get_mut(usize::from(slices.tensor.0)) {
            *tensor = reordered(tensor, slices.axis, &from);
        }
    }
    Ok(permuted)
}

/// For each entry of an axis, the one that takes its place. The occurrences of a channel keep their order.
fn sources(channels: &[usize], order: &[usize]) -> Option<Vec<usize>> {
    let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, &channel) in channels.iter().enumerate() {
        places.entry(channel).or_default().push(place);
    }
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    let mut source = |channel: &usize| {
        let next = next.entry(*channel).or_insert(0);
        *next += 1;
        places.get(order.get(*channel)?)?.get(*next - 1).copied()
    };
    channels.iter().map(&mut source).collect()
}

fn reordered(tensor: &Tensor, axis: Axis, from: &[usize]) -> Tensor {
    let cols = tensor.cols as usize;
    let source = |at: usize| match axis {
        Axis::Rows => from[at / cols] * cols + at % cols,
        Axis::Cols => at / cols * cols + from[at % cols],
    };
    Tensor {
        data: (0..tensor.data.len()).map(|at| tensor.data[source(at)]).collect(),
        ..tensor.clone()
    }
}
