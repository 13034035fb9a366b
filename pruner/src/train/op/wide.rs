//! Padded planes.
//!
//! On a padded plane a kernel position is an offset, so each weight multiplies one long run,
//! whatever the kernel and dilation are. Between the outputs lie places that are none (row ends, and what a
//! stride skips): computed and ignored forward, zero backward.

use super::conv::Geometry;
use crate::train::simd;

/// The padded plane of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    geometry: Geometry,
    /// Its width.
    pub(super) width: usize,
    /// Its places.
    pub(super) size: usize,
    /// Places from the first output to the last.
    pub(super) run: usize,
}

impl Wide {
    pub(super) fn new(g: &Geometry) -> Self {
        let span = |axis: usize| (g.kernel[axis] - 1) * g.dilation[axis] + (g.output[axis] - 1) * g.stride[axis] + 1;
        // What lies behind the last window is never read.
        let height = span(0).max(g.pads[0] + g.input[0]);
        let width = span(1).max(g.pads[1] + g.input[1]);
        Self {
            geometry: *g,
            width,
            size: height * width,
            run: (g.output[0] - 1) * g.stride[0] * width + (g.output[1] - 1) * g.stride[1] + 1,
        }
    }

    /// The offset of each kernel position, in the order of the weights.
    pub(super) fn offsets(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let Self { geometry: g, width, .. } = *self;
        let [kh, kw] = g.kernel;
        (0..kh).flat_map(move |ky| (0..kw).map(move |kx| ky * g.dilation[0] * width + kx * g.dilation[1]))
    }

    /// The rows of the input within the padded plane.
    pub(super) fn rows(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let Self { geometry: g, width, .. } = *self;
        (0..g.input[0]).map(move |y| {
            let first = (g.pads[0] + y) * width + g.pads[1];
            first..first + g.input[1]
        })
    }

    /// Writes a plane into the padded one, whose border is zero already.
    pub(super) fn pad(&self, plane: &[f32], padded: &mut [f32]) {
        for (row, plane) in self.rows().zip(plane.chunks_exact(self.geometry.input[1])) {
            padded[row].copy_from_slice(plane);
        }
    }

    /// Adds the padded plane, but for its border, to a plane.
    pub(super) fn add_unpadded(&self, padded: &[f32], plane: &mut [f32]) {
        for (row, plane) in self.rows().zip(plane.chunks_exact_mut(self.geometry.input[1])) {
            simd::add(plane, &padded[row]);
        }
    }

    /// Where each row of outputs begins in a run.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> + use<> {
        let Self { geometry: g, width, .. } = *self;
        (0..g.output[0]).map(move |oy| oy * g.stride[0] * width)
    }

    /// Outputs out of a run.
    pub(super) fn pick(&self, run: &[f32], y: &mut [f32]) {
        let [_, step] = self.geometry.stride;
        for (start, y) in self.starts().zip(y.chunks_exact_mut(self.geometry.output[1])) {
            y.iter_mut()
                .zip(run[start..].iter().step_by(step))
                .for_each(|(y, x)| *y = *x);
        }
    }

    /// A run with the gradients of the outputs at their places.
    pub(super) fn spread(&self, dy: &[f32], run: &mut [f32]) {
        let [_, step] = self.geometry.stride;
        run.fill(0.0);
        for (start, dy) in self.starts().zip(dy.chunks_exact(self.geometry.output[1])) {
            run[start..]
                .iter_mut()
                .step_by(step)
                .zip(dy)
                .for_each(|(to, dy)| *to = *dy);
        }
    }
}
