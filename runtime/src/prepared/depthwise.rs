//! A depthwise convolution, its planes shared among threads.

use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;
use secateur_format::{Model, Node, Op, Shape};

use super::Threads;
use crate::arena::Carved;
use crate::kernel::{self, Kernel, Run};
use crate::op::conv;
use crate::{RunError, op};

/// A depthwise convolution whose geometry is worked out.
#[derive(Debug)]
pub(crate) struct Depthwise {
    conv: Conv2d,
    geometry: ConvGeometry,
    run: fn(&secateur_format::encoding::Matrix<'_>, &mut kernel::Depthwise<'_>),
}

impl Depthwise {
    /// The convolution of a node; `None` if it is no depthwise one, or has no kernel.
    pub(crate) fn new(model: &Model<'_>, node: &Node<'_>, kernels: &'static [Kernel]) -> Option<Self> {
        let Op::Conv2d(conv) = node.op else { return None };
        let shape = node.inputs().next().map_or(Shape::SCALAR, |id| model.shape(id));
        let kernel = op::kernel_of(model, node, kernels).ok()??;
        match kernel.run {
            Run::Depthwise(run) if conv::is_depthwise(&conv, shape) => Some(Self {
                conv,
                geometry: ConvGeometry::new(&conv, shape).ok()?,
                run,
            }),
            _ => None,
        }
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
        let (memory, x) = Carved::of_node(model, node, node.output, arena).ok_or(internal)?;
        let (_, matrix) = model.tensor(self.conv.weight).ok_or(internal)?;
        let bias = self.conv.bias.and_then(|id| model.vector(id));
        let plane = self.geometry.output.1 as usize * self.geometry.output.2 as usize;
        let taps = usize::from(self.conv.kernel[0]) * usize::from(self.conv.kernel[1]);
        let count = threads.worth(memory.output.len() * taps / 16);
        threads.split(count, memory.output, plane, |first, y| {
            let mut task = kernel::Depthwise {
                conv: &self.conv,
                geometry: &self.geometry,
                bias,
                x,
                first,
                y,
            };
            (self.run)(&matrix, &mut task);
        });
        Ok(())
    }
}
