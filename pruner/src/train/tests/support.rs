//! Graphs whose every gradient can be checked, and the oracle.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{BatchNorm, Linear};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use crate::reference;
use crate::train::{Interpreter, Statistics};

/// Numbers in -1..1.
pub(super) struct Noise(ChaCha8Rng);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn take(&mut self, len: usize) -> Vec<f32> {
        let next = |rng: &mut ChaCha8Rng| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
        (0..len).map(|_| next(&mut self.0)).collect()
    }
}

pub(super) fn shape(dims: &[u32]) -> Shape {
    Shape::new(dims).unwrap()
}

/// A graph that grows.
pub(super) struct Net {
    pub(super) graph: Graph,
    pub(super) noise: Noise,
}

impl Net {
    pub(super) fn new(input: &[u32]) -> Self {
        let inputs = vec![Input {
            name: "x".into(),
            shape: shape(input),
        }];
        Self {
            graph: Graph {
                inputs,
                ..Graph::default()
            },
            noise: Noise::new(1),
        }
    }

    /// A network whose first value has the shape `dims`, and as many parameters as elements: what
    /// reaches it backward is seen element by element.
    pub(super) fn spread(dims: &[u32]) -> Self {
        let mut net = Self::new(&[2]);
        let features = shape(dims).elems() as u32;
        net.linear(features, 2);
        net.push(Op::Reshape(shape(dims)));
        net
    }

    pub(super) fn tensor(&mut self, rows: u32, cols: u32) -> TensorId {
        let id = self.graph.tensors.len();
        let data = self.noise.take((rows * cols) as usize);
        self.graph.tensors.push(Tensor {
            name: format!("t{id}"),
            rows,
            cols,
            data,
        });
        TensorId(id as u16)
    }

    pub(super) fn linear(&mut self, rows: u32, cols: u32) -> ValueId {
        let op = Op::Linear(Linear {
            weight: self.tensor(rows, cols),
            bias: Some(self.tensor(1, rows)),
            out_features: rows,
            activation: Activation::Identity,
        });
        self.push(op)
    }

    pub(super) fn batch_norm(&mut self, channels: u32) -> ValueId {
        let [scale, bias, mean, var] = [(); 4].map(|()| self.tensor(1, channels));
        let positive = &mut self.graph.tensors[usize::from(var.0)].data;
        positive.iter_mut().for_each(|x| *x = x.abs() + 0.5);
        self.push(Op::BatchNorm(BatchNorm {
            scale,
            bias,
            mean,
            var,
            eps: 1e-3,
        }))
    }

    /// Adds a node that reads the last value.
    pub(super) fn push(&mut self, op: Op) -> ValueId {
        self.join(op, &[self.last()])
    }

    pub(super) fn join(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.nodes.push(NodeDef {
            name: format!("n{}", self.graph.nodes.len()),
            op,
            inputs: inputs.to_vec(),
        });
        let last = self.last();
        self.graph.outputs = vec![last];
        last
    }

    pub(super) fn last(&self) -> ValueId {
        ValueId(self.graph.value_count() as u16 - 1)
    }
}

/// Samples, and factors that make a loss of the outputs: Σ factor · y.
pub(super) struct Problem {
    pub(super) inputs: Vec<Vec<f32>>,
    pub(super) factors: Vec<Vec<f32>>,
}

impl Problem {
    pub(super) fn new(graph: &Graph, samples: usize) -> Self {
        let shapes = graph.shapes().unwrap();
        let output = shapes[usize::from(graph.outputs[0].0)];
        let mut noise = Noise::new(2);
        let mut many = |len: usize| (0..samples).map(|_| noise.take(len)).collect::<Vec<_>>();
        Self {
            inputs: many(shapes[0].elems()),
            factors: many(output.elems()),
        }
    }

    /// The loss of the interpreter, and its gradients.
    pub(super) fn gradients(&self, graph: &Graph, statistics: Statistics) -> (f64, Vec<Vec<f32>>) {
        let output = graph.outputs[0];
        let mut interpreter = Interpreter::trainer(graph, output, self.inputs.len(), statistics).unwrap();
        // Twice: what a pass leaves behind must not matter to the next.
        for _ in 0..2 {
            interpreter.set_inputs(self.inputs.len(), |i, x| x.copy_from_slice(&self.inputs[i]));
            interpreter.forward(graph);
        }
        let losses = interpreter.loss(|sample, y, dy| {
            dy.copy_from_slice(&self.factors[sample]);
            y.iter()
                .zip(&*dy)
                .map(|(&y, &factor)| f64::from(y) * f64::from(factor))
                .sum::<f64>()
        });
        interpreter.backward(graph);
        (losses.iter().sum(), interpreter.gradients().to_vec())
    }

    /// The loss of outputs, `[sample][element]`.
    pub(super) fn loss(&self, outputs: &[Vec<f64>]) -> f64 {
        let pairs = outputs.iter().zip(&self.factors);
        pairs
            .flat_map(|(y, factors)| y.iter().zip(factors))
            .map(|(y, &factor)| y * f64::from(factor))
            .sum()
    }

    /// Compares loss and gradients with those of `outputs`, which computes them for all samples in f64.
    pub(super) fn check(&self, graph: &Graph, statistics: Statistics, outputs: impl Fn(&Graph) -> Vec<Vec<f64>>) {
        let (loss, gradients) = self.gradients(graph, statistics);
        let expected = self.loss(&outputs(graph));
        assert!(
            (loss - expected).abs() < 1e-4 * expected.abs().max(1.0),
            "{loss} instead of {expected}"
        );
        let mut checked = 0;
        for (id, gradient) in gradients.iter().enumerate() {
            let largest = gradient.iter().fold(0.1, |max: f32, g| max.max(g.abs()));
            for (at, &found) in gradient.iter().enumerate() {
                let shifted = |by: f32| {
                    let mut graph = graph.clone();
                    graph.tensors[id].data[at] += by;
                    (f64::from(graph.tensors[id].data[at]), self.loss(&outputs(&graph)))
                };
                let ((above, more), (below, less)) = (shifted(1e-4), shifted(-1e-4));
                let expected = (more - less) / (above - below);
                let off = (f64::from(found) - expected).abs();
                assert!(
                    off < 1e-4 * f64::from(largest),
                    "tensor {id}, element {at}: {found} instead of {expected}"
                );
                checked += 1;
            }
        }
        assert!(checked > 0);
    }

    /// [`Problem::check`] against the reference, for graphs without statistics of the batch.
    pub(super) fn check_frozen(&self, graph: &Graph) {
        self.check(graph, Statistics::Frozen, |graph| {
            let run = |x: &Vec<f32>| reference::run(graph, &[x.as_slice()]).unwrap().remove(0);
            self.inputs.iter().map(run).collect()
        });
    }
}
