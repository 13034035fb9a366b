//! Prepared sessions: whole graphs against the reference, and against each other
//! with different threads, choices of candidates and kernels.

#[cfg(test)]
mod common;

/// Changes files so that they still pass for whole.
#[cfg(test)]
#[path = "../../format/tests/suite/forge.rs"]
#[allow(dead_code)]
mod forge;

use common::case::CONV;
use common::net::{self, Net};
use common::reference;
use secateur_format::container::writer::{Extras, Tuned, Tuning};
use secateur_format::encoding::{Encoding, ValueType};
use secateur_format::op::{Conv2d, Linear};
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Activation, Op, ValueId};
use secateur_runtime::kernel::{self, Isa};
use secateur_runtime::prepared::{Choice, Options, Prepared, Problem, VectorTask};
use secateur_runtime::{ArenaBuf, Session};

#[cfg(feature = "parallel")]
const THREADS: &[usize] = &[2, 3];
#[cfg(not(feature = "parallel"))]
const THREADS: &[usize] = &[];

/// What [`Net::check`] does, for sessions prepared in every way.
fn check(net: &mut Net) {
    net.check();
    let inputs = net.random_inputs();
    let values = reference::run(&net.graph, &inputs);
    let file = net.file(&PlanOptions::default());
    let model = net::model(&file);
    let run = |options: &Options| {
        let outputs = net::run_prepared(&model, options, &inputs);
        let (kernels, threads) = (options.kernels.len(), options.threads);
        net.compare(
            &values,
            &outputs,
            &format!("{:?}, {threads} threads, {kernels} kernels", options.choice),
        );
        net::bits(&outputs)
    };
    let mut isas: Vec<Isa> = kernel::ALL
        .iter()
        .map(|k| k.isa)
        .filter(|isa| isa.available())
        .collect();
    isas.dedup();
    for isa in isas {
        let options = Options {
            kernels: kernel::up_to(isa),
            ..Options::default()
        };
        let alone = run(&options);
        for &threads in THREADS {
            assert_eq!(
                alone,
                run(&Options {
                    threads,
                    ..options.clone()
                }),
                "{threads} threads, {isa:?}"
            );
        }
    }
    for threads in [1, 2] {
        run(&Options {
            choice: Choice::Measure,
            threads,
            ..Options::default()
        });
    }
}

/// The nodes that run with repacked weights.
fn products(net: &Net) -> Vec<usize> {
    let file = net.file(&PlanOptions::default());
    let model = net::model(&file);
    let prepared = Prepared::new(&model, &Options::default()).expect("a valid model");
    (0..net.graph.nodes.len())
        .filter(|&node| prepared.product(node).is_some())
        .collect()
}

#[test]
fn convolutions() {
    let mut seed = 0;
    for kernel in [[1, 1], [3, 3], [5, 5], [7, 7], [1, 3], [3, 1], [2, 4]] {
        for (stride, dilation, pads) in [
            ([1, 1], [1, 1], [0; 4]),
            (
                [1, 1],
                [1, 1],
                [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2],
            ),
            ([2, 2], [1, 1], [1, 0, 0, 1]),
            ([3, 1], [1, 1], [0, 2, 1, 0]),
            ([1, 1], [2, 1], [2, 1, 0, 3]),
            ([1, 2], [1, 2], [1; 4]),
        ] {
            for (groups, out_channels) in [(1, 6), (2, 16), (4, 12)] {
                let op = Conv2d {
                    out_channels,
                    groups,
                    kernel,
                    stride,
                    dilation,
                    pads,
                    activation: Activation::Relu,
                    ..CONV
                };
                seed += 1;
                let mut net = Net::new(seed);
                let x = net.input(&[8, 15, 19]);
                net.conv(op, x);
                assert_eq!(products(&net), [0]);
                check(&mut net);
            }
        }
    }
}

/// Enough pixels for several panels, for each of three threads.
#[test]
fn large_convolutions() {
    for (kernel, side, channels) in [
        ([1, 1], 40, 40),
        ([3, 3], 40, 24),
        ([3, 3], 130, 3),
        ([3, 3], 230, 2),
        ([5, 5], 28, 16),
    ] {
        let mut net = Net::new(3);
        let x = net.input(&[channels, side, side]);
        let pads = [kernel[0] / 2; 4];
        let op = Conv2d { kernel, pads, ..CONV };
        net.conv(op, x);
        check(&mut net);
    }
}

#[test]
fn depthwise_convolutions_run_in_place() {
    let mut net = Net::new(5);
    let x = net.input(&[6, 9, 9]);
    let depthwise = Conv2d {
        out_channels: 6,
        groups: 6,
        pads: [1; 4],
        ..CONV
    };
    let y = net.conv(depthwise, x);
    let pointwise = Conv2d { kernel: [1, 1], ..CONV };
    net.conv(pointwise, y);
    assert_eq!(products(&net), [1]);
    check(&mut net);
}

#[test]
fn linears() {
    for (seed, tokens) in [1, 2, 15, 16, 17, 100, 197].into_iter().enumerate() {
        let mut net = Net::new(seed as u64);
        let x = net.input(&[48, tokens]);
        let y = net.linear(64, Activation::Gelu, x);
        let z = net.linear(48, Activation::Identity, y);
        net.node(Op::Add(Activation::Relu), &[z, x]);
        assert_eq!(products(&net), if tokens == 1 { vec![] } else { vec![0, 1] });
        check(&mut net);
    }
}

/// Long enough that threads share the rows, of which there may be an odd number.
#[test]
fn large_linears_of_one_token() {
    for (seed, rows) in [400, 512, 777, 1001, 640, 480].into_iter().enumerate() {
        let mut net = Net::new(seed as u64);
        let x = net.input(&[1500]);
        net.linear(rows, Activation::Relu, x);
        check(&mut net);
    }
}

/// A small layer is no slower than with dense weights: it has them, where the file has not.
#[test]
fn a_linear_of_one_token_is_encoded_anew() {
    let mut net = Net::new(9);
    let x = net.input(&[256]);
    let weight = net.weight_as(64, 256, Encoding::Csr16, ValueType::F32);
    let op = Linear {
        weight,
        bias: None,
        out_features: 64,
        activation: Activation::Relu,
    };
    net.node(Op::Linear(op), &[x]);
    let file = net.file(&PlanOptions::default());
    let model = net::model(&file);
    let prepared = Prepared::new(&model, &Options::default()).expect("a valid model");
    assert_eq!(prepared.repacked_bytes(0), Some(4 * 64 * 256));
    check(&mut net);
}

/// What the file says was fastest is what runs, on the CPU where it was measured and if it can.
#[test]
fn tuned_files() {
    let mut net = Net::new(2);
    let x = net.input(&[16, 20, 20]);
    let weight = net.weight_as(32, 16, Encoding::Csr16, ValueType::F32);
    let conv = Conv2d {
        weight,
        bias: None,
        out_channels: 32,
        kernel: [1, 1],
        ..CONV
    };
    let y = net.node(Op::Conv2d(conv), &[x]);
    let z = net.node(Op::GlobalAvgPool, &[y]);
    let weight = net.weight_as(64, 32, Encoding::Csr16, ValueType::F32);
    let linear = Linear {
        weight,
        bias: None,
        out_features: 64,
        activation: Activation::Identity,
    };
    net.node(Op::Linear(linear), &[z]);
    let options = Options::default();
    let prepared = |tuning: Option<Tuning>| {
        let extras = Extras {
            tuning,
            ..Extras::default()
        };
        let file = net.file_with(&PlanOptions::default(), &extras);
        Prepared::new(&net::model(&file), &options)
            .expect("a valid model")
            .tuning()
    };
    let usual = prepared(None);
    assert_eq!(usual.nodes.iter().map(|tuned| tuned.node).collect::<Vec<_>>(), [0, 2]);

    let file = net.file(&PlanOptions::default());
    let model = net::model(&file);
    let nodes: Vec<_> = model.nodes().collect();
    let problem = Problem::new(&model, &nodes[0])
        .expect("a valid model")
        .expect("a product");
    let slowest = *problem.task().candidates(&options).last().expect("a candidate");
    let vector = VectorTask::new(&model, &nodes[2]).expect("a product with a vector");
    let last = *vector.candidates(&options).last().expect("a candidate");
    let mut other = usual.clone();
    other.nodes[0] = Tuned {
        node: 0,
        vectors: slowest.tiling.vectors as u16,
        window: slowest.tiling.window as u32,
        kernel: slowest.kernel.name.into(),
    };
    other.nodes[1].kernel = last.kernel.name.into();
    assert_ne!(usual, other);
    assert_eq!(prepared(Some(other.clone())), other);

    let elsewhere = Tuning {
        machine: "another".into(),
        ..other.clone()
    };
    assert_eq!(prepared(Some(elsewhere)), usual);
    other.nodes[0].kernel = "of a later version".into();
    other.nodes[1].kernel = String::new();
    assert_eq!(prepared(Some(other)), usual);
}

/// A product whose result may be added to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Pointwise,
    Padded,
    Grouped,
    Depthwise,
    Tokens,
    OneToken,
}

use Kind::{Depthwise, Grouped, OneToken, Padded, Pointwise, Tokens};

impl Kind {
    /// Shape of the input, and of the output of the same size.
    fn dims(self) -> &'static [u32] {
        match self {
            Tokens => &[24, 21],
            OneToken => &[24],
            _ => &[8, 9, 7],
        }
    }

    fn append(self, net: &mut Net, input: ValueId, activation: Activation) -> ValueId {
        let (kernel, pads) = match self {
            Pointwise => ([1, 1], [0; 4]),
            _ => ([3, 3], [1; 4]),
        };
        let groups = match self {
            Grouped => 2,
            Depthwise => 8,
            _ => 1,
        };
        match self {
            Tokens | OneToken => net.linear(24, activation, input),
            _ => {
                let op = Conv2d {
                    out_channels: 8,
                    groups,
                    kernel,
                    pads,
                    activation,
                    ..CONV
                };
                net.conv(op, input)
            }
        }
    }
}

/// What is added to a product.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    /// The product's own input.
    Own,
    /// What was computed before.
    Before,
    /// Another product, between the product and the addition.
    Behind,
    /// The product itself.
    Itself,
    /// An input of the graph.
    Given,
}

/// Additions to products in every situation: operands in either order, each of them dying or
/// needed afterwards, so that the sum takes over the memory of one, of the other, or of none.
#[test]
fn additions() {
    let mut seed = 0;
    for kind in [Pointwise, Padded, Grouped, Depthwise, Tokens, OneToken] {
        for other in [Other::Own, Other::Before, Other::Behind, Other::Itself, Other::Given] {
            for (swapped, kept) in (0..8).flat_map(|kept| [(false, kept), (true, kept)]) {
                let activation = [Activation::Identity, Activation::Relu][seed as usize / 3 % 2];
                seed += 1;
                let mut net = Net::new(seed);
                let (given, also) = (net.input(kind.dims()), net.input(kind.dims()));
                let early = net.node(Op::Activation(Activation::Tanh), &[given]);
                let x = net.node(Op::Activation(Activation::Silu), &[early]);
                // Every other time the product has an activation of its own.
                let own = [Activation::Identity, Activation::Relu][seed as usize % 5 / 4];
                let product = kind.append(&mut net, x, own);
                let added = match other {
                    Other::Own => x,
                    Other::Before => early,
                    Other::Behind => kind.append(&mut net, x, Activation::Identity),
                    Other::Itself => product,
                    Other::Given => also,
                };
                let operands = if swapped { [added, product] } else { [product, added] };
                let sum = net.node(Op::Add(activation), &operands);
                let last = net.node(Op::Activation(Activation::Tanh), &[sum]);
                let kept = [x, added, product]
                    .into_iter()
                    .enumerate()
                    .filter(|(i, _)| kept >> i & 1 == 1);
                let mut outputs: Vec<ValueId> = kept.map(|(_, id)| id).chain([last]).collect();
                outputs.dedup();
                net.graph.outputs = outputs;
                net.check();
            }
        }
    }
}

/// The product writes the sum over what is added, which dies there, and its own memory never.
#[test]
fn additions_are_fused() {
    for swapped in [false, true] {
        let mut net = Net::new(4);
        let x = net.input(Padded.dims());
        let early = net.node(Op::Activation(Activation::Tanh), &[x]);
        let middle = net.node(Op::Activation(Activation::Relu), &[early]);
        let product = Padded.append(&mut net, middle, Activation::Identity);
        let operands = if swapped { [early, product] } else { [product, early] };
        net.node(Op::Add(Activation::Identity), &operands);
        let file = net.file(&PlanOptions::default());
        let model = net::model(&file);
        let mut arena = ArenaBuf::for_model(&model);
        arena.as_mut().fill(0xff);
        let prepared = Prepared::new(&model, &Options::default()).unwrap();
        let mut session = Session::with_prepared(&model, arena.as_mut(), prepared).unwrap();
        session.input_mut(0).unwrap().copy_from_slice(&net.random_inputs()[0]);
        let mut own = Vec::new();
        let observe = |node: usize, output: &[f32]| {
            if node == 2 {
                own = output.to_vec();
            }
        };
        session.run_observed(observe).unwrap();
        assert!(own.iter().all(|x| x.is_nan()), "written besides the sum");
    }
}

/// Residual blocks as networks have them, with all ways to prepare them.
#[test]
fn residual_networks() {
    for seed in 0..6 {
        let mut net = Net::new(seed);
        let image = net.input(&[3, 20, 20]);
        let block = |channels: u32, stride: u16| Conv2d {
            out_channels: channels,
            stride: [stride; 2],
            pads: [1; 4],
            ..CONV
        };
        let mut x = net.conv(block(8, 1), image);
        for (channels, stride) in [(8, 1), (16, 2)] {
            let activation = Activation::Relu;
            let first = net.conv(
                Conv2d {
                    activation,
                    ..block(channels, stride)
                },
                x,
            );
            let shortcut = |net: &mut Net| {
                let shape = Conv2d {
                    kernel: [1, 1],
                    pads: [0; 4],
                    ..block(channels, stride)
                };
                if stride == 1 { x } else { net.conv(shape, x) }
            };
            let (second, around) = match seed % 2 {
                0 => {
                    let second = net.conv(block(channels, 1), first);
                    (second, shortcut(&mut net))
                }
                _ => {
                    let around = shortcut(&mut net);
                    (net.conv(block(channels, 1), first), around)
                }
            };
            let both = if seed % 3 == 0 {
                [around, second]
            } else {
                [second, around]
            };
            x = net.node(Op::Add(activation), &both);
        }
        let pooled = net.node(Op::GlobalAvgPool, &[x]);
        net.linear(10, Activation::Identity, pooled);
        check(&mut net);
    }
}

/// The sum lies elsewhere than its operands, as no planner of ours would have it.
#[test]
fn sums_that_take_over_no_memory() {
    for swapped in [false, true] {
        let mut net = Net::new(2);
        let x = net.input(&[8, 9, 7]);
        let (early, product) = {
            let early = net.node(Op::Activation(Activation::Tanh), &[x]);
            (early, Padded.append(&mut net, early, Activation::Identity))
        };
        let sum = net.node(
            Op::Add(Activation::Relu),
            &if swapped { [early, product] } else { [product, early] },
        );
        let file = moved(&net, sum);
        let model = net::model(&file);
        let inputs = net.random_inputs();
        let values = reference::run(&net.graph, &inputs);
        let outputs = net::run_prepared(&model, &Options::default(), &inputs);
        net.compare(&values, &outputs, "moved");
    }
}

/// The file of `net` with `value` behind everything else in the arena.
fn moved(net: &Net, value: ValueId) -> ArenaBuf {
    let mut file = net.file(&PlanOptions::default());
    let bytes = file.as_mut();
    // The sections' order is fixed: graph, tensors, plan.
    let plan = forge::entry_range(bytes, 2).expect("a plan").start;
    let arena = forge::u32_at(bytes, plan).expect("its size").next_multiple_of(64);
    let mut put = |at: usize, number: u32| bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    put(plan, arena + net.shape(value).bytes());
    put(plan + 8 + 8 * usize::from(value.0), arena);
    forge::fix_crcs(bytes);
    file
}

/// Without scratch memory only what needs none is a product.
#[test]
fn plans_without_scratch_memory() {
    let mut net = Net::new(6);
    let x = net.input(&[8, 9, 7]);
    let y = Padded.append(&mut net, x, Activation::Relu);
    Pointwise.append(&mut net, y, Activation::Relu);
    let file = net.file(&PlanOptions {
        scratch: Scratch::None,
        align: 4,
    });
    let model = net::model(&file);
    let prepared = Prepared::new(&model, &Options::default()).unwrap();
    assert!(prepared.product(0).is_none() && prepared.product(1).is_some());
    let mut arena = ArenaBuf::for_model(&model);
    let session = Session::with_prepared(&model, arena.as_mut(), prepared).unwrap();
    let kernels: Vec<_> = model
        .nodes()
        .map(|node| session.kernel(&node).unwrap().problem())
        .collect();
    assert_eq!(kernels, [kernel::Problem::DirectConv, kernel::Problem::Panel]);
}

/// Preparation leaves out what no list of kernels has, and a session still refuses it.
#[test]
fn weights_without_a_kernel_are_refused() {
    use secateur_format::encoding::{Encoding, ValueType};
    let mut net = Net::new(7);
    let x = net.input(&[8, 5]);
    let op = Linear {
        weight: net.weight_as(4, 8, Encoding::Dense, ValueType::I8),
        bias: None,
        out_features: 4,
        activation: Activation::Identity,
    };
    net.node(Op::Linear(op), &[x]);
    let file = net.file(&PlanOptions::default());
    let model = net::model(&file);
    let mut arena = ArenaBuf::for_model(&model);
    let prepared = Prepared::new(&model, &Options::default()).unwrap();
    assert!(Session::with_prepared(&model, arena.as_mut(), prepared).is_err());
}
