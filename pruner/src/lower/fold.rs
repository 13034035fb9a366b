//! Batch-norm folding: γ (x − μ) / √(σ² + ε) + β = s·x + t goes into the linear
//! or convolution before it, or becomes a 1×1 depthwise convolution.

use secateur_format::graph::{Graph, GraphError, Tensor};
use secateur_format::op::{BatchNorm, Conv2d, Linear};
use secateur_format::{Activation, Op, TensorId};

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
        match producer.filter(|&p| fold_into(graph, p, &scale, &shift)) {
            Some(_) => bypass(graph, index, input),
            None => {
                depthwise(graph, index, scale, shift)?;
                index += 1;
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
fn fold_into(graph: &mut Graph, index: usize, scale: &[f64], shift: &[f64]) -> bool {
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
        _ => return false,
    };
    let Some(tensor) = graph.tensor(weight) else {
        return false;
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
    let new_weight = push(graph, folded);
    let new_bias = push(graph, Tensor::vector(name, folded_bias));
    match &mut graph.nodes[index].op {
        Op::Conv2d(Conv2d { weight, bias, .. }) | Op::Linear(Linear { weight, bias, .. }) => {
            *weight = new_weight;
            *bias = Some(new_bias);
        }
        _ => {}
    }
    true
}

/// Replaces the batch norm at `index`, which has nothing to fold into.
fn depthwise(graph: &mut Graph, index: usize, scale: Vec<f64>, shift: Vec<f64>) -> Result<(), GraphError> {
    let shapes = graph.shapes()?;
    let shape = shapes[usize::from(graph.nodes[index].inputs[0].0)];
    let channels = scale.len() as u32;
    let name = graph.nodes[index].name.clone();
    let narrow = |list: Vec<f64>| list.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let bias = Some(push(graph, Tensor::vector(format!("{name}.bias"), narrow(shift))));
    let data = narrow(scale);
    // A convolution needs three axes; a batch norm of vectors is a diagonal matrix.
    graph.nodes[index].op = if shape.rank() == 3 {
        let weight = push(
            graph,
            Tensor {
                name: format!("{name}.weight"),
                rows: channels,
                cols: 1,
                data,
            },
        );
        Op::Conv2d(Conv2d {
            weight,
            bias,
            out_channels: channels,
            groups: channels,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pads: [0; 4],
            activation: Activation::Identity,
        })
    } else {
        let size = channels as usize;
        let mut diagonal = vec![0.0; size * size];
        data.iter().enumerate().for_each(|(i, &s)| diagonal[i * size + i] = s);
        let tensor = Tensor {
            name: format!("{name}.weight"),
            rows: channels,
            cols: channels,
            data: diagonal,
        };
        Op::Linear(Linear {
            weight: push(graph, tensor),
            bias,
            out_features: channels,
            activation: Activation::Identity,
        })
    };
    Ok(())
}

fn push(graph: &mut Graph, tensor: Tensor) -> TensorId {
    graph.tensors.push(tensor);
    TensorId((graph.tensors.len() - 1) as u16)
}
