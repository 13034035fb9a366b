//! Unfolded inputs against the dense reference, and gradients against what batches mean.

use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{Conv2d, Linear};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use super::*;
use crate::data::{Dataset, Preprocess};
use crate::layer::{Layer, layers};
use crate::reference;
use crate::train::Statistics;

/// Numbers in -0.5..0.5, all different.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i + 1) * (2 * seed + 7919) % 10007) as f32 / 10007.0 - 0.5;
    (0..len).map(number).collect()
}

/// Two groups, strides and dilations that differ, uneven padding; then a linear layer over 6 tokens.
fn graph() -> Graph {
    let conv = Conv2d {
        weight: TensorId(0),
        bias: None,
        out_channels: 6,
        groups: 2,
        kernel: [3, 2],
        stride: [2, 1],
        dilation: [1, 2],
        pads: [1, 0, 0, 1],
        activation: Activation::Identity,
    };
    let linear = Linear {
        out_features: 3,
        weight: TensorId(1),
        bias: None,
        activation: Activation::Identity,
    };
    let node = |name: &str, op, input| NodeDef {
        name: name.into(),
        op,
        inputs: vec![ValueId(input)],
    };
    let tensor = |name: &str, rows: u32, cols: u32, seed| Tensor {
        name: name.into(),
        rows,
        cols,
        data: numbers((rows * cols) as usize, seed),
    };
    let mut graph = Graph {
        inputs: vec![Input {
            name: "x".into(),
            shape: Shape::new(&[4, 5, 4]).unwrap(),
        }],
        nodes: vec![node("conv", Op::Conv2d(conv), 0)],
        tensors: vec![tensor("w", 6, 12, 1), tensor("v", 3, 6, 2)],
        outputs: vec![ValueId(1)],
    };
    let elems = graph.shapes().unwrap()[1].elems() as u32;
    let tokens = Shape::new(&[6, elems / 6]).unwrap();
    graph.nodes.push(node("tokens", Op::Reshape(tokens), 1));
    graph.nodes.push(node("fc", Op::Linear(linear), 2));
    graph.outputs = vec![ValueId(3)];
    graph
}

fn dataset(count: usize) -> Dataset {
    let labels = (0..count as u32).map(|i| i % 3).collect();
    Dataset::new(numbers(80 * count, 3), vec![4, 5, 4], Some(labels)).unwrap()
}

#[test]
fn rows_times_weights_are_what_the_layer_computes() {
    let graph = graph();
    let layers = layers(&graph, &graph.shapes().unwrap());
    let dataset = dataset(1);
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let calibration = Calibration::new(samples, 1, 0);
    for (layer, value) in layers.iter().zip([1, 3]) {
        let mut cut = graph.clone();
        cut.outputs = vec![ValueId(value)];
        let expected = reference::run(&cut, &[dataset.input(0)]).unwrap().remove(0);
        let weights = &graph.tensor(layer.tensor).unwrap().data;
        let mut found = Vec::new();
        each_input(&graph, &[layer], &calibration, |_, group, x| {
            let rows = weights
                .chunks(layer.cols as usize)
                .skip(group * layer.group_rows as usize);
            for w in rows.take(layer.group_rows as usize) {
                found.extend(x.rows().into_iter().map(|x| {
                    let products = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w));
                    products.sum::<f64>()
                }));
            }
        })
        .unwrap();
        assert_eq!(found.len(), expected.len(), "{}", layer.name);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-5,
                "{}: {found} instead of {expected}",
                layer.name
            );
        }
    }
}

#[test]
fn gram_matrices_are_sums_over_samples_whose_diagonals_are_the_squares() {
    let graph = graph();
    let layers = layers(&graph, &graph.shapes().unwrap());
    // More than a batch.
    let dataset = dataset(45);
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let calibration = Calibration::new(samples, 100, 0);
    assert_eq!(calibration.count(), 45);
    let all: Vec<&Layer> = layers.iter().collect();
    let squares = column_squares(&graph, &all, &calibration).unwrap();
    for (layer, squares) in layers.iter().zip(&squares) {
        let mut naive = vec![ndarray::Array2::<f64>::zeros((layer.cols as usize, layer.cols as usize)); layer.groups()];
        each_input(&graph, &[layer], &calibration, |_, group, x| {
            for x in x.rows() {
                for ((i, j), sum) in naive[group].indexed_iter_mut() {
                    *sum += f64::from(x[i]) * f64::from(x[j]);
                }
            }
        })
        .unwrap();
        let found = gram(&graph, layer, &calibration).unwrap();
        assert_eq!((found.len(), squares.len()), (layer.groups(), layer.groups()));
        for ((found, naive), squares) in found.iter().zip(&naive).zip(squares) {
            assert!(
                found
                    .iter()
                    .zip(naive)
                    .all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs()))
            );
            assert!(naive.diag().iter().zip(squares).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }
}

#[test]
fn the_mean_gradient_does_not_depend_on_the_batches() {
    let mut graph = graph();
    graph.nodes.push(NodeDef {
        name: "flat".into(),
        op: Op::Reshape(Shape::new(&[18]).unwrap()),
        inputs: vec![ValueId(3)],
    });
    graph.outputs = vec![ValueId(4)];
    let dataset = dataset(7);
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let calibration = Calibration::new(samples, 7, 0);
    let mean = |batch| {
        let mut gradients = Gradients::new(&graph, &calibration, batch, Statistics::Frozen).unwrap();
        gradients.mean(&graph)
    };
    let (whole, threes) = (mean(7), mean(3));
    let pairs = whole.iter().flatten().zip(threes.iter().flatten());
    let (off, size) = pairs.fold((0.0, 0.0), |(off, size), (a, b)| {
        (f64::max(off, (a - b).abs()), f64::max(size, a.abs()))
    });
    assert!(off < 1e-5 * size && size > 0.0, "{off} of {size}");
}

#[test]
fn samples_are_drawn_by_the_seed() {
    let dataset = dataset(20);
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let chosen = |seed| Calibration::new(samples, 8, seed).chosen;
    let mut first = chosen(1);
    assert_eq!(first, chosen(1));
    assert_ne!(first, chosen(2));
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 8);
}

#[test]
fn samples_that_do_not_fit_are_refused() {
    let graph = graph();
    let layers = layers(&graph, &graph.shapes().unwrap());
    let dataset = Dataset::new(numbers(30, 1), vec![10], None).unwrap();
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let calibration = Calibration::new(samples, 3, 0);
    let error = gram(&graph, &layers[0], &calibration).unwrap_err();
    assert!(matches!(error, EvalError::Shape { .. }), "{error}");
}
