//! Operators: shapes and addresses. One file per operator; arithmetic that is
//! worth a kernel is in [`crate::kernel`].

mod concat;
pub(crate) mod conv;
mod elementwise;
pub(crate) mod linear;
mod pad;
mod pool;
mod slice;
mod softmax;

use secateur_format::encoding::Matrix;
use secateur_format::{Model, Node, Op, Shape, TensorId, ValueId};

use crate::RunError;
use crate::arena::Carved;
use crate::kernel::{self, Combine, Kernel, Problem};

/// A value that a node reads.
#[derive(Clone, Copy)]
struct Input<'a> {
    shape: Shape,
    /// `None`: the output has taken over its memory.
    data: Option<&'a [f32]>,
}

/// One node with its memory.
struct Task<'m, 'a> {
    model: &'a Model<'m>,
    node: &'a Node<'m>,
    memory: Carved<'a>,
    kernels: &'static [Kernel],
}

impl<'m, 'a> Task<'m, 'a> {
    fn internal(&self) -> RunError {
        RunError::Internal {
            node: self.node.index as u32,
        }
    }

    fn inputs(&self) -> impl Iterator<Item = ValueId> + Clone + use<'m> {
        self.node.inputs()
    }

    fn read(&self, id: ValueId) -> Input<'a> {
        let shape = self.model.shape(id);
        Input {
            shape,
            data: self.memory.get(self.model.plan().value(id, shape)),
        }
    }

    /// The first input.
    fn input(&self) -> Result<Input<'a>, RunError> {
        self.inputs().next().map(|id| self.read(id)).ok_or(self.internal())
    }

    /// The first input, which must not share memory with the output.
    fn input_data(&self) -> Result<(Shape, &'a [f32]), RunError> {
        let input = self.input()?;
        Ok((input.shape, input.data.ok_or(self.internal())?))
    }

    fn output_shape(&self) -> Shape {
        self.model.shape(self.node.output)
    }

    fn matrix(&self, id: TensorId) -> Result<Matrix<'m>, RunError> {
        self.model.tensor(id).map(|(_, matrix)| matrix).ok_or(self.internal())
    }

    fn bias(&self, id: Option<TensorId>) -> Option<&'m [f32]> {
        self.model.vector(id?)
    }

    fn kernel(&self) -> Result<&'static Kernel, RunError> {
        kernel_of(self.model, self.node, self.kernels)?.ok_or(self.internal())
    }
}

/// The kernel that runs a node; `None` for operators without weights.
pub(crate) fn kernel_of(
    model: &Model<'_>,
    node: &Node<'_>,
    kernels: &'static [Kernel],
) -> Result<Option<&'static Kernel>, RunError> {
    let missing = RunError::NoKernel {
        node: node.index as u32,
    };
    let Some(weight) = node.op.weight() else {
        return Ok(None);
    };
    let (desc, _) = model.tensor(weight).ok_or(missing)?;
    let input = node.inputs().next().map_or(Shape::SCALAR, |id| model.shape(id));
    let find = |problem| kernel::select(kernels, problem, desc.encoding, desc.values);
    let problem = match &node.op {
        Op::Conv2d(conv) => {
            // Where there is one, a kernel without copies beats a product of one channel.
            if let (true, Some(kernel)) = (conv::is_depthwise(conv, input), find(Problem::Depthwise)) {
                return Ok(Some(kernel));
            }
            conv::problem(conv, input, model.plan().scratch(node.index).bytes())
        }
        _ if linear::tokens(input) == 1 => Problem::Spmv,
        _ => Problem::Spmm,
    };
    find(problem).map(Some).ok_or(missing)
}

/// Runs one node.
pub(crate) fn run<'m>(
    model: &Model<'m>,
    node: &Node<'m>,
    memory: Carved<'_>,
    kernels: &'static [Kernel],
) -> Result<(), RunError> {
    let mut task = Task {
        model,
        node,
        memory,
        kernels,
    };
    match &node.op {
        Op::Conv2d(conv) => conv::run(&mut task, conv),
        Op::Linear(linear) => linear::run(&mut task, linear),
        Op::Activation(activation) => elementwise::activation(&mut task, *activation),
        Op::Add(activation) => elementwise::binary(&mut task, Combine::Sum, *activation),
        Op::Mul => elementwise::binary(&mut task, Combine::Product, secateur_format::Activation::Identity),
        Op::Concat { axis } => concat::run(&mut task, usize::from(*axis)),
        Op::Pool(pool) => pool::run(&mut task, pool),
        Op::GlobalAvgPool => pool::global_average(&mut task),
        Op::Reshape(_) => elementwise::activation(&mut task, secateur_format::Activation::Identity),
        Op::Pad { before, value, .. } => pad::run(&mut task, before, *value),
        Op::Slice { start, step, .. } => slice::run(&mut task, start, step),
        Op::Softmax { axis } => softmax::run(&mut task, usize::from(*axis)),
        // Batch norms are folded before a file is written.
        _ => Err(RunError::Internal {
            node: node.index as u32,
        }),
    }
}
