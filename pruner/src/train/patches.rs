//! What each output of a layer is computed from.

use secateur_format::{Op, Shape};

use super::op::conv::{self, Geometry};

/// How the input of a linear or convolution unfolds into patches (im2col), for one group at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patches {
    /// `None` for linear layers, whose inputs are patches.
    convolution: Option<Geometry>,
    cols: usize,
    positions: usize,
}

impl Patches {
    /// For an input and output that fit the operator.
    pub(crate) fn new(op: &Op, input: Shape, output: Shape) -> Self {
        match op {
            Op::Conv2d(conv) => {
                let geometry = Geometry::new(conv, input, output);
                Self {
                    convolution: Some(geometry),
                    cols: geometry.cols(),
                    positions: geometry.pixels(),
                }
            }
            _ => {
                let cols = input.padded_dims()[0] as usize;
                Self {
                    convolution: None,
                    cols,
                    positions: input.elems() / cols,
                }
            }
        }
    }

    /// Parts of the input that are patches of their own.
    pub(crate) fn groups(&self) -> usize {
        self.convolution.map_or(1, |geometry| geometry.groups)
    }

    /// Columns of the weights.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Patches of a sample and group.
    pub(crate) fn positions(&self) -> usize {
        self.positions
    }

    /// The patches of a group of one sample `[cols, positions]`, with the columns in the order of the weights.
    pub(crate) fn of(&self, group: usize, planar: &[f32]) -> Vec<f32> {
        let Some(geometry) = &self.convolution else {
            return planar.to_vec();
        };
        let mut patches = vec![0.0; self.cols * self.positions];
        conv::gather(geometry, planar, 1, group, 0..1, &mut patches);
        patches
    }
}
