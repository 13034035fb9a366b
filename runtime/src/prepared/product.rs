//! One linear or convolution node of a prepared model.

use alloc::vec::Vec;

use secateur_format::container::TunedNode;
use secateur_format::encoding::Encoding;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Model, Node, Op, Shape, TensorId};

use super::fuse::Addition;
use super::select::{Options, Task};
use super::{Input, Layer, Lines, Residual, Threads};
use crate::RunError;
use crate::arena::Carved;
use crate::kernel::panel::{Rows, Taps};
use crate::kernel::{Kernel, Offsets};
use crate::op::{conv, linear};

/// A linear or convolution node that panel kernels can run: what there is to
/// choose a kernel for.
#[derive(Debug)]
pub struct Problem {
    rows: Rows,
    encoding: Encoding,
    groups: usize,
    lines: Lines,
    input: Source,
    bias: Option<TensorId>,
    activation: Activation,
}

/// How the input is read.
#[derive(Debug)]
enum Source {
    /// Tokens beside each other.
    Tokens(usize),
    /// Packed phase planes.
    Conv {
        conv: Conv2d,
        geometry: ConvGeometry,
        /// Offset of each weight column; empty for 1x1 kernels.
        table: Vec<u32>,
        /// Whether panels skip pixels of the input as it is.
        skips: bool,
    },
}

impl Source {
    /// The input of a convolution, and its output's pixels there.
    fn conv(conv: &Conv2d, geometry: ConvGeometry) -> (Self, Lines) {
        let skips = conv.kernel == [1, 1] && conv.pads == [0; 4] && conv.stride != [1, 1] && conv.stride[1] <= 2;
        let [down, across] = conv.stride.map(usize::from);
        let (line, step) = match skips {
            true => (down * geometry.input.2 as usize, across),
            false => (geometry.row as usize, 1),
        };
        let lines = Lines {
            lines: geometry.output.1 as usize,
            keep: geometry.output.2 as usize,
            line,
            step,
        };
        let table = conv::column_offsets(conv, &geometry);
        let source = Self::Conv {
            conv: *conv,
            geometry,
            table,
            skips,
        };
        (source, lines)
    }

    /// The convolution, if kernels that do not pad need its input padded before.
    fn padding(&self) -> Option<(&Conv2d, &ConvGeometry)> {
        match self {
            Self::Conv {
                conv,
                geometry,
                skips: false,
                ..
            } if geometry.packs => Some((conv, geometry)),
            _ => None,
        }
    }

    /// Where the runs of the weight columns start, and the distance of two groups.
    fn offsets(&self) -> (Offsets<'_>, usize) {
        match self {
            Self::Tokens(tokens) => (Offsets::Stride(*tokens), 0),
            Self::Conv {
                geometry, table, skips, ..
            } => {
                let stride = match skips {
                    true => geometry.input.1 as usize * geometry.input.2 as usize,
                    false => geometry.channel_stride(),
                };
                let offsets = match table.is_empty() {
                    true => Offsets::Stride(stride),
                    false => Offsets::Table(table),
                };
                (offsets, geometry.group_channels as usize * stride)
            }
        }
    }

    fn taps(&self) -> Option<Taps> {
        let Self::Conv { conv, geometry, .. } = self else {
            return None;
        };
        let direct = conv.stride[1] <= 2 && conv.dilation[1] == 1 && conv.kernel[1] > 1;
        direct.then_some(Taps {
            kernel: conv.kernel.map(usize::from),
            stride: conv.stride.map(usize::from),
            dilation: usize::from(conv.dilation[0]),
            channels: geometry.group_channels as usize,
            input: [geometry.input.1 as usize, geometry.input.2 as usize],
            pads: [usize::from(conv.pads[0]), usize::from(conv.pads[1])],
        })
    }
}

impl Problem {
    /// The problem of a node; `None` for operators without weights, for depthwise convolutions,
    /// products with one column, and convolutions without scratch memory.
    ///
    /// # Errors
    /// [`RunError::Internal`]: none for a model that was read.
    pub fn new(model: &Model<'_>, node: &Node<'_>) -> Result<Option<Self>, RunError> {
        let internal = RunError::Internal {
            node: node.index as u32,
        };
        let shape = node.inputs().next().map_or(Shape::SCALAR, |id| model.shape(id));
        let (weight, bias, activation, groups, lines, input) = match &node.op {
            Op::Conv2d(conv) => {
                let scratch = model.plan().scratch(node.index).bytes();
                let geometry = ConvGeometry::new(conv, shape).map_err(|_| internal)?;
                if geometry.scratch_bytes(conv) != scratch || conv::is_depthwise(conv, shape) {
                    return Ok(None);
                }
                let (input, lines) = Source::conv(conv, geometry);
                (
                    conv.weight,
                    conv.bias,
                    conv.activation,
                    conv.groups as usize,
                    lines,
                    input,
                )
            }
            Op::Linear(linear) => {
                let tokens = linear::tokens(shape);
                if tokens == 1 {
                    return Ok(None);
                }
                let lines = Lines {
                    lines: 1,
                    keep: tokens,
                    line: tokens,
                    step: 1,
                };
                (
                    linear.weight,
                    linear.bias,
                    linear.activation,
                    1,
                    lines,
                    Source::Tokens(tokens),
                )
            }
            _ => return Ok(None),
        };
        let (desc, matrix) = model.tensor(weight).ok_or(internal)?;
        Ok(Some(Self {
            rows: Rows::of(&matrix, desc.cols as usize),
            encoding: desc.encoding,
            groups,
            lines,
            input,
            bias,
            activation,
        }))
    }

    /// The product of `rows`, stored as `encoding`, with an input that `conv` is applied to: something
    /// to measure. `None` if they do not fit together.
    #[cfg(feature = "std")]
    pub(super) fn made_up(rows: Rows, encoding: Encoding, conv: &Conv2d, input: Shape) -> Option<Self> {
        let (input, lines) = Source::conv(conv, ConvGeometry::new(conv, input).ok()?);
        Some(Self {
            rows,
            encoding,
            groups: conv.groups as usize,
            lines,
            input,
            bias: None,
            activation: conv.activation,
        })
    }

    /// The product, as far as its speed depends on it.
    pub fn task(&self) -> Task<'_> {
        let (offsets, group_stride) = self.input.offsets();
        Task {
            rows: &self.rows,
            encoding: self.encoding,
            groups: self.groups,
            lines: self.lines,
            offsets,
            group_stride,
            taps: self.input.taps(),
            padding: self.input.padding(),
        }
    }
}

/// A product with repacked weights, and where its operands lie.
#[derive(Debug)]
pub struct Product {
    layer: Layer,
    input: Source,
    bias: Option<TensorId>,
    activation: Activation,
    addition: Option<Addition>,
}

impl Product {
    /// The product of a problem, with the addition behind it, run as it was tuned where that can be;
    /// `None` if no kernel of the options fits.
    pub(crate) fn new(
        problem: Problem,
        addition: Option<Addition>,
        options: &Options,
        tuned: Option<&TunedNode<'_>>,
        threads: &mut Threads,
    ) -> Option<Self> {
        let task = problem.task();
        let tuned = tuned.and_then(|tuned| task.tuned(tuned, options, threads.count()));
        let layer = tuned.or_else(|| task.best(options, threads))?;
        threads.reserve(layer.scratch_bytes());
        Some(Self {
            layer,
            input: problem.input,
            bias: problem.bias,
            activation: addition.map_or(problem.activation, |addition| addition.activation),
            addition,
        })
    }

    /// The kernel.
    pub fn kernel(&self) -> &'static Kernel {
        self.layer.kernel()
    }

    /// The repacked weights.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Bytes of the repacked weights.
    pub fn bytes(&self) -> usize {
        self.layer.bytes()
    }

    /// Whether the product does what `node` would do.
    pub(crate) fn fuses(&self, node: &Node<'_>) -> bool {
        self.addition.is_some_and(|addition| addition.node == node.index)
    }

    pub(crate) fn run(
        &self,
        model: &Model<'_>,
        node: &Node<'_>,
        arena: &mut [f32],
        threads: &mut Threads,
    ) -> Result<(), RunError> {
        let internal = RunError::Internal {
            node: node.index as u32,
        };
        let output = self.addition.map_or(node.output, |addition| addition.output);
        let (memory, x) = Carved::of_node(model, node, output, arena).ok_or(internal)?;
        let residual = match self.addition {
            None => Residual::None,
            Some(addition) if addition.in_output => Residual::InOutput,
            Some(addition) => {
                let range = model.plan().value(addition.residual, model.shape(addition.residual));
                Residual::At(memory.get(range).ok_or(internal)?)
            }
        };
        let (offsets, group_stride) = self.input.offsets();
        let x: &[f32] = match self.input.padding() {
            Some((conv, geometry)) if !self.layer.pads() => {
                let packed = memory.scratch.get_mut(..geometry.packed_elems()).ok_or(internal)?;
                self.layer.pad(conv, geometry, x, packed, threads);
                packed
            }
            _ => x,
        };
        let input = Input {
            x,
            offsets,
            group_stride,
            bias: self.bias.and_then(|id| model.vector(id)),
            residual,
            activation: self.activation,
        };
        self.layer.run(&input, memory.output, threads);
        Ok(())
    }
}
