//! Networks with random weights, built node by node.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{BatchNorm, Conv2d, Linear, Pool, PoolKind};
use secateur_format::{Activation, MAX_RANK, Op, Shape, TensorId, ValueId};

pub(super) struct Net {
    pub(super) graph: Graph,
    rng: ChaCha8Rng,
}

impl Net {
    pub(super) fn new(seed: u64, dims: &[u32]) -> Self {
        let shape = Shape::new(dims).unwrap();
        let graph = Graph {
            inputs: vec![Input {
                name: "x".into(),
                shape,
            }],
            ..Graph::default()
        };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { graph, rng }
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.rng.next_u32() % n
    }

    pub(super) fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Uniform in -1..1.
    pub(super) fn number(&mut self) -> f32 {
        (f64::from(self.rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    }

    pub(super) fn shape(&self, value: ValueId) -> Vec<u32> {
        let shapes = self.graph.shapes().unwrap_or_else(|_| vec![self.graph.inputs[0].shape]);
        shapes[usize::from(value.0)].dims().to_vec()
    }

    pub(super) fn node(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.nodes.push(NodeDef {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        });
        let output = self.graph.output_of(self.graph.nodes.len() - 1);
        self.graph.outputs = vec![output];
        self.graph.shapes().unwrap();
        output
    }

    pub(super) fn tensor(&mut self, name: String, rows: u32, cols: u32) -> TensorId {
        let scale = 1.5 / (cols as f32).sqrt();
        let data = (0..rows * cols).map(|_| scale * self.number()).collect();
        self.graph.tensors.push(Tensor { name, rows, cols, data });
        TensorId(self.graph.tensors.len() as u16 - 1)
    }

    /// Of stride 1, padded to keep the extent.
    pub(super) fn conv(&mut self, name: &str, x: ValueId, out: u32, groups: u32, kernel: u16) -> ValueId {
        let cols = self.shape(x)[0] / groups * u32::from(kernel) * u32::from(kernel);
        let weight = self.tensor(format!("{name}.weight"), out, cols);
        let biased = self.chance();
        let bias = biased.then(|| self.tensor(format!("{name}.bias"), 1, out));
        let conv = Conv2d {
            weight,
            bias,
            out_channels: out,
            groups,
            kernel: [kernel; 2],
            stride: [1; 2],
            dilation: [1; 2],
            pads: [kernel / 2; 4],
            activation: Activation::Identity,
        };
        self.node(name, Op::Conv2d(conv), &[x])
    }

    pub(super) fn linear(&mut self, name: &str, x: ValueId, out: u32) -> ValueId {
        let cols = self.shape(x)[0];
        let weight = self.tensor(format!("{name}.weight"), out, cols);
        let linear = Linear {
            weight,
            bias: Some(self.tensor(format!("{name}.bias"), 1, out)),
            out_features: out,
            activation: Activation::Identity,
        };
        self.node(name, Op::Linear(linear), &[x])
    }

    pub(super) fn batch_norm(&mut self, name: &str, x: ValueId) -> ValueId {
        let channels = self.shape(x)[0];
        let [scale, bias, mean, var] =
            ["scale", "bias", "mean", "var"].map(|part| self.tensor(format!("{name}.{part}"), 1, channels));
        let variances = &mut self.graph.tensors[usize::from(var.0)].data;
        variances.iter_mut().for_each(|v| *v = 0.5 + v.abs());
        let eps = 1e-3;
        let bn = BatchNorm {
            scale,
            bias,
            mean,
            var,
            eps,
        };
        self.node(name, Op::BatchNorm(bn), &[x])
    }

    pub(super) fn act(&mut self, name: &str, x: ValueId, activation: Activation) -> ValueId {
        self.node(name, Op::Activation(activation), &[x])
    }

    pub(super) fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> ValueId {
        self.node(name, Op::Add(Activation::Identity), &[a, b])
    }

    pub(super) fn concat(&mut self, name: &str, inputs: &[ValueId]) -> ValueId {
        self.node(name, Op::Concat { axis: 0 }, inputs)
    }

    pub(super) fn pool(&mut self, name: &str, x: ValueId, kind: PoolKind) -> ValueId {
        let pool = Pool {
            kind,
            kernel: [2; 2],
            stride: [1; 2],
            pads: [0; 4],
        };
        self.node(name, Op::Pool(pool), &[x])
    }

    pub(super) fn reshape(&mut self, name: &str, x: ValueId, dims: &[u32]) -> ValueId {
        self.node(name, Op::Reshape(Shape::new(dims).unwrap()), &[x])
    }

    pub(super) fn flatten(&mut self, name: &str, x: ValueId) -> ValueId {
        let elems = self.shape(x).iter().product();
        self.reshape(name, x, &[elems])
    }

    /// Zeros before and behind the channels.
    pub(super) fn pad_channels(&mut self, name: &str, x: ValueId, before: u16, after: u16) -> ValueId {
        let [before, after] = [before, after].map(|n| std::array::from_fn(|axis| if axis == 0 { n } else { 0 }));
        let value = 0.0;
        self.node(name, Op::Pad { before, after, value }, &[x])
    }

    pub(super) fn slice_channels(&mut self, name: &str, x: ValueId, range: std::ops::Range<u32>, by: u32) -> ValueId {
        let shape = self.shape(x);
        let mut slice = ([0; MAX_RANK], [1; MAX_RANK], [1; MAX_RANK]);
        for (end, dim) in slice.1.iter_mut().zip(&shape) {
            *end = *dim;
        }
        (slice.0[0], slice.1[0], slice.2[0]) = (range.start, range.end, by);
        let (start, end, step) = slice;
        self.node(name, Op::Slice { start, end, step }, &[x])
    }
}
