//! Every operator with every attribute.

use secateur_format::op::{Conv2d, Linear, Pool, PoolKind};
use secateur_format::{Activation, Op, TensorId};

use super::support::{Net, Problem, shape};
use crate::reference;
use crate::train::Statistics;

/// Samples: more than a shard holds would be slow, so shards are tested apart.
const SAMPLES: usize = 3;

/// Checks an operator on a value of the shape `dims`.
fn check(dims: &[u32], op: Op) {
    let mut net = Net::spread(dims);
    net.push(op);
    Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
}

fn conv(net: &mut Net, channels: u32, attributes: Conv2d) {
    let cols = attributes.cols(channels).unwrap();
    let weight = net.tensor(attributes.out_channels, cols);
    let bias = attributes.bias.map(|_| net.tensor(1, attributes.out_channels));
    net.push(Op::Conv2d(Conv2d {
        weight,
        bias,
        ..attributes
    }));
}

const PLAIN: Conv2d = Conv2d {
    weight: TensorId(0),
    bias: Some(TensorId(0)),
    out_channels: 4,
    groups: 1,
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pads: [1, 1, 1, 1],
    activation: Activation::Identity,
};

#[test]
fn convolutions() {
    let cases = [
        PLAIN,
        Conv2d { bias: None, ..PLAIN },
        Conv2d {
            kernel: [1, 1],
            pads: [0; 4],
            ..PLAIN
        },
        Conv2d {
            kernel: [1, 1],
            pads: [0; 4],
            stride: [2, 2],
            ..PLAIN
        },
        Conv2d {
            kernel: [1, 1],
            pads: [1, 0, 0, 2],
            ..PLAIN
        },
        Conv2d { groups: 2, ..PLAIN },
        Conv2d {
            groups: 2,
            kernel: [1, 1],
            pads: [0; 4],
            ..PLAIN
        },
        Conv2d {
            stride: [2, 1],
            ..PLAIN
        },
        Conv2d {
            stride: [1, 3],
            pads: [0, 2, 1, 0],
            ..PLAIN
        },
        Conv2d {
            dilation: [2, 1],
            pads: [2, 1, 2, 1],
            ..PLAIN
        },
        Conv2d {
            dilation: [1, 2],
            pads: [0, 3, 2, 0],
            ..PLAIN
        },
        Conv2d {
            kernel: [2, 3],
            pads: [0, 0, 1, 2],
            ..PLAIN
        },
        Conv2d {
            kernel: [4, 1],
            stride: [2, 2],
            dilation: [1, 3],
            pads: [3, 0, 2, 1],
            groups: 4,
            out_channels: 8,
            ..PLAIN
        },
        // All attributes at once, in groups of several channels.
        Conv2d {
            groups: 2,
            out_channels: 6,
            kernel: [3, 2],
            stride: [2, 3],
            dilation: [2, 3],
            pads: [1, 2, 3, 0],
            ..PLAIN
        },
        // Windows that lie outside the input altogether.
        Conv2d {
            kernel: [3, 3],
            pads: [4, 5, 3, 0],
            dilation: [1, 2],
            ..PLAIN
        },
        // Depthwise.
        Conv2d { groups: 4, ..PLAIN },
        Conv2d {
            groups: 4,
            stride: [2, 2],
            pads: [0, 0, 1, 1],
            ..PLAIN
        },
        Conv2d {
            groups: 4,
            stride: [3, 1],
            dilation: [1, 2],
            pads: [2, 1, 0, 4],
            bias: None,
            ..PLAIN
        },
        Conv2d {
            groups: 4,
            kernel: [2, 4],
            pads: [0; 4],
            ..PLAIN
        },
        // Two filters for each channel.
        Conv2d {
            groups: 4,
            out_channels: 8,
            stride: [2, 2],
            dilation: [2, 1],
            pads: [3, 0, 1, 2],
            ..PLAIN
        },
        Conv2d {
            groups: 4,
            kernel: [1, 1],
            pads: [0; 4],
            ..PLAIN
        },
    ];
    for case in cases {
        let mut net = Net::spread(&[4, 5, 6]);
        conv(&mut net, 4, case);
        Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
    }
}

/// Enough channels for the ways that need them.
#[test]
fn convolutions_of_many_channels() {
    let many = Conv2d {
        out_channels: 9,
        ..PLAIN
    };
    let cases = [
        (9, many),
        (
            8,
            Conv2d {
                stride: [2, 2],
                pads: [0, 1, 2, 1],
                ..many
            },
        ),
        (
            17,
            Conv2d {
                dilation: [1, 2],
                pads: [0, 2, 1, 3],
                kernel: [2, 3],
                out_channels: 4,
                ..many
            },
        ),
        (
            16,
            Conv2d {
                groups: 2,
                out_channels: 10,
                pads: [2, 0, 1, 2],
                ..many
            },
        ),
        (
            16,
            Conv2d {
                groups: 2,
                out_channels: 18,
                stride: [1, 2],
                dilation: [2, 1],
                pads: [2, 0, 3, 1],
                ..many
            },
        ),
        // More padding than the mirrored kernel can give back.
        (
            8,
            Conv2d {
                pads: [3, 0, 0, 4],
                ..many
            },
        ),
    ];
    for (channels, case) in cases {
        let mut net = Net::spread(&[channels, 3, 4]);
        conv(&mut net, channels, case);
        Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
    }
}

#[test]
fn linear_on_features_and_tokens() {
    for dims in [&[6][..], &[6, 4]] {
        let mut net = Net::spread(dims);
        net.linear(5, 6);
        Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
    }
}

const ACTIVATIONS: [Activation; 10] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu(0.1),
    Activation::LeakyRelu(-0.5),
    Activation::Gelu,
    Activation::Silu,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSwish,
];

#[test]
fn activations_alone() {
    for activation in ACTIVATIONS {
        let mut net = Net::spread(&[3, 7]);
        // Far enough out that both bends of relu6 and hard-swish are met.
        net.graph
            .tensors
            .iter_mut()
            .flat_map(|t| &mut t.data)
            .for_each(|w| *w *= 5.0);
        net.push(Op::Activation(activation));
        Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
    }
}

#[test]
fn activations_fused() {
    for activation in ACTIVATIONS {
        let mut net = Net::spread(&[2, 4, 4]);
        conv(&mut net, 2, Conv2d { activation, ..PLAIN });
        net.join(Op::Add(activation), &[net.last(), net.last()]);
        net.push(Op::GlobalAvgPool);
        let op = Op::Linear(Linear {
            weight: net.tensor(3, 4),
            bias: None,
            out_features: 3,
            activation,
        });
        net.push(op);
        Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
    }
}

#[test]
fn poolings() {
    let kinds = [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding];
    for kind in kinds {
        for (kernel, stride, pads) in [
            ([2, 2], [2, 2], [0; 4]),
            ([3, 3], [1, 1], [1; 4]),
            ([3, 2], [2, 3], [2, 0, 1, 1]),
            ([2, 3], [1, 2], [0, 2, 0, 1]),
        ] {
            let pool = Pool {
                kind,
                kernel,
                stride,
                pads,
            };
            check(&[2, 5, 6], Op::Pool(pool));
        }
    }
    check(&[3, 4, 5], Op::GlobalAvgPool);
}

#[test]
fn moving_operators() {
    check(&[4, 3, 2], Op::Reshape(shape(&[24])));
    check(&[4, 3, 2], Op::Reshape(shape(&[6, 4])));
    check(&[4, 3, 2], Op::Reshape(shape(&[4, 6])));
    check(&[24], Op::Reshape(shape(&[2, 3, 4])));
    let pad = |before, after| Op::Pad {
        before,
        after,
        value: 0.5,
    };
    check(&[2, 3, 4], pad([1, 0, 2, 0], [0, 1, 1, 0]));
    check(&[5], pad([2, 0, 0, 0], [1, 0, 0, 0]));
    check(&[3, 4], pad([0, 1, 0, 0], [1, 2, 0, 0]));
    let slice = |start, end, step| Op::Slice { start, end, step };
    check(&[4, 5, 6], slice([1, 0, 2, 0], [4, 5, 6, 1], [2, 2, 1, 1]));
    check(&[7], slice([1, 0, 0, 0], [7, 1, 1, 1], [3, 1, 1, 1]));
    check(&[3, 7], slice([0, 2, 0, 0], [2, 7, 1, 1], [1, 2, 1, 1]));
    check(&[2, 3, 2, 5], slice([0, 1, 0, 1], [2, 3, 2, 5], [1, 1, 1, 3]));
    for axis in 0..3 {
        check(&[3, 2, 4], Op::Softmax { axis });
    }
    check(&[5], Op::Softmax { axis: 0 });
}

#[test]
fn several_inputs() {
    for axis in 0..3 {
        let mut net = Net::spread(&[2, 3, 4]);
        let first = net.last();
        let second = net.push(Op::Activation(Activation::Tanh));
        net.join(Op::Concat { axis }, &[second, first, second]);
        Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
    }
    for op in [Op::Mul, Op::Add(Activation::Identity), Op::Add(Activation::Silu)] {
        for swap in [false, true] {
            let mut net = Net::spread(&[2, 3, 4]);
            let first = net.last();
            let second = net.push(Op::Activation(Activation::Sigmoid));
            net.join(op, &if swap { [second, first] } else { [first, second] });
            Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
            // A value with itself, and one that is used again afterwards.
            let squared = net.join(op, &[second, second]);
            net.join(Op::Mul, &[squared, second]);
            Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
        }
    }
}

#[test]
fn shared_weights_add_their_gradients() {
    let mut net = Net::spread(&[4]);
    net.linear(4, 4);
    let shared = net.graph.nodes.last().unwrap().op;
    net.push(Op::Activation(Activation::Tanh));
    net.push(shared);
    Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
}

#[test]
fn a_residual_block_with_frozen_statistics() {
    let mut net = Net::spread(&[3, 4, 4]);
    let skip = net.last();
    conv(
        &mut net,
        3,
        Conv2d {
            out_channels: 3,
            bias: None,
            ..PLAIN
        },
    );
    net.batch_norm(3);
    net.push(Op::Activation(Activation::Relu));
    conv(
        &mut net,
        3,
        Conv2d {
            out_channels: 3,
            bias: None,
            ..PLAIN
        },
    );
    let block = net.batch_norm(3);
    net.join(Op::Add(Activation::Relu), &[block, skip]);
    net.push(Op::GlobalAvgPool);
    net.linear(4, 3);
    net.push(Op::Softmax { axis: 0 });
    Problem::new(&net.graph, SAMPLES).check_frozen(&net.graph);
}

/// The formula of arXiv 1502.03167 in f64, over all samples.
fn normalised(graph: &secateur_format::graph::Graph, inputs: &[Vec<f32>], channels: usize) -> Vec<Vec<f64>> {
    let mut before = graph.clone();
    let Some(Op::BatchNorm(bn)) = before.nodes.pop().map(|node| node.op) else {
        panic!("a batch norm at the end")
    };
    before.outputs = vec![before.output_of(before.nodes.len() - 1)];
    let run = |x: &Vec<f32>| reference::run(&before, &[x.as_slice()]).unwrap().remove(0);
    let mut values: Vec<Vec<f64>> = inputs.iter().map(run).collect();
    let plane = values[0].len() / channels;
    for c in 0..channels {
        let all: Vec<f64> = values.iter().flat_map(|x| x[c * plane..][..plane].to_vec()).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let var = all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / all.len() as f64;
        let at = |id: TensorId| f64::from(graph.tensors[usize::from(id.0)].data[c]);
        for x in values.iter_mut().flat_map(|x| &mut x[c * plane..][..plane]) {
            *x = (*x - mean) / (var + f64::from(bn.eps)).sqrt() * at(bn.scale) + at(bn.bias);
        }
    }
    values
}

#[test]
fn batch_norm_with_statistics_of_the_batch() {
    // 40 samples are several shards, the last of them not full.
    for (dims, channels, samples) in [(&[3, 2, 4][..], 3, 4), (&[5], 5, 7), (&[2, 3], 2, 40)] {
        let mut net = Net::spread(dims);
        net.batch_norm(channels);
        let problem = Problem::new(&net.graph, samples);
        problem.check(&net.graph, Statistics::Batch, |graph| {
            normalised(graph, &problem.inputs, channels as usize)
        });
    }
}

#[test]
fn shards_add_up() {
    let mut net = Net::spread(&[2, 4, 4]);
    conv(&mut net, 2, PLAIN);
    net.push(Op::Activation(Activation::Tanh));
    Problem::new(&net.graph, 37).check_frozen(&net.graph);
}
