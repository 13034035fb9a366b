//! Plans of random graphs.

use proptest::prelude::*;
use secateur_format::encoding::{BlockIndex, Encoding, ValueType};
use secateur_format::op::{Conv2d, Linear, Pool, PoolKind};
use secateur_format::plan::planner::{PlanOptions, Scratch, plan};
use secateur_format::{Activation, Limits, Model, Op, Shape, ValueId};

use crate::forge::walk;
use crate::samples::Sample;

/// Turns random numbers into a valid graph: each step tries an operator on
/// values that exist, and an activation where it does not fit.
fn graph(steps: &[[u8; 4]]) -> Sample {
    let mut sample = Sample::default();
    let mut shapes = Vec::new();
    for dims in [&[2u32, 6, 5][..], &[8], &[4, 3]] {
        sample.input(&format!("input{}", shapes.len()), dims);
        shapes.push(Shape::new(dims).unwrap());
    }
    for (i, &[kind, a, b, detail]) in steps.iter().enumerate() {
        let pick = |n: u8| ValueId((usize::from(n) % shapes.len()) as u16);
        // Recent values more often than old ones: deep graphs.
        let near = ValueId((shapes.len() - 1 - usize::from(a % 3).min(shapes.len() - 1)) as u16);
        let inputs = match kind % 8 {
            0 | 1 => vec![near, pick(b)],
            2 => vec![near, pick(a), pick(b)],
            _ => vec![if detail % 4 == 0 { pick(b) } else { near }],
        };
        let given: Vec<Shape> = inputs.iter().map(|id| shapes[usize::from(id.0)]).collect();
        let op = operator(&mut sample, kind % 8, detail, &given);
        let (op, inputs) = match op.infer(&given) {
            Ok(_) => (op, inputs),
            Err(_) => (Op::Activation(Activation::Silu), vec![inputs[0]]),
        };
        shapes.push(op.infer(&given[..inputs.len()]).unwrap());
        sample.node(&format!("node{i}"), op, &inputs);
    }
    let last = sample.graph.value_count() as u16 - 1;
    sample.graph.outputs = vec![ValueId(last), ValueId(last / 2)];
    sample
}

fn operator(sample: &mut Sample, kind: u8, detail: u8, inputs: &[Shape]) -> Op {
    let dims = inputs[0].padded_dims();
    match kind {
        0 => Op::Add(Activation::Relu),
        1 => Op::Mul,
        2 => Op::Concat { axis: detail % 2 },
        3 if inputs[0].rank() == 3 && inputs[0].elems() < 2000 => {
            let (kernel, stride) = (1 + u16::from(detail % 3), 1 + u16::from(detail / 3 % 2));
            let cols = dims[0] * u32::from(kernel * kernel);
            let pad = kernel / 2;
            Op::Conv2d(Conv2d {
                weight: sample.weight(4, cols, Encoding::Win8, ValueType::I8),
                bias: sample.bias(4),
                out_channels: 4,
                groups: 1,
                kernel: [kernel; 2],
                stride: [stride; 2],
                dilation: [1 + u16::from(detail / 6 % 2); 2],
                pads: [pad; 4],
                activation: Activation::Relu,
            })
        }
        4 if inputs[0].rank() <= 2 => {
            let encoding = Encoding::Block {
                r: 2,
                c: 1,
                index: BlockIndex::Csr16,
            };
            let weight = sample.weight(6, dims[0], encoding, ValueType::Bf16);
            Op::Linear(Linear {
                weight,
                bias: None,
                out_features: 6,
                activation: Activation::Gelu,
            })
        }
        5 => Op::Reshape(Shape::new(&[inputs[0].elems() as u32]).unwrap()),
        6 if detail.is_multiple_of(2) => Op::GlobalAvgPool,
        6 => Op::Pool(Pool {
            kind: PoolKind::Max,
            kernel: [2, 2],
            stride: [1, 1],
            pads: [0; 4],
        }),
        _ => Op::Softmax { axis: 0 },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn readers_accept_every_plan(
        steps in prop::collection::vec(any::<[u8; 4]>(), 1..40), packed in any::<bool>(), align in 0u32..100,
    ) {
        let mut sample = graph(&steps);
        sample.options = PlanOptions { scratch: if packed { Scratch::Packed } else { Scratch::None }, align };
        let file = sample.file();
        let model = Model::read(file.bytes(), &Limits::HOST).unwrap();
        walk(&model);

        let made = plan(&sample.graph, &sample.options).unwrap();
        prop_assert!(made.lower_bound <= made.arena_bytes);
        prop_assert_eq!(made.arena_bytes, model.plan().arena_bytes());
        let scratch: u32 = made.scratch.iter().map(|&(_, bytes)| bytes).sum();
        prop_assert!(packed || scratch == 0);
        let rest = PlanOptions { scratch: Scratch::None, ..sample.options };
        prop_assert!(plan(&sample.graph, &rest).unwrap().lower_bound <= made.lower_bound);
        // Greedy placement may lose to fragmentation, but not to no sharing at all.
        let all: u64 = sample.graph.shapes().unwrap().iter().map(|s| u64::from(s.bytes() + 64)).sum();
        prop_assert!(u64::from(made.arena_bytes) <= all + made.scratch.iter().map(|s| u64::from(s.1 + 64)).sum::<u64>());
    }
}

#[test]
fn a_chain_of_activations_needs_one_buffer() {
    let mut sample = Sample::default();
    let mut value = sample.input("x", &[16]);
    for i in 0..5 {
        value = sample.node(&format!("node{i}"), Op::Activation(Activation::Tanh), &[value]);
    }
    sample.graph.outputs = vec![value];
    let made = plan(&sample.graph, &PlanOptions::default()).unwrap();
    assert_eq!((made.arena_bytes, made.lower_bound), (64, 64));
    Model::read(sample.file().bytes(), &Limits::EMBEDDED).unwrap();
}
