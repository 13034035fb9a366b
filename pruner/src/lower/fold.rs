//! Batch-norm folding: γ (x − μ) / √(σ² + ε) + β = s·x + t goes into the linear
//! or convolution before it, or becomes a 1×1 depthwise convolution.

use secateur_format::graph::{Graph, GraphError, NodeDef, Tensor};
use secateur_format::op::{BatchNorm, Conv2d, Linear};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use super::{bypass, readers};

pub(super) fn batch_norms(graph: &mut Graph) -> Result<(), GraphError> {
    let mut index = 0;
    while index < graph.nodes.len() {
        let Op::BatchNorm(bn) = graph.nodes[index].op else {
            index += 1;
            continue;
        };
        let (scale, shift) = scale_and_shift(graph, &bn)?;
        let input = graph.nodes[index].inputs[0];
        let producer = graph
            .producer(input)
            .filter(|_| readers(graph)[usize::from(input.0)] == 1);
        match producer.map(|p| fold_into(graph, p, &scale, &shift)).transpose()? {
            Some(true) => bypass(graph, index, input),
            _ => {
                index += depthwise(graph, index, scale, shift)?;
            }
        }
    }
    Ok(())
}

/// `s` and `t`, computed in f64: the quotient of small variances loses digits in f32.
fn scale_and_shift(graph: &Graph, bn: &BatchNorm) -> Result<(Vec<f64>, Vec<f64>), GraphError> {
    let get = |id: TensorId| graph.tensor(id).map(|t| t.data.as_slice()).ok_or(GraphError::Structure);
    let (gamma, beta, mean, var) = (get(bn.scale)?, get(bn.bias)?, get(bn.mean)?, get(bn.var)?);
    let scale: Vec<f64> = gamma
        .iter()
        .zip(var)
        .map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(bn.eps)).sqrt())
        .collect();
    let shift = beta
        .iter()
        .zip(mean)
        .zip(&scale)
        .map(|((&b, &m), s)| f64::from(b) - f64::from(m) * s)
        .collect();
    Ok((scale, shift))
}

/// Folds into node `index`, if that is linear, or a convolution, without activation.
fn fold_into(graph: &mut Graph, index: usize, scale: &[f64], shift: &[f64]) -> Result<bool, GraphError> {
    let (weight, bias) = match &graph.nodes[index].op {
        Op::Conv2d(Conv2d {
            weight,
            bias,
            activation: Activation::Identity,
            ..
        })
        | Op::Linear(Linear {
            weight,
            bias,
            activation: Activation::Identity,
            ..
        }) => (*weight, *bias),
        _ => return Ok(false),
    };
    let Some(tensor) = graph.tensor(weight) else {
        return Ok(false);
    };
    // A weight may be shared with another node: the folded one is a tensor of its own.
    let mut folded = tensor.clone();
    let rows = folded.data.chunks_exact_mut(folded.cols as usize);
    rows.zip(scale)
        .for_each(|(row, s)| row.iter_mut().for_each(|w| *w = (f64::from(*w) * s) as f32));
    let old = bias.and_then(|id| graph.tensor(id));
    let name = old.map_or_else(|| format!("{}.bias", graph.nodes[index].name), |bias| bias.name.clone());
    let old = |row: usize| old.and_then(|b| b.data.get(row)).map_or(0.0, |&b| f64::from(b));
    let folded_bias = scale
        .iter()
        .zip(shift)
        .enumerate()
        .map(|(row, (s, t))| (old(row) * s + t) as f32)
        .collect();
    let new_weight = push(graph, folded)?;
    let new_bias = push(graph, Tensor::vector(name, folded_bias))?;
    match &mut graph.nodes[index].op {
        Op::Conv2d(Conv2d { weight, bias, .. }) | Op::Linear(Linear { weight, bias, .. }) => {
            *weight = new_weight;
            *bias = Some(new_bias);
        }
        _ => {}
    }
    Ok(true)
}

/// Replaces the batch norm at `index`, which has nothing to fold into, by a 1×1
/// depthwise convolution. Vectors are reshaped to planes of one pixel for it and
/// back. Returns the number of nodes that took its place.
fn depthwise(graph: &mut Graph, index: usize, scale: Vec<f64>, shift: Vec<f64>) -> Result<usize, GraphError> {
    let shape = graph.shapes()?[usize::from(graph.nodes[index].inputs[0].0)];
    let channels = scale.len() as u32;
    let name = graph.nodes[index].name.clone();
    let narrow = |list: Vec<f64>| list.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let bias = Some(push(graph, Tensor::vector(format!("{name}.bias"), narrow(shift)))?);
    let weight = Tensor {
        name: format!("{name}.weight"),
        rows: channels,
        cols: 1,
        data: narrow(scale),
    };
    let conv = Op::Conv2d(Conv2d {
        weight: push(graph, weight)?,
        bias,
        out_channels: channels,
        groups: channels,
        kernel: [1, 1],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [0; 4],
        activation: Activation::Identity,
    });
    graph.nodes[index].op = conv;
    let &[features, ref rest @ ..] = shape.dims() else {
        return Ok(1);
    };
    if rest.len() == 2 {
        return Ok(1);
    }
    let planes = Shape::new(&[features, 1, rest.iter().product()]);
    let planes = planes.map_err(|_| GraphError::Structure)?;
    insert_before(graph, index, format!("{name}.planes"), Op::Reshape(planes));
    insert_after(graph, index + 1, format!("{name}.shape"), Op::Reshape(shape));
    Ok(3)
}

/// Puts a node of one input between node `index` and its first input.
fn insert_before(graph: &mut Graph, index: usize, name: String, op: Op) {
    let input = graph.nodes[index].inputs[0];
    let inserted = graph.output_of(index);
    make_room(graph, inserted);
    graph.nodes.insert(
        index,
        NodeDef {
            name,
            op,
            inputs: vec![input],
        },
    );
    graph.nodes[index + 1].inputs[0] = inserted;
}

/// Puts a node of one input between node `index` and all that read it.
fn insert_after(graph: &mut Graph, index: usize, name: String, op: Op) {
    let (input, inserted) = (graph.output_of(index), graph.output_of(index + 1));
    make_room(graph, inserted);
    let readers = graph
        .nodes
        .iter_mut()
        .flat_map(|node| &mut node.inputs)
        .chain(&mut graph.outputs);
    readers.filter(|id| **id == input).for_each(|id| *id = inserted);
    graph.nodes.insert(
        index + 1,
        NodeDef {
            name,
            op,
            inputs: vec![input],
        },
    );
}

/// Renumbers the values from `first` on, to make room for a new one.
fn make_room(graph: &mut Graph, first: ValueId) {
    let ids = graph
        .nodes
        .iter_mut()
        .flat_map(|node| &mut node.inputs)
        .chain(&mut graph.outputs);
    ids.filter(|id| **id >= first)
        .for_each(|id| id.0 = id.0.saturating_add(1));
}

fn push(graph: &mut Graph, tensor: Tensor) -> Result<TensorId, GraphError> {
    let id = u16::try_from(graph.tensors.len()).map_err(|_| GraphError::Structure)?;
    graph.tensors.push(tensor);
    Ok(TensorId(id))
}

#[cfg(test)]
mod tests {
    use secateur_format::graph::Input;

    use super::*;
    use crate::lower::lower;
    use crate::reference;

    /// relu, batch norm (which has nothing to fold into), relu.
    fn graph(dims: &[u32]) -> Graph {
        let vector = |name: &str, data: [f32; 3]| Tensor::vector(name, data.to_vec());
        let id = TensorId;
        let bn = BatchNorm {
            scale: id(0),
            bias: id(1),
            mean: id(2),
            var: id(3),
            eps: 1e-3,
        };
        let relu = Op::Activation(Activation::Relu);
        let node = |name: &str, op, input| NodeDef {
            name: name.into(),
            op,
            inputs: vec![ValueId(input)],
        };
        Graph {
            inputs: vec![Input {
                name: "x".into(),
                shape: Shape::new(dims).unwrap(),
            }],
            nodes: vec![node("a", relu, 0), node("bn", Op::BatchNorm(bn), 1), node("b", relu, 2)],
            outputs: vec![ValueId(3), ValueId(1)],
            tensors: vec![
                vector("scale", [1.0, -2.0, 0.5]),
                vector("bias", [0.1, 0.2, 0.3]),
                vector("mean", [0.5, -0.5, 0.0]),
                vector("var", [1.0, 0.25, 4.0]),
            ],
        }
    }

    #[test]
    fn a_batch_norm_alone_becomes_depthwise_whatever_the_rank() {
        for dims in [&[3][..], &[3, 4], &[3, 2, 2]] {
            let graph = graph(dims);
            let lowered = lower(&graph).unwrap();
            let input: Vec<f32> = (0..graph.inputs[0].shape.elems()).map(|i| i as f32 - 2.0).collect();
            let (expected, found) = (
                reference::run(&graph, &[&input]).unwrap(),
                reference::run(&lowered, &[&input]).unwrap(),
            );
            for (a, b) in expected.iter().flatten().zip(found.iter().flatten()) {
                assert!((a - b).abs() < 1e-6, "{dims:?}: {a} and {b}");
            }
        }
    }
}
