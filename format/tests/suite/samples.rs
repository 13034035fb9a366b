//! Small models for the tests, made the same way on every machine.

use secateur_format::container::writer::{Extras, Layout, Preprocess, Tuned, Tuning};
use secateur_format::encoding::{BlockIndex, Encoding, MatrixDesc, Packed, Quantized, ValueType, describe, pack};
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{Conv2d, Linear, Pool, PoolKind};
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

use crate::forge::File;

pub(crate) const VALUE_TYPES: [ValueType; 4] = [ValueType::F32, ValueType::F16, ValueType::Bf16, ValueType::I8];

/// A model and how to write it.
#[derive(Clone, Default)]
pub(crate) struct Sample {
    pub(crate) graph: Graph,
    /// One per tensor.
    pub(crate) stored_as: Vec<(Encoding, ValueType)>,
    pub(crate) options: PlanOptions,
    pub(crate) extras: Extras,
}

impl Sample {
    pub(crate) fn quantized(&self) -> Vec<Quantized> {
        let tensors = self.graph.tensors.iter().zip(&self.stored_as);
        tensors
            .map(|(t, (_, values))| Quantized::new(&t.data, t.cols, *values).unwrap())
            .collect()
    }

    pub(crate) fn descs(&self) -> Vec<MatrixDesc> {
        self.quantized()
            .iter()
            .zip(&self.stored_as)
            .map(|(q, (e, _))| describe(q, *e).unwrap())
            .collect()
    }

    pub(crate) fn packed(&self) -> Vec<Packed> {
        self.quantized()
            .iter()
            .zip(&self.stored_as)
            .map(|(q, (e, _))| pack(q, *e).unwrap())
            .collect()
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.graph, &self.descs(), &self.options, &self.extras).unwrap()
    }

    pub(crate) fn file(&self) -> File {
        File::new(&self.layout().write(&self.packed()).unwrap())
    }

    pub(crate) fn input(&mut self, name: &str, dims: &[u32]) -> ValueId {
        assert!(self.graph.nodes.is_empty(), "inputs come first");
        self.graph.inputs.push(Input {
            name: name.into(),
            shape: Shape::new(dims).unwrap(),
        });
        ValueId(self.graph.inputs.len() as u16 - 1)
    }

    pub(crate) fn node(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.nodes.push(NodeDef {
            name: name.into(),
            op,
            inputs: inputs.into(),
        });
        self.graph.output_of(self.graph.nodes.len() - 1)
    }

    pub(crate) fn tensor(&mut self, tensor: Tensor, encoding: Encoding, values: ValueType) -> TensorId {
        self.graph.tensors.push(tensor);
        self.stored_as.push((encoding, values));
        TensorId(self.graph.tensors.len() as u16 - 1)
    }

    /// A weight matrix whose pattern suits `encoding`.
    pub(crate) fn weight(&mut self, rows: u32, cols: u32, encoding: Encoding, values: ValueType) -> TensorId {
        let name = format!("weight{}", self.graph.tensors.len());
        self.tensor(
            Tensor {
                name,
                rows,
                cols,
                data: pattern(rows, cols, encoding),
            },
            encoding,
            values,
        )
    }

    pub(crate) fn bias(&mut self, len: u32) -> Option<TensorId> {
        let name = format!("bias{}", self.graph.tensors.len());
        let data = (0..len).map(|i| 0.25 * i as f32 - 1.0).collect();
        Some(self.tensor(Tensor::vector(name, data), Encoding::Dense, ValueType::F32))
    }
}

/// Multiples of 1/16, exact in every value type but i8.
pub(crate) fn weight_at(row: u32, col: u32) -> f32 {
    let hash = (row * 31 + col).wrapping_mul(2_654_435_761) >> 16;
    (hash % 64) as f32 / 16.0 - 2.0 + 1.0 / 32.0
}

/// Weights with the zeros where `encoding` wants them, about one in sixteen kept.
fn pattern(rows: u32, cols: u32, encoding: Encoding) -> Vec<f32> {
    let keep = |row: u32, col: u32| match encoding {
        Encoding::Dense => true,
        Encoding::Nm { n, m } => {
            let (group, at) = (col / u32::from(m), col % u32::from(m));
            // The first groups hold fewer than n, so that zeros are stored too.
            (at + group + row) % u32::from(m) < u32::from(n) && group > 1
        }
        Encoding::Block { r, c, .. } => (row / u32::from(r) * 7 + col / u32::from(c)) % 16 == 5,
        _ => (row * 7 + col) % 16 == 5,
    };
    let places = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
    places
        .map(|(row, col)| if keep(row, col) { weight_at(row, col) } else { 0.0 })
        .collect()
}

/// One linear per encoding, all with weights of type `values`; 272 columns make two windows.
pub(crate) fn encodings(values: ValueType) -> Sample {
    let mut sample = Sample::default();
    let x = sample.input("x", &[272]);
    let sparse = [
        Encoding::Csr16,
        Encoding::Win8,
        Encoding::Bitmask,
        Encoding::Nm { n: 1, m: 16 },
        Encoding::Block {
            r: 2,
            c: 8,
            index: BlockIndex::Csr16,
        },
        Encoding::Block {
            r: 2,
            c: 1,
            index: BlockIndex::Win8,
        },
    ];
    let outputs = sparse.map(|encoding| {
        let weight = sample.weight(2, 272, encoding, values);
        let linear = Linear {
            weight,
            bias: None,
            out_features: 2,
            activation: Activation::Identity,
        };
        sample.node(&encoding.to_string(), Op::Linear(linear), &[x])
    });
    let joined = sample.node("joined", Op::Concat { axis: 0 }, &outputs);
    let weight = sample.weight(3, 12, Encoding::Dense, values);
    let bias = sample.bias(3);
    let linear = Linear {
        weight,
        bias,
        out_features: 3,
        activation: Activation::Identity,
    };
    let y = sample.node("y", Op::Linear(linear), &[joined]);
    sample.graph.outputs = vec![y];
    sample
}

fn conv(weight: TensorId, bias: Option<TensorId>, out_channels: u32) -> Conv2d {
    Conv2d {
        weight,
        bias,
        out_channels,
        groups: 1,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
        activation: Activation::Relu,
    }
}

/// Every operator, every activation, every encoding and value type.
pub(crate) fn operators() -> Sample {
    let mut s = Sample::default();
    let image = s.input("image", &[4, 6, 6]);
    let tokens = s.input("Wörter", &[3, 5]);

    let block = Encoding::Block {
        r: 4,
        c: 4,
        index: BlockIndex::Csr16,
    };
    let (weight, bias) = (s.weight(8, 36, block, ValueType::F32), s.bias(8));
    let stem = s.node("stem", Op::Conv2d(conv(weight, bias, 8)), &[image]);
    let depthwise = Conv2d {
        groups: 8,
        stride: [2, 2],
        pads: [1, 1, 0, 0],
        activation: Activation::LeakyRelu(0.125),
        ..conv(s.weight(8, 9, Encoding::Csr16, ValueType::F16), None, 8)
    };
    let depthwise = s.node("depthwise", Op::Conv2d(depthwise), &[stem]);
    let dilated = Conv2d {
        groups: 2,
        kernel: [2, 2],
        dilation: [2, 2],
        pads: [0; 4],
        activation: Activation::Relu6,
        ..conv(s.weight(4, 16, Encoding::Nm { n: 2, m: 4 }, ValueType::I8), None, 4)
    };
    let dilated = s.node("dilated", Op::Conv2d(dilated), &[stem]);

    let gelu = s.node("gelu", Op::Activation(Activation::Gelu), &[stem]);
    let sum = s.node("sum", Op::Add(Activation::Silu), &[stem, gelu]);
    let square = s.node("square", Op::Mul, &[sum, sum]);
    let pool = |kind, kernel, stride, pads| {
        Op::Pool(Pool {
            kind,
            kernel,
            stride,
            pads,
        })
    };
    let max = s.node("max", pool(PoolKind::Max, [2, 2], [2, 2], [0; 4]), &[square]);
    let mean = s.node("mean", pool(PoolKind::Average, [3, 3], [1, 1], [1; 4]), &[depthwise]);
    let padded_mean = pool(PoolKind::AverageWithPadding, [2, 2], [1, 1], [1, 0, 0, 1]);
    let padded_mean = s.node("padded mean", padded_mean, &[max]);
    let joined = s.node("joined", Op::Concat { axis: 0 }, &[depthwise, mean, padded_mean]);
    let padding = Op::Pad {
        before: [0, 1, 0, 0],
        after: [0, 0, 2, 0],
        value: -1.5,
    };
    let padded = s.node("padded", padding, &[joined]);
    let slice = Op::Slice {
        start: [2, 0, 1, 0],
        end: [24, 4, 5, 1],
        step: [3, 1, 2, 1],
    };
    let sliced = s.node("sliced", slice, &[padded]);
    let reshaped = s.node("reshaped", Op::Reshape(Shape::new(&[8, 8]).unwrap()), &[sliced]);

    let (weight, bias) = (s.weight(6, 8, Encoding::Win8, ValueType::Bf16), s.bias(6));
    let linear = Linear {
        weight,
        bias,
        out_features: 6,
        activation: Activation::Sigmoid,
    };
    let per_token = s.node("per token", Op::Linear(linear), &[reshaped]);
    let softmax = s.node("softmax", Op::Softmax { axis: 0 }, &[per_token]);
    let means = s.node("means", Op::GlobalAvgPool, &[sliced]);
    let weight = s.weight(3, 8, Encoding::Bitmask, ValueType::I8);
    let linear = Linear {
        weight,
        bias: None,
        out_features: 3,
        activation: Activation::Tanh,
    };
    let head = s.node("head", Op::Linear(linear), &[means]);
    let other = s.node("other", Op::GlobalAvgPool, &[dilated]);
    let both = s.node("both", Op::Concat { axis: 0 }, &[head, other]);
    let identity = s.node("identity", Op::Activation(Activation::Identity), &[both]);
    let swish = s.node("swish", Op::Activation(Activation::HardSwish), &[tokens]);
    let block = Encoding::Block {
        r: 1,
        c: 2,
        index: BlockIndex::Win8,
    };
    let weight = s.weight(2, 6, Encoding::Dense, ValueType::F32);
    let linear = Linear {
        weight,
        bias: None,
        out_features: 2,
        activation: Activation::Identity,
    };
    let dense = s.node("dense", Op::Linear(linear), &[softmax]);
    let weight = s.weight(2, 2, block, ValueType::F16);
    let linear = Linear {
        weight,
        bias: None,
        out_features: 2,
        activation: Activation::Identity,
    };
    let last = s.node("last", Op::Linear(linear), &[dense]);
    s.graph.outputs = vec![last, swish, identity];
    s.extras = Extras {
        strip: false,
        preprocess: Some(Preprocess {
            scale: 0.5,
            mean: vec![0.25, 0.5, 0.75, 1.0],
            std: vec![0.125],
        }),
        info: vec![("generator".into(), "secateur".into()), ("empty".into(), String::new())],
        tuning: Some(Tuning {
            machine: "a machine".into(),
            nodes: [(0, 4, 128, "kernel_a"), (3, 0, 0, "kernel_b")]
                .map(|(node, vectors, window, kernel)| Tuned {
                    node,
                    vectors,
                    window,
                    kernel: kernel.into(),
                })
                .into(),
        }),
    };
    s
}

/// [`operators`] without text.
pub(crate) fn stripped() -> Sample {
    let mut sample = operators();
    sample.extras.strip = true;
    sample
}

/// What is rare, planned for a microcontroller: values of rank 4 and inner
/// axes, positions of 3 bits, masks and groups of odd width, a tensor that two
/// nodes share and one that none uses and that has empty rows, names and keys
/// that repeat.
pub(crate) fn corners() -> Sample {
    let mut s = Sample::default();
    let heads = s.input("heads", &[2, 3, 2, 4]);
    let vector = s.input("", &[15]);
    s.options = PlanOptions {
        scratch: Scratch::None,
        align: 4,
    };

    let softmax = s.node("inner", Op::Softmax { axis: 2 }, &[heads]);
    let joined = s.node("inner", Op::Concat { axis: 2 }, &[softmax, heads]);
    let image = s.node("image", Op::Reshape(Shape::new(&[12, 2, 4]).unwrap()), &[joined]);
    let pointwise = Conv2d {
        kernel: [1, 1],
        stride: [1, 2],
        pads: [0; 4],
        activation: Activation::LeakyRelu(0.0625),
        ..conv(s.weight(5, 12, Encoding::Nm { n: 2, m: 3 }, ValueType::F16), None, 5)
    };
    let pointwise = s.node("pointwise", Op::Conv2d(pointwise), &[image]);
    let leaky = s.node("leaky", Op::Activation(Activation::LeakyRelu(-0.5)), &[pointwise]);
    let fives = s.node("fives", Op::Reshape(Shape::new(&[20]).unwrap()), &[leaky]);
    let eights = s.node("eights", Op::Reshape(Shape::new(&[96]).unwrap()), &[joined]);

    let linear = |weight, bias| {
        Op::Linear(Linear {
            weight,
            bias,
            out_features: 3,
            activation: Activation::Identity,
        })
    };
    let weight = s.weight(3, 20, Encoding::Nm { n: 2, m: 5 }, ValueType::Bf16);
    let fives = s.node("linear", linear(weight, None), &[fives]);
    let weight = s.weight(3, 96, Encoding::Nm { n: 3, m: 8 }, ValueType::I8);
    let eights = s.node("linear", linear(weight, None), &[eights]);
    let shared = s.weight(3, 15, Encoding::Bitmask, ValueType::F32);
    s.weight(3, 6, Encoding::Csr16, ValueType::F16);
    let bias = s.bias(3);
    let once = s.node("linear", linear(shared, bias), &[vector]);
    let tanh = s.node("tanh", Op::Activation(Activation::Tanh), &[vector]);
    let twice = s.node("linear", linear(shared, bias), &[tanh]);
    s.graph.outputs = vec![fives, eights, once, twice, once];
    s.extras = Extras {
        strip: false,
        preprocess: Some(Preprocess {
            scale: -2.0,
            mean: vec![0.5],
            std: vec![4.0, -0.25],
        }),
        info: vec![("key".into(), "a\0b".into()), ("key".into(), "→".into())],
        tuning: None,
    };
    s
}

/// x → conv → mul with x → leaky relu → reshape → linear.
pub(crate) fn small() -> Sample {
    let mut s = Sample::default();
    let x = s.input("x", &[1, 4, 4]);
    let conv = Conv2d {
        weight: s.weight(1, 9, Encoding::Dense, ValueType::I8),
        bias: s.bias(1),
        out_channels: 1,
        groups: 1,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
        activation: Activation::Relu,
    };
    let conv = s.node("conv", Op::Conv2d(conv), &[x]);
    let product = s.node("product", Op::Mul, &[x, conv]);
    let leaky = s.node("leaky", Op::Activation(Activation::LeakyRelu(0.5)), &[product]);
    let flat = s.node("flat", Op::Reshape(Shape::new(&[16]).unwrap()), &[leaky]);
    let weight = s.weight(2, 16, Encoding::Csr16, ValueType::F16);
    let linear = Linear {
        weight,
        bias: None,
        out_features: 2,
        activation: Activation::Identity,
    };
    let y = s.node("y", Op::Linear(linear), &[flat]);
    s.graph.outputs = vec![y];
    s.extras = operators().extras;
    if let Some(preprocess) = &mut s.extras.preprocess {
        preprocess.mean.truncate(1);
    }
    s
}

/// The samples that are golden files, with their names; golden.rs adds one.
pub(crate) fn all() -> Vec<(String, Sample)> {
    let by_type = VALUE_TYPES.map(|values| (values.to_string(), encodings(values)));
    by_type
        .into_iter()
        .chain([
            ("operators".into(), operators()),
            ("stripped".into(), stripped()),
            ("corners".into(), corners()),
        ])
        .collect()
}
