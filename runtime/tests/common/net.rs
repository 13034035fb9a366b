//! Graphs with random constants, written, read and run.

use secateur_format::container::writer::{Extras, Layout};
use secateur_format::encoding::{Encoding, Matrix, MatrixDesc, Packed, ValueType, decode};
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::{Conv2d, Linear};
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Activation, Limits, Model, Op, Shape, TensorId, ValueId};
use secateur_runtime::kernel::{self, Kernel};
use secateur_runtime::prepared::{Options, Prepared};
use secateur_runtime::{ArenaBuf, Session};

use super::approx::Approx;
use super::matrices::{Rng, encodings, layouts, packed};
use super::reference;

/// A shape that is known to be valid.
pub(crate) fn shape(dims: &[u32]) -> Shape {
    Shape::new(dims).unwrap()
}

/// A graph under construction.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    packed: Vec<Packed>,
    shapes: Vec<Shape>,
    pub(crate) rng: Rng,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            graph: Graph::default(),
            packed: Vec::new(),
            shapes: Vec::new(),
            rng: Rng::new(seed),
        }
    }

    /// A graph of one input and one operator.
    pub(crate) fn of(input: &[u32], op: Op) -> Self {
        let mut net = Self::new(7);
        let x = net.input(input);
        net.node(op, &[x]);
        net
    }

    /// All inputs come before the first node.
    pub(crate) fn input(&mut self, dims: &[u32]) -> ValueId {
        let (name, shape) = (format!("input{}", self.shapes.len()), Shape::new(dims).unwrap());
        self.graph.inputs.push(Input { name, shape });
        self.shapes.push(shape);
        ValueId(self.shapes.len() as u16 - 1)
    }

    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.shapes[usize::from(id.0)]
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (ValueId, Shape)> + use<'_> {
        (0..).map(ValueId).zip(self.shapes.iter().copied())
    }

    /// Random weights in a random encoding.
    pub(crate) fn weight(&mut self, rows: u32, cols: u32) -> TensorId {
        let layout = self.rng.pick(&layouts());
        let fitting = encodings(layout, rows as usize, cols as usize);
        let encoding = match fitting.is_empty() {
            true => Encoding::Csr16,
            false => self.rng.pick(&fitting),
        };
        let values = self.rng.pick(&[ValueType::F32, ValueType::F16, ValueType::Bf16]);
        self.weight_as(rows, cols, encoding, values)
    }

    pub(crate) fn weight_as(&mut self, rows: u32, cols: u32, encoding: Encoding, values: ValueType) -> TensorId {
        let mut weights = self.rng.weights(rows as usize, cols as usize, 0.4, false);
        // Values keep about their size from layer to layer.
        weights.iter_mut().for_each(|w| *w *= 2.0 / (cols as f32).sqrt());
        self.constant(rows, cols, packed(&weights, cols as usize, encoding, values))
    }

    pub(crate) fn bias(&mut self, len: u32) -> TensorId {
        let values = self.rng.values(len as usize);
        self.constant(1, len, packed(&values, len as usize, Encoding::Dense, ValueType::F32))
    }

    fn constant(&mut self, rows: u32, cols: u32, packed: Packed) -> TensorId {
        let payload = ArenaBuf::copy_of(&packed.payload);
        let matrix = Matrix::read(&packed.desc, payload.as_ref(), 0).unwrap();
        // As they are read back: the reference must not see what rounding takes away.
        let data = decode(&matrix, &packed.desc);
        let name = format!("tensor{}", self.packed.len());
        self.graph.tensors.push(Tensor { name, rows, cols, data });
        self.packed.push(packed);
        TensorId(self.packed.len() as u16 - 1)
    }

    /// Appends a node. It is the output until another is appended or chosen.
    pub(crate) fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.shape(id)).collect();
        self.shapes.push(op.infer(&shapes).unwrap());
        let (name, inputs) = (format!("node{}", self.graph.nodes.len()), inputs.to_vec());
        self.graph.nodes.push(NodeDef { name, op, inputs });
        let id = ValueId(self.shapes.len() as u16 - 1);
        self.graph.outputs = vec![id];
        id
    }

    /// Appends a convolution with random weights, and a bias every other time.
    pub(crate) fn conv(&mut self, conv: Conv2d, input: ValueId) -> ValueId {
        let cols = conv
            .cols(self.shape(input).dims()[0])
            .expect("groups divide the channels");
        let weight = self.weight(conv.out_channels, cols);
        let bias = self.rng.next().is_multiple_of(2).then(|| self.bias(conv.out_channels));
        self.node(Op::Conv2d(Conv2d { weight, bias, ..conv }), &[input])
    }

    /// Appends a linear layer with random weights, and a bias every other time.
    pub(crate) fn linear(&mut self, out_features: u32, activation: Activation, input: ValueId) -> ValueId {
        let weight = self.weight(out_features, self.shape(input).dims()[0]);
        let bias = self.rng.next().is_multiple_of(2).then(|| self.bias(out_features));
        let op = Linear {
            weight,
            bias,
            out_features,
            activation,
        };
        self.node(Op::Linear(op), &[input])
    }

    /// The model file, aligned.
    pub(crate) fn file(&self, options: &PlanOptions) -> ArenaBuf {
        self.file_with(options, &Extras::default())
    }

    /// The same with more in it.
    pub(crate) fn file_with(&self, options: &PlanOptions, extras: &Extras) -> ArenaBuf {
        let descs: Vec<MatrixDesc> = self.packed.iter().map(|p| p.desc).collect();
        let layout = Layout::new(&self.graph, &descs, options, extras).unwrap();
        ArenaBuf::copy_of(&layout.write(&self.packed).unwrap())
    }

    pub(crate) fn random_inputs(&mut self) -> Vec<Vec<f32>> {
        let lens: Vec<usize> = self.graph.inputs.iter().map(|input| input.shape.elems()).collect();
        lens.into_iter().map(|len| self.rng.values(len)).collect()
    }

    /// Compares sessions of all kinds with the reference.
    pub(crate) fn check(&mut self) {
        let inputs = self.random_inputs();
        let values = reference::run(&self.graph, &inputs);
        let mut scalar: Option<Vec<Vec<f32>>> = None;
        for (scratch, align) in [(Scratch::Packed, 64), (Scratch::None, 4)] {
            let file = self.file(&PlanOptions { scratch, align });
            let model = model(&file);
            let plain = run(&model, kernel::SCALAR, &inputs);
            for (kind, outputs) in [
                ("plain", &plain),
                ("fast", &run(&model, kernel::ALL, &inputs)),
                ("prepared", &run_prepared(&model, &Options::default(), &inputs)),
            ] {
                self.compare(&values, outputs, &format!("{scratch:?}, {kind} kernels"));
            }
            // Plain kernels accumulate in one order, wherever their input lies.
            let first = scalar.get_or_insert_with(|| plain.clone());
            assert_eq!(bits(first), bits(&plain), "{scratch:?}: {:#?}", self.graph.nodes);
        }
    }

    /// Compares outputs with the reference's values.
    pub(crate) fn compare(&self, values: &[Vec<Approx>], outputs: &[Vec<f32>], session: &str) {
        for (id, output) in self.graph.outputs.iter().zip(outputs) {
            let expected = &values[usize::from(id.0)];
            assert_eq!(output.len(), expected.len());
            for (i, (y, expected)) in output.iter().zip(expected).enumerate() {
                let place = format!("value {} [{i}], {session}", id.0);
                assert!(
                    expected.error < 0.1 + 0.01 * expected.value.abs(),
                    "{place}: {expected:?} says nothing"
                );
                assert!(
                    expected.admits(*y),
                    "{place}: {y} is not {expected:?} in {:#?}",
                    self.graph.nodes
                );
            }
        }
    }
}

pub(crate) fn bits(values: &[Vec<f32>]) -> Vec<Vec<u32>> {
    values.iter().map(|v| v.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The model in a file that is known to be valid.
pub(crate) fn model(file: &ArenaBuf) -> Model<'_> {
    Model::read(file.as_ref(), &Limits::HOST).unwrap()
}

/// The outputs of a session with the given kernels.
pub(crate) fn run(model: &Model<'_>, kernels: &'static [Kernel], inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut arena = garbage(model);
    repeat(
        &mut Session::with_kernels(model, arena.as_mut(), kernels).unwrap(),
        inputs,
    )
}

/// The outputs of a prepared session.
pub(crate) fn run_prepared(model: &Model<'_>, options: &Options, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let (mut arena, prepared) = (garbage(model), Prepared::new(model, options).unwrap());
    repeat(
        &mut Session::with_prepared(model, arena.as_mut(), prepared).unwrap(),
        inputs,
    )
}

/// An arena that holds nothing but NaN.
fn garbage(model: &Model<'_>) -> ArenaBuf {
    let mut arena = ArenaBuf::for_model(model);
    arena.as_mut().fill(0xff);
    arena
}

/// The outputs of a session: the same again after a run on other inputs.
fn repeat(session: &mut Session<'_, '_>, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let outputs = once(session, inputs);
    let others: Vec<Vec<f32>> = inputs.iter().map(|x| x.iter().map(|x| 1.0 - x).collect()).collect();
    once(session, &others);
    assert_eq!(bits(&outputs), bits(&once(session, inputs)), "a later run differs");
    outputs
}

fn once(session: &mut Session<'_, '_>, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    for (i, input) in inputs.iter().enumerate() {
        session.input_mut(i).unwrap().copy_from_slice(input);
    }
    session.run().unwrap();
    let outputs = 0..session.model().outputs().len();
    outputs.map(|i| session.output(i).unwrap().to_vec()).collect()
}
