//! Against closed forms.

use secateur_format::graph::{Input, NodeDef, Tensor};
use secateur_format::op::Linear;
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use super::*;
use crate::data::{Dataset, Preprocess};

/// y = W x, W `[2, 2]`.
fn linear(weights: [f32; 4]) -> Graph {
    let op = Op::Linear(Linear {
        out_features: 2,
        weight: TensorId(0),
        bias: None,
        activation: Activation::Identity,
    });
    Graph {
        inputs: vec![Input {
            name: "x".into(),
            shape: Shape::new(&[2]).unwrap(),
        }],
        nodes: vec![NodeDef {
            name: "fc".into(),
            op,
            inputs: vec![ValueId(0)],
        }],
        outputs: vec![ValueId(1)],
        tensors: vec![Tensor {
            name: "w".into(),
            rows: 2,
            cols: 2,
            data: weights.to_vec(),
        }],
    }
}

/// algorithms.md 5.9
#[test]
fn the_bound_is_of_second_order() {
    assert!((bound(0.5, 2.0, 0.1) - 0.06).abs() < 1e-12);
}

#[test]
fn curvature_of_a_network_is_that_of_its_closed_form() {
    // Mean squares over 2 outputs: the Hessian is the mean of x xᵀ for each output.
    let dataset = Dataset::new(vec![3.0, 0.0, 0.0, 1.0], vec![2], Some(vec![0, 1])).unwrap();
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let mut calibration = Calibration::of(samples, vec![0, 1]);
    calibration.loss = Loss::MeanSquare;
    let graph = linear([0.5, -0.25, 1.0, 0.75]);
    let mut gradients = Gradients::new(&graph, &calibration, 2, Statistics::Frozen).unwrap();
    let found = largest_eigenvalue(vec![vec![0.5, 0.5, -0.5, 0.5]], |v| {
        gradients.hessian_product(&graph, v, 1e-3)
    });
    assert!((found - 4.5).abs() < 1e-3 * 4.5, "{found}");
}

#[test]
fn a_class_has_the_numbers_of_its_closed_form() {
    // Class 0 is seen at (1, 0) and decided by the first column, class 1 at (0, 1) by the second.
    let inputs = [[1.0, 0.0], [0.0, 1.0]].repeat(3).concat();
    let dataset = Dataset::new(inputs, vec![2], Some([0, 1].repeat(3))).unwrap();
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let (dense, sparse) = (linear([2.0, 0.0, 0.0, 1.0]), linear([2.0, 0.0, 0.0, 0.0]));
    let effort = Effort { samples: 2, seed: 1 };
    let mut ticks = 0;
    let found = impact(&dense, &sparse, samples, effort, || ticks += 1).unwrap();
    assert_eq!((found.shift, ticks), (1.0, 2));
    let [kept, lost] = found.classes.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((kept.excess_loss, kept.interval), (0.0, [0.0; 2]));
    // ln 2 − ln (1 + e⁻¹); all samples are alike, so is every resample.
    let rise = 2f64.ln() - (1.0 + (-1f64).exp()).ln();
    assert!((lost.excess_loss - rise).abs() < 1e-6 && (lost.interval[1] - rise).abs() < 1e-6);
    assert!((found.violation - rise).abs() < 1e-6);
    assert_eq!((lost.count, lost.accuracy_dense, lost.accuracy_sparse), (3, 1.0, 0.0));
    // p = σ(1): the gradient is (1 − p) (1, −1), the Hessian p (1 − p) [[1, −1], [−1, 1]], over the weights of the column.
    let p = 1.0 / (1.0 + (-1f64).exp());
    assert!((lost.gradient_norm - 2f64.sqrt() * (1.0 - p)).abs() < 1e-6);
    assert!(
        (lost.curvature - 2.0 * p * (1.0 - p)).abs() < 1e-3,
        "{}",
        lost.curvature
    );
    assert!((lost.boundary - 2.0 * p * (1.0 - p)).abs() < 1e-6);
    assert!(lost.bound >= lost.excess_loss);
    // The class that is nearer to the boundary has the longer gradient.
    assert!(kept.gradient_norm < lost.gradient_norm && kept.boundary < lost.boundary);
}

#[test]
fn intervals_hold_the_mean_and_narrow_with_samples() {
    let values = |count: usize| (0..count).map(|i| (i * 7919 % 101) as f64 / 101.0).collect::<Vec<_>>();
    let width = |count| {
        let [low, high] = bootstrap(&values(count), 3, 0);
        let mean = values(count).iter().sum::<f64>() / count as f64;
        assert!(low < mean && mean < high);
        high - low
    };
    // A uniform variable has a deviation of 0.289: 1.96 · 2 · 0.289 / √n.
    let (few, many) = (width(100), width(10_000));
    assert!(
        (few - 0.113).abs() < 0.015 && (many - 0.0113).abs() < 0.0015,
        "{few} {many}"
    );
}

#[test]
fn networks_of_other_parameters_are_refused() {
    let dataset = Dataset::new(vec![1.0, 0.0], vec![2], Some(vec![0])).unwrap();
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let mut other = linear([0.0; 4]);
    other.tensors.push(Tensor::vector("b", vec![0.0; 2]));
    let effort = Effort { samples: 1, seed: 0 };
    let error = impact(&linear([1.0; 4]), &other, samples, effort, || ()).unwrap_err();
    assert!(matches!(error, ImpactError::Parameters), "{error}");
}
