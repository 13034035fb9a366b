//! Scores of a network with a grouped convolution, made by `tests/criteria/make_goldens.py` from the definitions.

use secateur_format::graph::Tensor;
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Op, Shape, TensorId};
use serde_json::Value;

use super::support::{Net, calibration, close};
use crate::data::Dataset;
use crate::train::Loss;

const GOLDEN: &str = include_str!("../../../tests/criteria/golden.json");

/// `[out, in / groups, height, width]` of the convolution.
const OIHW: [u32; 4] = [4, 2, 3, 2];

fn numbers(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap() as f32).collect()
}

#[test]
fn scores_are_those_of_numpy() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let part = |name: &str| numbers(&golden["net"][name]);
    let conv = Conv2d {
        weight: TensorId(0),
        bias: None,
        out_channels: 4,
        groups: 2,
        kernel: [3, 2],
        stride: [1, 2],
        dilation: [1, 1],
        pads: [1, 0, 1, 0],
        activation: Activation::Identity,
    };
    let net = Net::new(&[4, 4, 4])
        .conv("conv", conv, &part("conv.weight"), &part("conv.bias"))
        .push("flat", Op::Reshape(Shape::new(&[32]).unwrap()))
        .linear("fc", 3, &part("fc.weight"), Some(&part("fc.bias")));
    let labels = numbers(&golden["labels"]).into_iter().map(|label| label as u32);
    let dataset = Dataset::new(numbers(&golden["samples"]), vec![4, 4, 4], Some(labels.collect())).unwrap();
    let calibration = calibration(&dataset, Loss::CrossEntropy { smoothing: 0.0 });
    let scores = golden["scores"].as_object().unwrap();
    assert_eq!(scores.len(), 8);
    for (criterion, expected) in scores {
        let found = net.scores(criterion, Some(&calibration)).unwrap();
        // GraSP is a difference of f32 gradients that are nearly equal.
        let tolerance = if criterion == "grasp" { 1e-2 } else { 1e-4 };
        for (found, layer) in found.iter().zip(["conv", "fc"]) {
            let expected = numbers(&expected[layer]);
            let expected = match layer {
                "conv" => Tensor::from_oihw("", OIHW, &expected).unwrap().data,
                _ => expected,
            };
            let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
            close(&format!("{criterion}, {layer}"), found, &expected, tolerance);
        }
    }
}
