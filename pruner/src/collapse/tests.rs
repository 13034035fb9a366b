//! Chains, what layers become together, and when that is accepted.

use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::Linear;
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use super::chain::together;
use super::{Chain, Collapse, CollapseError, Merge, chains, collapse};
use crate::calibrate::Calibration;
use crate::data::{Dataset, Preprocess};
use crate::reference;
use crate::train::{Init, Samples, zoo};

/// Linear layers with ReLU, each of so many outputs; the weights of layer `l` are `l` hundredths off the diagonal,
/// and 1 on it.
fn perceptron(inputs: u32, outputs: &[u32]) -> Graph {
    let mut graph = Graph {
        inputs: vec![Input {
            name: "x".into(),
            shape: Shape::new(&[inputs]).unwrap(),
        }],
        ..Graph::default()
    };
    let mut cols = inputs;
    for (layer, &rows) in outputs.iter().enumerate() {
        let weight = |i: u32| {
            if i / cols == i % cols {
                1.0
            } else {
                layer as f32 / 100.0
            }
        };
        graph.tensors.push(Tensor {
            name: format!("w{layer}"),
            rows,
            cols,
            data: (0..rows * cols).map(weight).collect(),
        });
        graph.nodes.push(NodeDef {
            name: format!("fc{layer}"),
            op: Op::Linear(Linear {
                weight: TensorId(layer as u16),
                bias: None,
                out_features: rows,
                activation: Activation::Relu,
            }),
            inputs: vec![ValueId(layer as u16)],
        });
        cols = rows;
    }
    graph.outputs = vec![ValueId(outputs.len() as u16)];
    graph
}

fn with_samples<R>(shape: &[usize], f: impl FnOnce(&Calibration<'_>) -> R) -> R {
    let elems: usize = shape.iter().product();
    let values = (0..24 * elems).map(|i| (i as f32 * 0.37).sin() + 0.5).collect();
    let dataset = Dataset::new(values, shape.to_vec(), None).unwrap();
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    f(&Calibration::new(samples, 24, 0))
}

fn options(layers: usize, similarity: f64) -> Collapse {
    Collapse {
        layers,
        similarity,
        ..Collapse::default()
    }
}

#[test]
fn constants_become_one_by_the_rules_of_the_worked_example() {
    // algorithms.md 7.3.
    let others = || [&[3.0f32][..], &[6.0]].into_iter();
    assert_eq!(together(&[1.0], others(), Merge::DiffSum), [8.0]);
    assert_eq!(together(&[1.0], others(), Merge::Last), [6.0]);
}

#[test]
fn chains_are_of_layers_and_of_residual_blocks() {
    let shape = Shape::new(&[3, 16, 16]).unwrap();
    let none = |_: &str| false;
    let found = chains(&perceptron(12, &[8, 8, 8, 8, 3]), none).unwrap();
    let chain = |first, period, count| Chain { first, period, count };
    assert_eq!(found, [chain(1, 1, 3)]);
    assert_eq!(chains(&perceptron(12, &[8, 6, 8, 3]), none).unwrap(), []);
    // Each stage has a block that changes the shape, and two that do not.
    let resnet = zoo::find("resnet-20")
        .unwrap()
        .build(shape, 10, Init::default(), 1)
        .unwrap();
    let found = chains(&resnet, none).unwrap();
    let blocks: Vec<usize> = found
        .iter()
        .filter(|chain| chain.period > 4)
        .map(|chain| chain.count)
        .collect();
    assert_eq!(blocks, [3, 2, 2], "{found:?}");
}

/// Adds a linear layer that reads a value, and is returned if `used`.
fn with_reader(mut graph: Graph, value: u16, used: bool) -> Graph {
    let tensor = TensorId(graph.tensors.len() as u16);
    graph.tensors.push(Tensor {
        name: "other".into(),
        rows: 2,
        cols: 8,
        data: vec![0.5; 16],
    });
    graph.nodes.push(NodeDef {
        name: "other".into(),
        op: Op::Linear(Linear {
            weight: tensor,
            bias: None,
            out_features: 2,
            activation: Activation::Identity,
        }),
        inputs: vec![ValueId(value)],
    });
    if used {
        graph.outputs.push(graph.output_of(graph.nodes.len() - 1));
    }
    graph
}

#[test]
fn what_others_read_ends_a_chain() {
    // The second of three layers that are alike is read by another.
    let found = chains(&with_reader(perceptron(12, &[8, 8, 8, 8, 3]), 3, true), |_| false).unwrap();
    let chain = |first, count| Chain {
        first,
        period: 1,
        count,
    };
    assert_eq!(found, [chain(1, 2)]);
    let mut graph = perceptron(12, &[8, 8, 8, 8, 3]);
    graph.outputs = vec![ValueId(3), ValueId(5)];
    assert_eq!(chains(&graph, |_| false).unwrap(), [chain(1, 2)]);
    // What a rule leaves alone is in no chain.
    let graph = perceptron(12, &[8, 8, 8, 8, 3]);
    assert_eq!(chains(&graph, |name| name == "fc3").unwrap(), [chain(1, 2)]);
    assert_eq!(chains(&graph, |name| name == "fc2").unwrap(), []);
}

#[test]
fn the_longest_layers_count() {
    // Blocks of two layers that are alike, and an addition: not two chains of two layers.
    let mut graph = perceptron(8, &[8, 8]);
    for block in 0..2u16 {
        let last = graph.nodes.len() as u16;
        let before = 3 * block;
        graph.nodes.push(NodeDef {
            name: format!("add{block}"),
            op: Op::Add(Activation::Identity),
            inputs: vec![ValueId(before), ValueId(last)],
        });
        if block == 0 {
            for layer in 2..4u16 {
                graph.tensors.push(graph.tensors[0].clone());
                let mut node = graph.nodes[0].clone();
                node.name = format!("fc{layer}");
                if let Op::Linear(linear) = &mut node.op {
                    linear.weight = TensorId(layer);
                }
                node.inputs = vec![graph.output_of(graph.nodes.len() - 1)];
                graph.nodes.push(node);
            }
        }
    }
    graph.outputs = vec![graph.output_of(graph.nodes.len() - 1)];
    let blocks = Chain {
        first: 0,
        period: 3,
        count: 2,
    };
    assert_eq!(chains(&graph, |_| false).unwrap(), [blocks]);
}

#[test]
fn a_chain_becomes_shorter_and_the_rest_stays() {
    // A node that nobody reads would move all others when it goes.
    let whole = perceptron(12, &[8, 8, 8, 8, 3]);
    let mut unused = whole.clone();
    unused.nodes.insert(1, unused.nodes[0].clone());
    unused.nodes[1].name = "unused".into();
    for node in &mut unused.nodes[2..] {
        node.inputs = node
            .inputs
            .iter()
            .map(|id| ValueId(if id.0 > 1 { id.0 + 1 } else { id.0 }))
            .collect();
    }
    unused.outputs = vec![ValueId(6)];
    with_samples(&[12], |samples| {
        for start in [&whole, &unused] {
            let mut graph = start.clone();
            let attempts = collapse(&mut graph, &options(3, -1.0), &[], samples).unwrap();
            assert_eq!(attempts.len(), 1);
            assert_eq!((attempts[0].into.as_str(), attempts[0].nodes.len()), ("fc1", 2));
            let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
            assert_eq!(names, ["fc0", "fc1", "fc4"]);
            // 0.01 + 0.01 + 0.02 off the diagonal.
            let middle = &graph.tensors[1].data;
            assert!(
                (middle[0] - 1.0).abs() < 1e-6 && (middle[1] - 0.04).abs() < 1e-6,
                "{middle:?}"
            );
            assert_eq!(graph.tensors.len(), 3);
            assert_eq!(graph.tensors[2], whole.tensors[4]);
        }
        // Two at a time, until one is left; the last of them, by either rule.
        for merge in [Merge::DiffSum, Merge::Last] {
            let mut graph = whole.clone();
            let options = Collapse {
                merge,
                ..options(2, -1.0)
            };
            assert_eq!(collapse(&mut graph, &options, &[], samples).unwrap().len(), 2);
            assert_eq!((graph.nodes.len(), &graph.tensors[1].data), (3, &whole.tensors[3].data));
        }
        // Every second layer is tried.
        let mut graph = perceptron(12, &[8, 8, 8, 8, 8, 3]);
        let options = Collapse {
            interval: 2,
            ..options(2, -1.0)
        };
        let attempts = collapse(&mut graph, &options, &[], samples).unwrap();
        let into: Vec<&str> = attempts.iter().map(|attempt| attempt.into.as_str()).collect();
        assert_eq!(into, ["fc3", "fc1"]);
    });
}

#[test]
fn only_what_stays_similar_is_accepted() {
    let whole = perceptron(12, &[8, 8, 8, 8, 3]);
    with_samples(&[12], |samples| {
        let all = collapse(&mut whole.clone(), &options(2, -1.0), &[], samples).unwrap();
        let first = all[0].similarity;
        assert!(first > 0.5 && first < 1.0, "{all:?}");
        let mut graph = whole.clone();
        let attempts = collapse(&mut graph, &options(2, first - 1e-9), &[], samples).unwrap();
        assert!(
            attempts[0].accepted && graph.nodes.len() < whole.nodes.len(),
            "{attempts:?}"
        );
        let mut graph = whole.clone();
        let attempts = collapse(&mut graph, &options(2, first), &[], samples).unwrap();
        assert!(!attempts[0].accepted && attempts[0].similarity == first, "{attempts:?}");
        let mut graph = whole.clone();
        let attempts = collapse(&mut graph, &options(2, 1.0), &[], samples).unwrap();
        assert!(attempts.iter().all(|attempt| !attempt.accepted) && graph == whole);
        let error = collapse(&mut graph, &options(7, 0.0), &[], samples).unwrap_err();
        assert!(matches!(error, CollapseError::NoChain { layers: 7 }), "{error}");
    });
    // Where the last layer may become part of another, what the network returns counts.
    let mut whole = perceptron(8, &[8, 8]);
    whole.tensors[1].data.iter_mut().for_each(|w| *w = -*w);
    with_samples(&[8], |samples| {
        let attempts = collapse(&mut whole, &options(2, 0.9), &[], samples).unwrap();
        assert!(!attempts[0].accepted, "{attempts:?}");
    });
}

#[test]
fn residual_blocks_become_one() {
    let shape = Shape::new(&[3, 8, 8]).unwrap();
    let whole = zoo::find("resnet-20")
        .unwrap()
        .build(shape, 10, Init::default(), 5)
        .unwrap();
    with_samples(&[3, 8, 8], |samples| {
        let mut graph = whole.clone();
        let steps = collapse(&mut graph, &options(2, -1.0), &[], samples).unwrap();
        let gone: usize = steps.iter().map(|step| step.nodes.len()).sum();
        assert!(
            steps.len() >= 4 && graph.nodes.len() + gone == whole.nodes.len(),
            "{steps:?}"
        );
        let input: Vec<f32> = (0..192).map(|i| (i as f32 * 0.1).cos()).collect();
        assert!(
            reference::run(&graph, &[&input]).unwrap()[0]
                .iter()
                .all(|y| y.is_finite())
        );
    });
}
