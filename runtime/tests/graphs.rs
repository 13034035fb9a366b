//! Whole graphs: each operator, then random graphs, against the reference in
//! `common/reference.rs`, with all kernels, plain kernels, and no scratch memory.

#[cfg(test)]
mod common;

use common::case::CONV;
use common::net::{Net, shape};
use proptest::prelude::*;
use secateur_format::op::{Conv2d, Pool, PoolKind};
use secateur_format::{Activation, MAX_RANK, Op, Shape, ValueId};

const KINDS: [PoolKind; 3] = [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding];

fn check_conv(seed: u64, op: Conv2d, input: [u32; 3]) {
    let mut net = Net::new(seed);
    let x = net.input(&input);
    net.conv(op, x);
    net.check();
}

#[test]
fn conv_strides_kernels_and_pads() {
    let mut seed = 0;
    for stride in [[1, 1], [2, 2], [3, 3], [1, 3], [3, 2]] {
        for kernel in [[1, 1], [1, 3], [3, 3], [5, 2], [4, 7], [7, 7]] {
            for pads in [[0; 4], [1; 4], [0, 1, 2, 3], [3, 0, 0, 2]] {
                let op = Conv2d {
                    stride,
                    kernel,
                    pads,
                    ..CONV
                };
                seed += 1;
                check_conv(seed, op, [3, 9, 11]);
            }
        }
    }
}

#[test]
fn conv_dilations_and_groups() {
    let mut seed = 1000;
    for dilation in [[1, 1], [2, 2], [1, 3], [4, 1]] {
        for stride in [[1, 1], [2, 2], [2, 3]] {
            for groups in [1, 2, 4, 8] {
                let op = Conv2d {
                    stride,
                    dilation,
                    groups,
                    kernel: [3, 2],
                    pads: [2, 1, 0, 1],
                    out_channels: 16,
                    activation: Activation::Relu,
                    ..CONV
                };
                seed += 1;
                check_conv(seed, op, [8, 10, 9]);
            }
        }
    }
}

/// Pads as large as the kernel and larger, strides larger than the kernel, one pixel.
#[test]
fn conv_corners() {
    for (kernel, stride, pads, input) in [
        ([1, 1], [2, 2], [0; 4], [4, 7, 7]),
        ([1, 1], [1, 1], [1, 2, 0, 1], [4, 5, 3]),
        ([2, 2], [5, 5], [0; 4], [4, 12, 11]),
        ([3, 3], [1, 1], [3; 4], [4, 1, 1]),
        ([1, 1], [1, 1], [0; 4], [4, 1, 1]),
        ([3, 3], [2, 2], [1; 4], [4, 1, 1]),
        ([2, 3], [1, 1], [0, 5, 4, 0], [4, 2, 2]),
        ([6, 6], [1, 1], [0; 4], [4, 6, 6]),
    ] {
        let op = Conv2d {
            kernel,
            stride,
            pads,
            ..CONV
        };
        check_conv(5, op, input);
    }
}

#[test]
fn linear_of_a_vector_and_of_tokens() {
    for (seed, dims) in [
        vec![48],
        vec![48, 1],
        vec![48, 5],
        vec![48, 8],
        vec![16, 37],
        vec![7, 64],
    ]
    .iter()
    .enumerate()
    {
        for out_features in [1, 10, 16] {
            let mut net = Net::new(seed as u64);
            let x = net.input(dims);
            net.linear(out_features, Activation::Gelu, x);
            net.check();
        }
    }
}

#[test]
fn pools() {
    for kind in KINDS {
        for (kernel, stride, pads) in [
            ([1, 1], [1, 1], [0; 4]),
            ([2, 2], [2, 2], [0; 4]),
            ([3, 3], [2, 2], [1, 1, 0, 0]),
            ([3, 2], [1, 3], [2, 0, 1, 1]),
            ([5, 5], [5, 4], [4; 4]),
            ([2, 3], [3, 5], [0; 4]),
        ] {
            let pool = Pool {
                kind,
                kernel,
                stride,
                pads,
            };
            Net::of(&[3, 7, 6], Op::Pool(pool)).check();
        }
    }
    Net::of(&[5, 3, 4], Op::GlobalAvgPool).check();
}

#[test]
fn concat_on_each_axis() {
    for rank in 1..=MAX_RANK {
        for axis in 0..rank {
            for count in [1, 2, 3, 8] {
                let mut net = Net::new(3);
                let inputs: Vec<ValueId> = (0..count)
                    .map(|i| {
                        let mut dims = vec![2, 3, 2, 4][..rank].to_vec();
                        dims[axis] = 1 + i % 3;
                        net.input(&dims)
                    })
                    .collect();
                net.node(Op::Concat { axis: axis as u8 }, &inputs);
                net.check();
            }
        }
    }
    let mut net = Net::new(4);
    let x = net.input(&[2, 3]);
    net.node(Op::Concat { axis: 1 }, &[x, x, x]);
    net.check();
}

const DIMS: [u32; MAX_RANK] = [3, 4, 2, 5];

#[test]
fn pad_of_each_rank() {
    for rank in 1..=MAX_RANK {
        for axis in 0..=rank {
            let (mut before, mut after) = ([0; MAX_RANK], [0; MAX_RANK]);
            // `axis == rank`: all of them.
            for a in (0..rank).filter(|&a| axis == rank || a == axis) {
                (before[a], after[a]) = (2 - (a as u16 % 2), a as u16);
            }
            let value = -1.5;
            Net::of(&DIMS[..rank], Op::Pad { before, after, value }).check();
        }
    }
}

#[test]
fn slice_of_each_rank() {
    for rank in 1..=MAX_RANK {
        for (from, cut, by) in [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2), (1, 0, 3), (0, 0, u32::MAX)] {
            for axis in 0..=rank {
                let (mut start, mut end, mut step) = ([0; MAX_RANK], [1; MAX_RANK], [1; MAX_RANK]);
                end[..rank].copy_from_slice(&DIMS[..rank]);
                for a in (0..rank).filter(|&a| axis == rank || a == axis) {
                    (start[a], end[a], step[a]) = (from, DIMS[a] - cut, by);
                }
                Net::of(&DIMS[..rank], Op::Slice { start, end, step }).check();
            }
        }
    }
}

#[test]
fn softmax_on_each_axis() {
    for rank in 1..=MAX_RANK {
        for axis in 0..rank as u8 {
            Net::of(&DIMS[..rank], Op::Softmax { axis }).check();
            // Not in place.
            let mut net = Net::new(8);
            let x = net.input(&DIMS[..rank]);
            let y = net.node(Op::Softmax { axis }, &[x]);
            net.graph.outputs = vec![x, y];
            net.check();
        }
    }
    // Would overflow without the shift by the maximum.
    let mut net = Net::new(8);
    let x = net.input(&[9]);
    let large = net.node(Op::Activation(Activation::LeakyRelu(-100.0)), &[x]);
    net.node(Op::Softmax { axis: 0 }, &[large]);
    net.check();
}

#[test]
fn elementwise_in_place_and_not() {
    let activations = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::LeakyRelu(-0.5),
        Activation::Gelu,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSwish,
    ];
    let reshape = Op::Reshape(shape(&[5, 4]));
    let ones = activations
        .iter()
        .map(|&a| (Op::Activation(a), 1))
        .chain([(reshape, 1)]);
    let twos = activations.iter().map(|&a| (Op::Add(a), 2)).chain([(Op::Mul, 2)]);
    for (op, inputs) in ones.chain(twos) {
        // Each input may live on or die, and both may be the same.
        for kept in 0..1 << inputs {
            for same in [false, true] {
                let mut net = Net::new(kept);
                let (a, b) = (net.input(&[4, 5]), net.input(&[4, 5]));
                let both = [a, if same { a } else { b }];
                let y = net.node(op, &both[..inputs]);
                let kept = both[..inputs].iter().enumerate().filter(|(i, _)| kept >> i & 1 == 1);
                net.graph.outputs = kept.map(|(_, &id)| id).chain([y]).collect();
                net.check();
            }
        }
    }
}

/// Appends a random node that fits, or none.
fn grow(net: &mut Net) {
    let values: Vec<(ValueId, Shape)> = net.values().collect();
    let (x, x_shape) = net.rng.pick(&values);
    let activation = net.rng.pick(&[
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::Silu,
    ]);
    let alike: Vec<ValueId> = values
        .iter()
        .filter(|(_, s)| *s == x_shape)
        .map(|(id, _)| *id)
        .collect();
    let (other, axis) = (net.rng.pick(&alike), net.rng.below(x_shape.rank()) as u8);
    let (dims, elems) = (x_shape.dims().to_vec(), x_shape.elems() as u32);
    match (net.rng.below(12), dims.as_slice()) {
        (0..=2, &[channels, ..]) if dims.len() == 3 => {
            let groups = net.rng.pick(&[1, 1, 2, channels]);
            let side = |net: &mut Net| net.rng.below(3) as u16 + 1;
            let op = Conv2d {
                out_channels: groups * (1 + net.rng.below(4) as u32),
                groups,
                kernel: [side(net), side(net)],
                stride: [side(net), side(net)],
                dilation: [side(net), side(net)],
                pads: [2; 4].map(|most| net.rng.below(most + 1) as u16),
                activation,
                ..CONV
            };
            if Op::Conv2d(op).infer(&[x_shape]).is_ok() {
                net.conv(op, x);
            }
        }
        (3, _) if dims.len() == 3 => {
            let pool = Pool {
                kind: net.rng.pick(&KINDS),
                kernel: [2, 3],
                stride: [1 + net.rng.below(2) as u16, 1],
                pads: [1, 2, 0, 1],
            };
            net.node(Op::Pool(pool), &[x]);
        }
        (4, _) if dims.len() == 3 => {
            net.node(Op::GlobalAvgPool, &[x]);
        }
        (0..=4, _) if dims.len() <= 2 => {
            net.linear(1 + elems % 16, activation, x);
        }
        (5, _) => {
            net.node(Op::Activation(activation), &[x]);
        }
        (6 | 7, _) => {
            net.node(Op::Add(activation), &[x, other]);
        }
        (8, _) => {
            // Products of products leave the range in which an error bound means something.
            let bounded = net.node(Op::Activation(Activation::Tanh), &[other]);
            net.node(Op::Mul, &[x, bounded]);
        }
        (9, _) if elems < 500 => {
            net.node(Op::Concat { axis }, &[x, other]);
        }
        (10, &[first, ..]) => {
            let flat = shape(&[elems]);
            let split = shape(&[first, elems / first]);
            let target = net.rng.pick(&[flat, split]);
            net.node(Op::Reshape(target), &[x]);
        }
        (11, _) => {
            net.node(Op::Softmax { axis }, &[x]);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Values share memory as the plan says, and every operator reads what it should.
    #[test]
    fn random_graphs(seed in any::<u64>(), steps in 1..16usize, inputs in 1..=3usize) {
        let mut net = Net::new(seed);
        for i in 0..inputs {
            net.input(&[[4, 6, 5], [2, 3, 4], [4, 6, 5]][i]);
        }
        net.node(Op::Activation(Activation::Relu), &[ValueId(0)]);
        for _ in 0..steps {
            grow(&mut net);
        }
        let values: Vec<ValueId> = net.values().map(|(id, _)| id).collect();
        for _ in 0..net.rng.below(3) {
            let also = net.rng.pick(&values);
            net.graph.outputs.push(also);
        }
        net.check();
    }
}
