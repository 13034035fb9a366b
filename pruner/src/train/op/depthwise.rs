//! Depthwise convolution on padded planes.
//!
//! On a padded plane a kernel position is an offset, so each weight multiplies one long run,
//! whatever kernel, stride and dilation are. Between the outputs lie places that are none (row ends,
//! and what a stride skips): computed and ignored forward, zero backward.

use super::conv::Geometry;
use crate::train::simd;

/// The padded plane of a convolution.
struct Wide {
    /// Its width.
    width: usize,
    /// Its places.
    size: usize,
    /// Places from the first output to the last.
    run: usize,
}

impl Wide {
    fn new(g: &Geometry) -> Self {
        let span = |axis: usize| (g.kernel[axis] - 1) * g.dilation[axis] + (g.output[axis] - 1) * g.stride[axis] + 1;
        // What lies behind the last window is never read.
        let height = span(0).max(g.pads[0] + g.input[0]);
        let width = span(1).max(g.pads[1] + g.input[1]);
        Self {
            width,
            size: height * width,
            run: (g.output[0] - 1) * g.stride[0] * width + (g.output[1] - 1) * g.stride[1] + 1,
        }
    }

    /// The offset of each kernel position, in the order of the weights.
    fn offsets(&self, g: &Geometry) -> impl Iterator<Item = usize> + use<> {
        let (width, [kh, kw], [dy, dx]) = (self.width, g.kernel, g.dilation);
        (0..kh).flat_map(move |ky| (0..kw).map(move |kx| ky * dy * width + kx * dx))
    }

    fn pad(&self, g: &Geometry, plane: &[f32], padded: &mut [f32]) {
        padded.fill(0.0);
        let rows = padded[g.pads[0] * self.width..].chunks_mut(self.width);
        for (row, plane) in rows.zip(plane.chunks_exact(g.input[1])) {
            row[g.pads[1]..][..g.input[1]].copy_from_slice(plane);
        }
    }

    fn add_unpadded(&self, g: &Geometry, padded: &[f32], plane: &mut [f32]) {
        let rows = padded[g.pads[0] * self.width..].chunks(self.width);
        for (row, plane) in rows.zip(plane.chunks_exact_mut(g.input[1])) {
            simd::add(plane, &row[g.pads[1]..][..g.input[1]]);
        }
    }

    /// Outputs out of a run.
    fn pick(&self, g: &Geometry, run: &[f32], y: &mut [f32]) {
        for (oy, y) in y.chunks_exact_mut(g.output[1]).enumerate() {
            let row = &run[oy * g.stride[0] * self.width..];
            y.iter_mut()
                .zip(row.iter().step_by(g.stride[1]))
                .for_each(|(y, x)| *y = *x);
        }
    }

    /// A run with the gradients of the outputs at their places.
    fn spread(&self, g: &Geometry, dy: &[f32], run: &mut [f32]) {
        run.fill(0.0);
        for (oy, dy) in dy.chunks_exact(g.output[1]).enumerate() {
            let row = &mut run[oy * g.stride[0] * self.width..];
            row.iter_mut()
                .step_by(g.stride[1])
                .zip(dy)
                .for_each(|(to, dy)| *to = *dy);
        }
    }
}

/// Floats of scratch memory: a padded plane and a run.
pub(super) fn scratch(g: &Geometry) -> usize {
    let wide = Wide::new(g);
    wide.size + wide.run
}

/// `y = w ∗ x + b`, each channel with its own kernel.
pub(in crate::train) fn forward(
    g: &Geometry,
    w: &[f32],
    bias: Option<&[f32]>,
    x: &[f32],
    samples: usize,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let wide = Wide::new(g);
    let (padded, run) = scratch.split_at_mut(wide.size);
    let run = &mut run[..wide.run];
    let planes = x.chunks_exact(g.pixels_in()).zip(y.chunks_exact_mut(g.pixels()));
    for (i, (x, y)) in planes.enumerate() {
        let channel = i / samples;
        let w = &w[channel * g.kernel[0] * g.kernel[1]..];
        wide.pad(g, x, padded);
        run.fill(bias.map_or(0.0, |bias| bias[channel]));
        for (offset, &w) in wide.offsets(g).zip(w) {
            simd::add_scaled(run, w, &padded[offset..]);
        }
        wide.pick(g, run, y);
    }
}

/// Adds the gradient of the weights.
pub(in crate::train) fn weight_backward(
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    samples: usize,
    dw: &mut [f32],
    scratch: &mut [f32],
) {
    let wide = Wide::new(g);
    let (padded, run) = scratch.split_at_mut(wide.size);
    let run = &mut run[..wide.run];
    let planes = x.chunks_exact(g.pixels_in()).zip(dy.chunks_exact(g.pixels()));
    for (i, (x, dy)) in planes.enumerate() {
        let dw = &mut dw[i / samples * g.kernel[0] * g.kernel[1]..];
        wide.pad(g, x, padded);
        wide.spread(g, dy, run);
        for (offset, dw) in wide.offsets(g).zip(dw) {
            *dw += simd::dot_around(run, &padded[offset..][..wide.run], 0.0);
        }
    }
}

/// Adds the gradient of the input.
pub(in crate::train) fn input_backward(
    g: &Geometry,
    w: &[f32],
    dy: &[f32],
    samples: usize,
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let wide = Wide::new(g);
    let (padded, run) = scratch.split_at_mut(wide.size);
    let run = &mut run[..wide.run];
    let planes = dx.chunks_exact_mut(g.pixels_in()).zip(dy.chunks_exact(g.pixels()));
    for (i, (dx, dy)) in planes.enumerate() {
        let w = &w[i / samples * g.kernel[0] * g.kernel[1]..];
        padded.fill(0.0);
        wide.spread(g, dy, run);
        for (offset, &w) in wide.offsets(g).zip(w) {
            simd::add_scaled(&mut padded[offset..][..wide.run], w, run);
        }
        wide.add_unpadded(g, padded, dx);
    }
}
