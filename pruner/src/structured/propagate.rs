//! How each operator passes, ties or pins the channels of its inputs.

use secateur_format::graph::GraphError;
use secateur_format::op::Conv2d;
use secateur_format::{Op, TensorId};

use super::coupling::{Axis, Labels};

/// Labels all values, in order, and pins those that the outside sees.
pub(super) fn propagate(labels: &mut Labels<'_>) -> Result<(), GraphError> {
    let graph = labels.graph;
    for (input, shape) in graph.inputs.iter().zip(labels.shapes) {
        let fresh = labels.fresh(shape.padded_dims()[0]);
        labels.pin(&fresh, &format!("`{}` is an input of the graph", input.name));
        labels.values.push(fresh);
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let output = output(labels, index, &node.op)?;
        labels.values.push(output);
    }
    for &id in &graph.outputs {
        let output = labels.values[usize::from(id.0)].clone();
        labels.pin(&output, &format!("`{}` is an output of the graph", graph.name(id)));
    }
    Ok(())
}

/// The labels of a node's output.
fn output(labels: &mut Labels<'_>, index: usize, op: &Op) -> Result<Vec<usize>, GraphError> {
    let graph = labels.graph;
    let node = &graph.nodes[index];
    let name = &node.name;
    let inputs: Vec<Vec<usize>> = node
        .inputs
        .iter()
        .map(|id| labels.values[usize::from(id.0)].clone())
        .collect();
    let (input, from) = match (inputs.first(), node.inputs.first()) {
        (Some(input), Some(from)) => (input.clone(), graph.name(*from)),
        _ => return Err(GraphError::Structure),
    };
    let shape = labels.shapes[graph.inputs.len() + index];
    let rows = shape.padded_dims()[0];
    Ok(match op {
        Op::Conv2d(conv) if conv.groups == 1 => {
            let positions = usize::from(conv.kernel[0]) * usize::from(conv.kernel[1]);
            let outputs = labels.fresh(rows);
            layer(
                labels,
                index,
                (conv.weight, conv.bias),
                &outputs,
                input.repeat(positions),
            );
            outputs
        }
        Op::Conv2d(conv) => grouped(labels, index, conv, &input, from),
        Op::Linear(linear) => {
            let outputs = labels.fresh(rows);
            layer(labels, index, (linear.weight, linear.bias), &outputs, input);
            outputs
        }
        Op::BatchNorm(bn) => {
            for tensor in [bn.scale, bn.bias, bn.mean, bn.var] {
                labels.slice(index, tensor, Axis::Cols, input.clone());
            }
            input
        }
        Op::Activation(_) | Op::Pool(_) | Op::GlobalAvgPool => input,
        Op::Concat { axis: 0 } => inputs.concat(),
        Op::Add(_) | Op::Mul | Op::Concat { .. } => {
            for (other, id) in inputs.iter().zip(&node.inputs).skip(1) {
                let why = || format!("{} `{name}` joins `{from}` and `{}`", op.name(), graph.name(*id));
                labels.join(&input, other, why);
            }
            input
        }
        Op::Reshape(_) => reshape(labels, index, &input, rows as usize),
        Op::Pad { before, after, .. } => {
            let (before, after) = (labels.fresh(before[0].into()), labels.fresh(after[0].into()));
            [before, input, after].concat()
        }
        Op::Slice { start, end, step } => {
            if step[0] != 1 {
                labels.pin(&input, &format!("slice `{name}` takes one in {} of them", step[0]));
            }
            let range = input.get(start[0] as usize..end[0] as usize).unwrap_or_default();
            range.iter().step_by(step[0].max(1) as usize).copied().collect()
        }
        Op::Softmax { axis: 0 } => {
            labels.pin(&input, &format!("softmax `{name}` sums over them"));
            input
        }
        Op::Softmax { .. } => input,
        // An operator that is not known here may read its input in any order.
        _ => {
            let outputs = labels.fresh(rows);
            let why = format!("how {} `{name}` treats channels is not known", op.name());
            labels.pin(&inputs.concat(), &why);
            labels.pin(&outputs, &why);
            outputs
        }
    })
}

/// Labels the constants of a linear or convolution.
fn layer(
    labels: &mut Labels<'_>,
    index: usize,
    (weight, bias): (TensorId, Option<TensorId>),
    outputs: &[usize],
    inputs: Vec<usize>,
) {
    labels.slice(index, weight, Axis::Rows, outputs.to_vec());
    labels.slice(index, weight, Axis::Cols, inputs);
    if let Some(bias) = bias {
        labels.slice(index, bias, Axis::Cols, outputs.to_vec());
    }
}

/// A group of a convolution leaves as a whole, its inputs with its outputs, so that all groups
/// stay of one size; those of a depthwise convolution are single channels.
fn grouped(labels: &mut Labels<'_>, index: usize, conv: &Conv2d, input: &[usize], from: &str) -> Vec<usize> {
    let graph = labels.graph;
    let name = &graph.nodes[index].name;
    let groups = conv.groups as usize;
    let (group_in, group_out) = (input.len() / groups, conv.out_channels as usize / groups);
    let mut outputs = Vec::new();
    for group in input.chunks(group_in) {
        let why = || format!("conv2d `{name}` keeps its groups of {group_in} channels whole");
        labels.join(group, &vec![group[0]; group_in], why);
        outputs.extend(vec![group[0]; group_out]);
    }
    if group_in == 1 {
        labels.explain(input, &format!("depthwise `{name}` follows `{from}`"));
    }
    // Every group has the same columns: they are of no channel.
    let shared = labels.fresh(1);
    let positions = usize::from(conv.kernel[0]) * usize::from(conv.kernel[1]);
    let columns = vec![shared[0]; group_in * positions];
    labels.pin(
        &shared,
        &format!("conv2d `{name}` uses these columns for each of its groups"),
    );
    layer(labels, index, (conv.weight, conv.bias), &outputs, columns);
    outputs
}

/// A channel of the input may become a run of rows of the output, or a run of channels one row.
fn reshape(labels: &mut Labels<'_>, index: usize, input: &[usize], rows: usize) -> Vec<usize> {
    let graph = labels.graph;
    let node = &graph.nodes[index];
    let why = |what: String| format!("reshape `{}` {what}", node.name);
    if rows.is_multiple_of(input.len()) {
        let run = rows / input.len();
        if run > 1 {
            labels.explain(input, &why(format!("makes each of them {run} features")));
        }
        return input.iter().flat_map(|&label| vec![label; run]).collect();
    }
    if input.len().is_multiple_of(rows) {
        let run = input.len() / rows;
        for part in input.chunks(run) {
            labels.join(part, &vec![part[0]; run], || why(format!("makes {run} of them one")));
        }
        return input.iter().step_by(run).copied().collect();
    }
    let outputs = labels.fresh(rows as u32);
    let why = why(format!("spreads {} channels over {rows}", input.len()));
    labels.pin(input, &why);
    labels.pin(&outputs, &why);
    outputs
}
