//! Channels that nothing reads any more.

use secateur_format::graph::{Graph, GraphError, NodeDef};
use secateur_format::{Op, TensorId};

use super::coupling::{Axis, Coupling, Slices};

/// Constants that are not needed, as masks: `false` where an entry only makes channels whose readers have no weights for
/// them, and so on towards the inputs. Channels that a layer makes which `may` not lose some stay.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub fn unused(graph: &Graph, may: impl Fn(&str) -> bool) -> Result<Vec<(TensorId, Vec<bool>)>, GraphError> {
    let coupling = Coupling::new(graph)?;
    let free = coupling.groups.iter().filter(|group| group.pins.is_empty());
    let free = free.filter(|group| group.layers.iter().all(|layer| may(layer)));
    let free: Vec<usize> = free.flat_map(|group| group.channels.iter().copied()).collect();
    let mut masks: Vec<Vec<bool>> = graph
        .tensors
        .iter()
        .map(|tensor| tensor.data.iter().map(|&w| w != 0.0).collect())
        .collect();
    let mut gone = vec![false; coupling.count];
    loop {
        let read = read(&coupling, graph, &masks);
        let new: Vec<usize> = free
            .iter()
            .copied()
            .filter(|&channel| !read[channel] && !gone[channel])
            .collect();
        if new.is_empty() {
            break;
        }
        new.into_iter().for_each(|channel| gone[channel] = true);
        for slices in coupling.slices.iter().filter(|slices| makes(slices, &graph.nodes)) {
            clear(slices, &gone, &mut masks[usize::from(slices.tensor.0)]);
        }
    }
    let mut found: Vec<(TensorId, Vec<bool>)> = Vec::new();
    for slices in coupling.slices.iter().filter(|slices| makes(slices, &graph.nodes)) {
        let mut mask = vec![true; masks[usize::from(slices.tensor.0)].len()];
        clear(slices, &gone, &mut mask);
        if mask.contains(&false) {
            found.push((slices.tensor, mask));
        }
    }
    Ok(found)
}

/// Which channels some layer has weights for.
fn read(coupling: &Coupling, graph: &Graph, live: &[Vec<bool>]) -> Vec<bool> {
    let mut read = vec![false; coupling.count];
    for slices in coupling.slices.iter().filter(|slices| slices.reads(&graph.nodes)) {
        for row in live[usize::from(slices.tensor.0)].chunks(slices.channels.len().max(1)) {
            row.iter()
                .zip(&slices.channels)
                .for_each(|(&live, &channel)| read[channel] |= live);
        }
    }
    read
}

/// Whether they make channels: rows of weights, biases, and what a batch norm gives, not what it has seen.
fn makes(slices: &Slices, nodes: &[NodeDef]) -> bool {
    let Some(node) = nodes.get(slices.node) else {
        return false;
    };
    match &node.op {
        Op::BatchNorm(bn) => [bn.scale, bn.bias].contains(&slices.tensor),
        op => slices.axis == Axis::Rows || op.bias() == Some(slices.tensor),
    }
}

fn clear(slices: &Slices, gone: &[bool], mask: &mut [bool]) {
    let per_entry = match slices.axis {
        Axis::Rows => mask.len() / slices.channels.len().max(1),
        Axis::Cols => 1,
    };
    for (entry, &channel) in mask.chunks_mut(per_entry.max(1)).zip(&slices.channels) {
        if gone[channel] {
            entry.fill(false);
        }
    }
}
