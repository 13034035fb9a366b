//! Small networks with samples.

use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{Conv2d, Linear};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use crate::calibrate::Calibration;
use crate::criterion::{Criterion, CriterionError, Scores, Subject};
use crate::data::{Dataset, Preprocess};
use crate::layer::{Layer, layers};
use crate::train::{Loss, Samples};

/// What samples become, here: what they are.
pub(super) const PLAIN: &Preprocess = &Preprocess {
    scale: 1.0,
    mean: Vec::new(),
    std: Vec::new(),
};

/// A graph that grows at its end.
pub(super) struct Net(pub(super) Graph);

impl Net {
    pub(super) fn new(input: &[u32]) -> Self {
        let shape = Shape::new(input).unwrap();
        let inputs = vec![Input {
            name: "x".into(),
            shape,
        }];
        Self(Graph {
            inputs,
            ..Graph::default()
        })
    }

    pub(super) fn push(mut self, name: &str, op: Op) -> Self {
        let last = ValueId(self.0.value_count() as u16 - 1);
        self.0.nodes.push(NodeDef {
            name: name.into(),
            op,
            inputs: vec![last],
        });
        self.0.outputs = vec![ValueId(last.0 + 1)];
        self
    }

    fn tensor(&mut self, name: String, rows: u32, data: &[f32]) -> TensorId {
        self.0.tensors.push(Tensor {
            name,
            rows,
            cols: data.len() as u32 / rows,
            data: data.to_vec(),
        });
        TensorId(self.0.tensors.len() as u16 - 1)
    }

    pub(super) fn linear(mut self, name: &str, rows: u32, weights: &[f32], bias: Option<&[f32]>) -> Self {
        let weight = self.tensor(format!("{name}.weight"), rows, weights);
        let bias = bias.map(|bias| self.tensor(format!("{name}.bias"), 1, bias));
        let linear = Linear {
            out_features: rows,
            weight,
            bias,
            activation: Activation::Identity,
        };
        self.push(name, Op::Linear(linear))
    }

    /// A convolution with a ReLU, whose weights are `[out, in / groups, kh, kw]`; `conv` says the rest.
    pub(super) fn conv(mut self, name: &str, conv: Conv2d, weights: &[f32], bias: &[f32]) -> Self {
        let [height, width] = conv.kernel.map(u32::from);
        let inputs = weights.len() as u32 / (conv.out_channels * height * width);
        let oihw = [conv.out_channels, inputs, height, width];
        let weights = Tensor::from_oihw("", oihw, weights).unwrap();
        let weight = self.tensor(format!("{name}.weight"), conv.out_channels, &weights.data);
        let bias = Some(self.tensor(format!("{name}.bias"), 1, bias));
        let activation = Activation::Relu;
        self.push(
            name,
            Op::Conv2d(Conv2d {
                weight,
                bias,
                activation,
                ..conv
            }),
        )
    }

    pub(super) fn layers(&self) -> Vec<Layer> {
        layers(&self.0, &self.0.shapes().unwrap())
    }

    /// Scores of a criterion given as text.
    pub(super) fn scores(
        &self,
        criterion: &str,
        calibration: Option<&Calibration<'_>>,
    ) -> Result<Scores, CriterionError> {
        let criterion: Criterion = criterion.parse().unwrap();
        criterion.scores(&Subject {
            graph: &self.0,
            layers: &self.layers(),
            calibration,
            seed: 1,
        })
    }
}

/// All samples of a data set, for a loss.
pub(super) fn calibration(dataset: &Dataset, loss: Loss) -> Calibration<'_> {
    let samples = Samples {
        dataset,
        preprocess: PLAIN,
    };
    let mut calibration = Calibration::new(samples, usize::MAX, 0);
    calibration.loss = loss;
    calibration
}

/// Compares relative to the numbers, and to the largest of them where they are near zero.
pub(super) fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let off = (found - expected).abs();
        assert!(
            off <= tolerance * (expected.abs() + 0.01 * largest),
            "{what}: {found} instead of {expected}"
        );
    }
}
