//! The dense reference: a plain interpreter of the graph in f64, sharing no code
//! with the runtime. Easy to believe, and no slower than that takes.

use secateur_format::graph::{Graph, GraphError, Tensor};
use secateur_format::op::{BatchNorm, Conv2d, Linear, Pool, PoolKind};
use secateur_format::{Activation, MAX_RANK, Op, Shape, TensorId};

/// Runs `graph` on one sample: one slice per graph input, planar.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid, or an input has another length
/// than its shape ([`GraphError::Structure`]).
pub fn run(graph: &Graph, inputs: &[&[f32]]) -> Result<Vec<Vec<f64>>, GraphError> {
    let shapes = graph.shapes()?;
    let fits = |(input, slice): (&secateur_format::graph::Input, &&[f32])| input.shape.elems() == slice.len();
    if inputs.len() != graph.inputs.len() || !graph.inputs.iter().zip(inputs).all(fits) {
        return Err(GraphError::Structure);
    }
    let mut values: Vec<Vec<f64>> = inputs
        .iter()
        .map(|x| x.iter().map(|&x| f64::from(x)).collect())
        .collect();
    let last_use = last_uses(graph);
    for (index, node) in graph.nodes.iter().enumerate() {
        let args: Vec<(&[f64], Shape)> = node
            .inputs
            .iter()
            .map(|id| (values[usize::from(id.0)].as_slice(), shapes[usize::from(id.0)]))
            .collect();
        let out = shapes[graph.inputs.len() + index];
        values.push(eval(graph, &node.op, &args, out));
        for id in &node.inputs {
            if last_use[usize::from(id.0)] == index {
                values[usize::from(id.0)] = Vec::new();
            }
        }
    }
    Ok(graph
        .outputs
        .iter()
        .map(|id| values[usize::from(id.0)].clone())
        .collect())
}

/// The last node that reads each value; never for graph outputs.
fn last_uses(graph: &Graph) -> Vec<usize> {
    let mut last = vec![usize::MAX; graph.value_count()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|id| last[usize::from(id.0)] = index);
    }
    graph.outputs.iter().for_each(|id| last[usize::from(id.0)] = usize::MAX);
    last
}

fn eval(graph: &Graph, op: &Op, args: &[(&[f64], Shape)], out: Shape) -> Vec<f64> {
    let (x, shape) = args[0];
    match op {
        Op::Conv2d(conv) => conv2d(graph, conv, x, shape, out),
        Op::Linear(layer) => linear(graph, layer, x, shape),
        Op::BatchNorm(bn) => batch_norm(graph, bn, x, shape),
        Op::Activation(activation) => x.iter().map(|&x| activate(*activation, x)).collect(),
        Op::Add(activation) => x
            .iter()
            .zip(args[1].0)
            .map(|(a, b)| activate(*activation, a + b))
            .collect(),
        Op::Mul => x.iter().zip(args[1].0).map(|(a, b)| a * b).collect(),
        Op::Concat { axis } => concat(args, usize::from(*axis)),
        Op::Pool(pool) => self::pool(pool, x, shape, out),
        Op::GlobalAvgPool => {
            let plane = shape.elems() / shape.dims()[0] as usize;
            x.chunks(plane)
                .map(|plane| plane.iter().sum::<f64>() / plane.len() as f64)
                .collect()
        }
        Op::Reshape(_) => x.to_vec(),
        Op::Pad { before, value, .. } => {
            let mut y = vec![f64::from(*value); out.elems()];
            for (i, index) in indices(shape).enumerate() {
                let at: [usize; MAX_RANK] = std::array::from_fn(|a| index[a] + usize::from(before[a]));
                y[flat(out, at)] = x[i];
            }
            y
        }
        Op::Slice { start, step, .. } => indices(out)
            .map(|index| {
                x[flat(
                    shape,
                    std::array::from_fn(|a| start[a] as usize + index[a] * step[a] as usize),
                )]
            })
            .collect(),
        Op::Softmax { axis } => softmax(x, shape, usize::from(*axis)),
        _ => Vec::new(),
    }
}

/// All indices of a shape, row-major.
fn indices(shape: Shape) -> impl Iterator<Item = [usize; MAX_RANK]> {
    let dims = shape.padded_dims().map(|d| d as usize);
    (0..shape.elems()).map(move |i| {
        let mut rest = i;
        let mut index = [0; MAX_RANK];
        for (slot, dim) in index.iter_mut().zip(dims).rev() {
            *slot = rest % dim;
            rest /= dim;
        }
        index
    })
}

fn flat(shape: Shape, index: [usize; MAX_RANK]) -> usize {
    shape
        .padded_dims()
        .iter()
        .zip(index)
        .fold(0, |flat, (&dim, i)| flat * dim as usize + i)
}

fn data(graph: &Graph, id: TensorId) -> &[f32] {
    graph.tensor(id).map_or(&[], |tensor: &Tensor| &tensor.data)
}

fn bias(graph: &Graph, id: Option<TensorId>, row: usize) -> f64 {
    id.and_then(|id| data(graph, id).get(row)).map_or(0.0, |&b| b.into())
}

/// Sums that are kept together: as many as the registers of most processors hold.
const BLOCK: usize = 16;

/// Rows of weights times columns of inputs, for some pixels at a time: each weight is read once
/// for all of them. Every sum starts from the bias and takes the weights in their order.
/// `column(k, pixel)` is the input that weight `k` of a row multiplies.
fn product(
    weights: &[f32],
    bias: impl Fn(usize) -> f64,
    activation: Activation,
    pixels: usize,
    cols: usize,
    column: impl Fn(usize, usize) -> f64,
    y: &mut [f64],
) {
    for first in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - first);
        let mut columns = vec![[0.0; BLOCK]; cols];
        for (k, block) in columns.iter_mut().enumerate() {
            let inputs = block.iter_mut().take(count).enumerate();
            inputs.for_each(|(i, x)| *x = column(k, first + i));
        }
        let rows = weights.chunks_exact(cols).zip(y.chunks_exact_mut(pixels));
        for (row, (weights, y)) in rows.enumerate() {
            let mut sums = [bias(row); BLOCK];
            for (&weight, block) in weights.iter().zip(&columns) {
                let weight = f64::from(weight);
                sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += weight * x);
            }
            let outputs = y[first..first + count].iter_mut().zip(sums);
            outputs.for_each(|(y, sum)| *y = activate(activation, sum));
        }
    }
}

fn conv2d(graph: &Graph, conv: &Conv2d, x: &[f64], shape: Shape, out: Shape) -> Vec<f64> {
    let dims = |shape: Shape| {
        shape
            .chw()
            .map(|(c, h, w)| (c as usize, h as usize, w as usize))
            .unwrap_or_default()
    };
    let ((cin, h, w), (cout, out_h, out_w)) = (dims(shape), dims(out));
    let groups = conv.groups as usize;
    let (group_in, group_out, pixels) = (cin / groups, cout / groups, out_h * out_w);
    let [kh, kw] = conv.kernel.map(usize::from);
    let [stride_y, stride_x] = conv.stride.map(usize::from);
    let [dilation_y, dilation_x] = conv.dilation.map(usize::from);
    let cols = kh * kw * group_in;
    let weights = data(graph, conv.weight).chunks_exact(group_out * cols);
    let mut y = vec![0.0; out.elems()];
    for (group, (weights, y)) in weights.zip(y.chunks_exact_mut(group_out * pixels)).enumerate() {
        let column = |k: usize, pixel: usize| {
            let (ky, kx, ci) = (k / group_in / kw, k / group_in % kw, group * group_in + k % group_in);
            // What lies before the input wraps around, and so lies behind it.
            let iy = (pixel / out_w * stride_y + ky * dilation_y).wrapping_sub(conv.pads[0].into());
            let ix = (pixel % out_w * stride_x + kx * dilation_x).wrapping_sub(conv.pads[1].into());
            if iy < h && ix < w {
                x[(ci * h + iy) * w + ix]
            } else {
                0.0
            }
        };
        let bias = |row| bias(graph, conv.bias, group * group_out + row);
        product(weights, bias, conv.activation, pixels, cols, column, y);
    }
    y
}

fn linear(graph: &Graph, layer: &Linear, x: &[f64], shape: Shape) -> Vec<f64> {
    let features = shape.dims()[0] as usize;
    let tokens = shape.elems() / features;
    let weights = data(graph, layer.weight);
    let mut y = vec![0.0; weights.len() / features * tokens];
    let column = |k: usize, token: usize| x[k * tokens + token];
    let bias = |row| bias(graph, layer.bias, row);
    product(weights, bias, layer.activation, tokens, features, column, &mut y);
    y
}

fn batch_norm(graph: &Graph, bn: &BatchNorm, x: &[f64], shape: Shape) -> Vec<f64> {
    let plane = shape.elems() / shape.dims()[0] as usize;
    let at = |id: TensorId, c: usize| f64::from(data(graph, id)[c]);
    x.iter()
        .enumerate()
        .map(|(i, x)| {
            let c = i / plane;
            let normal = (x - at(bn.mean, c)) / (at(bn.var, c) + f64::from(bn.eps)).sqrt();
            at(bn.scale, c) * normal + at(bn.bias, c)
        })
        .collect()
}

fn concat(args: &[(&[f64], Shape)], axis: usize) -> Vec<f64> {
    let inner = |shape: Shape| shape.dims()[axis..].iter().map(|&d| d as usize).product::<usize>();
    let outer = args[0].1.elems() / inner(args[0].1);
    (0..outer)
        .flat_map(|i| {
            args.iter()
                .flat_map(move |(x, shape)| x[i * inner(*shape)..][..inner(*shape)].to_vec())
        })
        .collect()
}

fn pool(pool: &Pool, x: &[f64], shape: Shape, out: Shape) -> Vec<f64> {
    let (_, h, w) = shape.chw().unwrap_or_default();
    let [kh, kw] = pool.kernel.map(usize::from);
    indices(out)
        .map(|[c, oy, ox, _]| {
            let inside: Vec<f64> = (0..kh * kw)
                .filter_map(|k| {
                    let iy = (oy * usize::from(pool.stride[0]) + k / kw).checked_sub(pool.pads[0].into())?;
                    let ix = (ox * usize::from(pool.stride[1]) + k % kw).checked_sub(pool.pads[1].into())?;
                    (iy < h as usize && ix < w as usize).then(|| x[(c * h as usize + iy) * w as usize + ix])
                })
                .collect();
            match pool.kind {
                PoolKind::Max => inside.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                PoolKind::Average => inside.iter().sum::<f64>() / inside.len() as f64,
                PoolKind::AverageWithPadding => inside.iter().sum::<f64>() / (kh * kw) as f64,
            }
        })
        .collect()
}

fn softmax(x: &[f64], shape: Shape, axis: usize) -> Vec<f64> {
    let extent = shape.dims()[axis] as usize;
    let inner: usize = shape.dims()[axis + 1..].iter().map(|&d| d as usize).product();
    let line = |i: usize| {
        let first = i / (extent * inner) * extent * inner + i % inner;
        (0..extent).map(move |j| x[first + j * inner])
    };
    (0..x.len())
        .map(|i| {
            let max = line(i).fold(f64::NEG_INFINITY, f64::max);
            (x[i] - max).exp() / line(i).map(|x| (x - max).exp()).sum::<f64>()
        })
        .collect()
}

fn activate(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu(slope) if x < 0.0 => x * f64::from(slope),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
        Activation::Silu => x * sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        _ => x,
    }
}
