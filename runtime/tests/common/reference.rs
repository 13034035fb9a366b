//! Every operator by its definition, in f64 with error bounds: padding is
//! copied, every index is computed, every value has memory of its own.

use secateur_format::graph::Graph;
use secateur_format::op::{Conv2d, Linear, Pool, PoolKind};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use super::approx::Approx;

/// The values of all graph inputs and nodes.
pub(crate) fn run(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<Approx>> {
    let shapes = graph.shapes().unwrap();
    let exact = |x: &Vec<f32>| x.iter().map(|&x| Approx::exact(x)).collect();
    let mut values: Vec<Vec<Approx>> = inputs.iter().map(exact).collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        let read = |id: &ValueId| (shapes[usize::from(id.0)], values[usize::from(id.0)].as_slice());
        let inputs: Vec<(Shape, &[Approx])> = node.inputs.iter().map(read).collect();
        let output = shapes[graph.inputs.len() + index];
        let value = match &node.op {
            Op::Add(activation) => {
                let lens = [node.inputs[0], node.inputs[1]].map(|id| products(graph, id));
                add(*activation, inputs[0].1, inputs[1].1, lens)
            }
            op => operator(graph, op, &inputs, output),
        };
        assert_eq!(value.len(), output.elems());
        values.push(value);
    }
    values
}

/// Products that a value is a sum of, if it is one.
fn products(graph: &Graph, id: ValueId) -> usize {
    let node = usize::from(id.0).checked_sub(graph.inputs.len());
    match node.map(|node| &graph.nodes[node].op) {
        Some(Op::Conv2d(Conv2d { weight, .. }) | Op::Linear(Linear { weight, .. })) => {
            graph.tensor(*weight).unwrap().cols as usize
        }
        _ => 0,
    }
}

/// Prepared sessions let a product start its sums from what is added to it.
fn add(activation: Activation, a: &[Approx], b: &[Approx], [a_len, b_len]: [usize; 2]) -> Vec<Approx> {
    let sum = |(a, b): (&Approx, &Approx)| match a_len {
        0 => b.started_from(*a, b_len),
        _ => a.started_from(*b, a_len.max(b_len)),
    };
    a.iter().zip(b).map(sum).map(|sum| sum.activate(activation)).collect()
}

fn operator(graph: &Graph, op: &Op, inputs: &[(Shape, &[Approx])], output: Shape) -> Vec<Approx> {
    let constant = |id: TensorId| graph.tensor(id).unwrap().data.as_slice();
    let (shape, x) = inputs[0];
    let pairs = || x.iter().zip(inputs[1].1);
    match op {
        Op::Conv2d(c) => conv(
            c,
            constant(c.weight),
            c.bias.map(constant),
            x,
            shape.dims().try_into().unwrap(),
        ),
        Op::Linear(linear) => {
            let (features, tokens) = (shape.dims()[0] as usize, x.len() / shape.dims()[0] as usize);
            let (weights, bias) = (constant(linear.weight), linear.bias.map(constant));
            (0..output.elems())
                .map(|i| (i / tokens, i % tokens))
                .map(|(row, token)| {
                    let terms = (0..features).map(|f| (weights[row * features + f], x[f * tokens + token]));
                    Approx::dot(bias.map_or(0.0, |b| b[row]), terms).activate(linear.activation)
                })
                .collect()
        }
        Op::Activation(activation) => x.iter().map(|x| x.activate(*activation)).collect(),
        Op::Mul => pairs().map(|(a, b)| a.times(*b)).collect(),
        Op::Concat { axis } => concat(usize::from(*axis), inputs, output),
        Op::Pool(p) => pool(p, x, shape, output),
        Op::GlobalAvgPool => {
            let plane = x.len() / output.elems();
            x.chunks(plane)
                .map(|p| Approx::mean(p.iter().copied(), plane))
                .collect()
        }
        Op::Reshape(_) => x.to_vec(),
        Op::Pad { before, value, .. } => places(output)
            .map(|place| {
                let inside: Option<Vec<u32>> = (0..output.rank())
                    .map(|a| place[a].checked_sub(before[a].into()).filter(|i| *i < shape.dims()[a]))
                    .collect();
                inside.map_or(Approx::exact(*value), |place| x[flat(shape, &place)])
            })
            .collect(),
        Op::Slice { start, step, .. } => places(output)
            .map(|place| {
                let from: Vec<u32> = (0..output.rank()).map(|a| start[a] + place[a] * step[a]).collect();
                x[flat(shape, &from)]
            })
            .collect(),
        Op::Softmax { axis } => softmax(usize::from(*axis), x, shape),
        _ => panic!("the reference does not know {}", op.name()),
    }
}

/// All index tuples of a shape, in order.
fn places(shape: Shape) -> impl Iterator<Item = Vec<u32>> {
    (0..shape.elems() as u32).map(move |mut i| {
        let mut place = vec![0; shape.rank()];
        for (slot, dim) in place.iter_mut().zip(shape.dims()).rev() {
            *slot = i % dim;
            i /= dim;
        }
        place
    })
}

/// Index of an element.
fn flat(shape: Shape, place: &[u32]) -> usize {
    let index = place.iter().zip(shape.dims()).fold(0, |index, (i, dim)| {
        assert!(i < dim);
        index * dim + i
    });
    index as usize
}

fn concat(axis: usize, inputs: &[(Shape, &[Approx])], output: Shape) -> Vec<Approx> {
    places(output)
        .map(|mut place| {
            let mut inputs = inputs.iter();
            let mut next = inputs.next().unwrap();
            while place[axis] >= next.0.dims()[axis] {
                place[axis] -= next.0.dims()[axis];
                next = inputs.next().unwrap();
            }
            next.1[flat(next.0, &place)]
        })
        .collect()
}

fn softmax(axis: usize, x: &[Approx], shape: Shape) -> Vec<Approx> {
    places(shape)
        .map(|mut place| {
            let own = place[axis] as usize;
            let line: Vec<Approx> = (0..shape.dims()[axis])
                .map(|i| {
                    place[axis] = i;
                    x[flat(shape, &place)]
                })
                .collect();
            Approx::softmax(&line)[own]
        })
        .collect()
}

/// The value at a place of the padded input, which may lie in the padding.
fn padded(x: &[Approx], [_, h, w]: [u32; 3], c: u32, y: i64, x_at: i64) -> Option<Approx> {
    let inside = (0..i64::from(h)).contains(&y) && (0..i64::from(w)).contains(&x_at);
    inside.then(|| x[((i64::from(c) * i64::from(h) + y) * i64::from(w) + x_at) as usize])
}

/// Input coordinate of kernel position `k` for output `o`.
fn source(o: u32, k: u16, stride: u16, dilation: u16, pad: u16) -> i64 {
    i64::from(o) * i64::from(stride) + i64::from(k) * i64::from(dilation) - i64::from(pad)
}

/// A convolution with columns in the order (ky, kx, ci).
pub(crate) fn conv(conv: &Conv2d, weights: &[f32], bias: Option<&[f32]>, x: &[Approx], input: [u32; 3]) -> Vec<Approx> {
    let output = Op::Conv2d(*conv).infer(&[Shape::new(&input).unwrap()]).unwrap();
    let (per_group, out_per_group) = (input[0] / conv.groups, conv.out_channels / conv.groups);
    let [kh, kw] = conv.kernel;
    let mut y = Vec::new();
    for place in places(output) {
        let (co, oy, ox) = (place[0], place[1], place[2]);
        let first = co / out_per_group * per_group;
        let mut line = weights
            .chunks(weights.len() / conv.out_channels as usize)
            .nth(co as usize)
            .unwrap()
            .iter();
        let mut terms = Vec::new();
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let in_y = source(oy, ky, conv.stride[0], conv.dilation[0], conv.pads[0]);
            let in_x = source(ox, kx, conv.stride[1], conv.dilation[1], conv.pads[1]);
            for ci in 0..per_group {
                let w = *line.next().unwrap();
                terms.push((w, padded(x, input, first + ci, in_y, in_x).unwrap_or(Approx::ZERO)));
            }
        }
        let bias = bias.map_or(0.0, |bias| bias[co as usize]);
        y.push(Approx::dot(bias, terms.into_iter()).activate(conv.activation));
    }
    y
}

fn pool(pool: &Pool, x: &[Approx], shape: Shape, output: Shape) -> Vec<Approx> {
    let [kh, kw] = pool.kernel;
    places(output)
        .map(|place| {
            let window = (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx)));
            let inside: Vec<Approx> = window
                .filter_map(|(ky, kx)| {
                    let in_y = source(place[1], ky, pool.stride[0], 1, pool.pads[0]);
                    let in_x = source(place[2], kx, pool.stride[1], 1, pool.pads[1]);
                    padded(x, shape.dims().try_into().unwrap(), place[0], in_y, in_x)
                })
                .collect();
            let count = inside.len();
            match pool.kind {
                PoolKind::Max => inside.into_iter().reduce(Approx::max).unwrap(),
                PoolKind::Average => Approx::mean(inside.into_iter(), count),
                PoolKind::AverageWithPadding => Approx::mean(inside.into_iter(), usize::from(kh) * usize::from(kw)),
            }
        })
        .collect()
}
