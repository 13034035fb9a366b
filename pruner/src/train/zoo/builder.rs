//! Graphs, node by node.

use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{BatchNorm, Conv2d, Linear, Pool, PoolKind};
use secateur_format::{Activation, Op, Shape, ShapeError, TensorId, ValueId};

/// A convolution's attributes.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub(super) filters: u32,
    pub(super) kernel: [u16; 2],
    pub(super) stride: u16,
    /// `[top, left, bottom, right]`.
    pub(super) pads: [u16; 4],
    pub(super) groups: u32,
}

impl Conv {
    /// A square kernel, padded such that stride 1 keeps the size.
    pub(super) fn square(filters: u32, kernel: u16, stride: u16) -> Self {
        Self {
            filters,
            kernel: [kernel; 2],
            stride,
            pads: [kernel / 2; 4],
            groups: 1,
        }
    }
}

/// A graph that grows at its end. Weights are zero.
pub(super) struct Builder {
    graph: Graph,
    shapes: Vec<Shape>,
}

impl Builder {
    pub(super) fn new(shape: Shape) -> Self {
        let inputs = vec![Input {
            name: "input".into(),
            shape,
        }];
        Self {
            graph: Graph {
                inputs,
                ..Graph::default()
            },
            shapes: vec![shape],
        }
    }

    /// The last value.
    pub(super) fn last(&self) -> ValueId {
        ValueId(self.shapes.len() as u16 - 1)
    }

    /// The first extent of the last value: its channels.
    pub(super) fn channels(&self) -> u32 {
        self.shape().dims()[0]
    }

    /// The shape of the last value.
    pub(super) fn shape(&self) -> Shape {
        self.shape_of(self.last())
    }

    pub(super) fn shape_of(&self, value: ValueId) -> Shape {
        self.shapes[usize::from(value.0)]
    }

    /// A node that reads some values.
    pub(super) fn join(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        let shapes: Vec<Shape> = inputs.iter().map(|id| self.shapes[usize::from(id.0)]).collect();
        self.shapes.push(op.infer(&shapes)?);
        self.graph.nodes.push(NodeDef {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
        });
        Ok(self.last())
    }

    /// A node that reads the last value.
    pub(super) fn push(&mut self, name: &str, op: Op) -> Result<ValueId, ShapeError> {
        self.join(name, op, &[self.last()])
    }

    fn tensor(&mut self, name: String, rows: u32, cols: u32) -> TensorId {
        let id = TensorId(self.graph.tensors.len() as u16);
        let data = vec![0.0; rows as usize * cols as usize];
        self.graph.tensors.push(Tensor { name, rows, cols, data });
        id
    }

    pub(super) fn conv(&mut self, name: &str, conv: Conv, bias: bool) -> Result<ValueId, ShapeError> {
        let mut op = Conv2d {
            weight: TensorId(0),
            bias: None,
            out_channels: conv.filters,
            groups: conv.groups,
            kernel: conv.kernel,
            stride: [conv.stride; 2],
            dilation: [1; 2],
            pads: conv.pads,
            activation: Activation::Identity,
        };
        let cols = op.cols(self.channels()).ok_or(ShapeError::Groups)?;
        op.weight = self.tensor(format!("{name}.weight"), conv.filters, cols);
        op.bias = bias.then(|| self.tensor(format!("{name}.bias"), 1, conv.filters));
        self.push(name, Op::Conv2d(op))
    }

    pub(super) fn batch_norm(&mut self, name: &str) -> Result<ValueId, ShapeError> {
        let channels = self.channels();
        let mut vector = |part: &str| self.tensor(format!("{name}.{part}"), 1, channels);
        let op = BatchNorm {
            scale: vector("weight"),
            bias: vector("bias"),
            mean: vector("running_mean"),
            var: vector("running_var"),
            eps: 1e-5,
        };
        self.push(name, Op::BatchNorm(op))
    }

    pub(super) fn relu(&mut self, name: &str) -> Result<ValueId, ShapeError> {
        self.push(name, Op::Activation(Activation::Relu))
    }

    /// Convolution, batch norm and rectifier, named `<prefix>conv<suffix>` and so on.
    pub(super) fn conv_block(&mut self, prefix: &str, suffix: &str, conv: Conv) -> Result<ValueId, ShapeError> {
        self.conv(&format!("{prefix}conv{suffix}"), conv, false)?;
        self.batch_norm(&format!("{prefix}bn{suffix}"))?;
        self.relu(&format!("{prefix}relu{suffix}"))
    }

    pub(super) fn linear(&mut self, name: &str, outputs: u32) -> Result<ValueId, ShapeError> {
        let inputs = self.channels();
        let op = Linear {
            weight: self.tensor(format!("{name}.weight"), outputs, inputs),
            bias: Some(self.tensor(format!("{name}.bias"), 1, outputs)),
            out_features: outputs,
            activation: Activation::Identity,
        };
        self.push(name, Op::Linear(op))
    }

    /// The maxima of windows of 2 x 2.
    pub(super) fn max_pool(&mut self, name: &str) -> Result<ValueId, ShapeError> {
        let pool = Pool {
            kind: PoolKind::Max,
            kernel: [2; 2],
            stride: [2; 2],
            pads: [0; 4],
        };
        self.push(name, Op::Pool(pool))
    }

    pub(super) fn flatten(&mut self, name: &str) -> Result<ValueId, ShapeError> {
        let shape = Shape::new(&[self.shape().elems() as u32])?;
        self.push(name, Op::Reshape(shape))
    }

    /// The graph, whose output is the last value.
    pub(super) fn finish(mut self) -> Graph {
        self.graph.outputs = vec![self.last()];
        self.graph
    }
}
