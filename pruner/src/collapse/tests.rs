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
    let found = chains(&perceptron(12, &[8, 8, 8, 8, 3])).unwrap();
    let chain = |first, period, count| Chain { first, period, count };
    assert_eq!(found, [chain(1, 1, 3)]);
    assert_eq!(chains(&perceptron(12, &[8, 6, 8, 3])).unwrap(), []);
    // Each stage has a block that changes the shape, and two that do not.
    let resnet = zoo::find("resnet-20")
        .unwrap()
        .build(shape, 10, Init::default(), 1)
        .unwrap();
    let found = chains(&resnet).unwrap();
    let blocks: Vec<usize> = found
        .iter()
        .filter(|chain| chain.period > 4)
        .map(|chain| chain.count)
        .collect();
    assert_eq!(blocks, [3, 2, 2], "{found:?}");
}

#[test]
fn a_chain_becomes_shorter_and_the_rest_stays() {
    let whole = perceptron(12, &[8, 8, 8, 8, 3]);
    with_samples(&[12], |samples| {
        let mut graph = whole.clone();
        let steps = collapse(&mut graph, &options(3, -1.0), samples).unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].into.as_str(), steps[0].nodes.len()), ("fc1", 2));
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
        // Two at a time, until one is left.
        let mut graph = whole.clone();
        assert_eq!(collapse(&mut graph, &options(2, -1.0), samples).unwrap().len(), 2);
        assert_eq!(graph.nodes.len(), 3);
    });
}

#[test]
fn only_what_stays_similar_is_accepted() {
    let whole = perceptron(12, &[8, 8, 8, 8, 3]);
    with_samples(&[12], |samples| {
        let mut graph = whole.clone();
        assert_eq!(collapse(&mut graph, &options(2, 1.0), samples).unwrap(), []);
        assert_eq!(graph, whole);
        let steps = collapse(&mut graph, &options(2, 0.9), samples).unwrap();
        assert!(steps.iter().all(|step| step.similarity > 0.9), "{steps:?}");
        let error = collapse(&mut graph.clone(), &options(7, 0.0), samples).unwrap_err();
        assert!(matches!(error, CollapseError::NoChain { layers: 7 }), "{error}");
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
        let steps = collapse(&mut graph, &options(2, -1.0), samples).unwrap();
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
