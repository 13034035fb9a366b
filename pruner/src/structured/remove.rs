//! Removal: the graph without the channels that were not kept.

use secateur_format::graph::{Graph, GraphError, NodeDef, Tensor};
use secateur_format::{Op, Shape};

use super::coupling::{Axis, Coupling};

/// The smaller graph: every constant loses the entries, and every operator the channels, that
/// `keep` has `false` for. Names stay. `coupling` must be that of `graph`; pinned channels stay whatever
/// `keep` says.
///
/// # Errors
/// A [`GraphError`] that names the first node left without channels.
pub fn remove(graph: &Graph, coupling: &Coupling, keep: &[bool]) -> Result<Graph, GraphError> {
    let mut stays = vec![true; coupling.count];
    for group in coupling.groups.iter().filter(|group| group.pins.is_empty()) {
        for &channel in &group.channels {
            stays[channel] = keep.get(channel).copied().unwrap_or(true);
        }
    }
    let kept = |channels: &[usize]| -> Vec<bool> { channels.iter().map(|&channel| stays[channel]).collect() };
    let mut smaller = graph.clone();
    for slices in &coupling.slices {
        if let Some(tensor) = smaller.tensors.get_mut(usize::from(slices.tensor.0)) {
            shrink(tensor, slices.axis, &kept(&slices.channels));
        }
    }
    let values: Vec<Vec<bool>> = coupling.values.iter().map(|channels| kept(channels)).collect();
    for (index, node) in smaller.nodes.iter_mut().enumerate() {
        let output = values.get(graph.inputs.len() + index);
        let input = node.inputs.first().and_then(|id| values.get(usize::from(id.0)));
        if let (Some(input), Some(output)) = (input, output) {
            adapt(node, input, output)?;
        }
    }
    smaller.shapes()?;
    Ok(smaller)
}

/// Drops the rows or columns that are not kept.
fn shrink(tensor: &mut Tensor, axis: Axis, kept: &[bool]) {
    let cols = tensor.cols as usize;
    let mut entry = 0..;
    tensor.data.retain(|_| {
        let at = entry.next().unwrap_or(0);
        let index = if axis == Axis::Rows { at / cols } else { at % cols };
        kept.get(index).copied().unwrap_or(true)
    });
    match axis {
        Axis::Rows => tensor.rows = count(kept),
        Axis::Cols => tensor.cols = count(kept),
    }
}

/// Makes the attributes of an operator those of its smaller input and output.
fn adapt(node: &mut NodeDef, input: &[bool], output: &[bool]) -> Result<(), GraphError> {
    match &mut node.op {
        Op::Conv2d(conv) => {
            if conv.groups > 1 {
                let group_in = input.len() as u32 / conv.groups;
                conv.groups = count(input) / group_in;
            }
            conv.out_channels = count(output);
        }
        Op::Linear(linear) => linear.out_features = count(output),
        Op::Reshape(shape) => {
            let mut dims = shape.dims().to_vec();
            dims[0] = count(output);
            *shape = Shape::new(&dims).map_err(|error| GraphError::Shape {
                node: node.name.clone(),
                op: "reshape",
                inputs: Vec::new(),
                error,
            })?;
        }
        Op::Pad { before, after, .. } => {
            let (first, last) = (usize::from(before[0]), output.len() - usize::from(after[0]));
            // No more than there were: 16 bits hold them.
            (before[0], after[0]) = (count(&output[..first]) as u16, count(&output[last..]) as u16);
        }
        Op::Slice { start, end, .. } => {
            let (first, last) = (start[0] as usize, end[0] as usize);
            (start[0], end[0]) = (count(&input[..first]), count(&input[..last]));
        }
        _ => {}
    }
    Ok(())
}

fn count(kept: &[bool]) -> u32 {
    kept.iter().filter(|&&keep| keep).count() as u32
}
