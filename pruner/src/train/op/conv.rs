//! Convolution: patches gathered into a matrix (im2col), then a product; where it can be, `direct`
//! does without. Depthwise convolutions have a module of their own.

use std::ops::Range;

use secateur_format::Shape;
use secateur_format::op::Conv2d;

use super::direct;
use super::product::{matrix, matrix_mut, multiply, start_from};
use crate::train::simd;

/// Most floats of the patch matrix at a time: half a megabyte, what a second-level cache holds.
const PATCHES: usize = 1 << 17;

/// A convolution on inputs of one shape.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Geometry {
    pub(in crate::train) groups: usize,
    /// Input channels of a group.
    pub(super) group_in: usize,
    /// Output channels of a group.
    pub(super) group_out: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// `[top, left]`.
    pub(super) pads: [usize; 2],
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Height and width of the output.
    pub(super) output: [usize; 2],
}

impl Geometry {
    /// For an input and output that fit the operator; zero sizes otherwise.
    pub(in crate::train) fn new(conv: &Conv2d, input: Shape, output: Shape) -> Self {
        let dims = |shape: Shape| shape.padded_dims().map(|d| d as usize);
        let ([channels, h, w, _], [filters, oh, ow, _]) = (dims(input), dims(output));
        let groups = conv.groups as usize;
        Self {
            groups,
            group_in: channels / groups,
            group_out: filters / groups,
            kernel: conv.kernel.map(usize::from),
            stride: conv.stride.map(usize::from),
            dilation: conv.dilation.map(usize::from),
            pads: [conv.pads[0].into(), conv.pads[1].into()],
            input: [h, w],
            output: [oh, ow],
        }
    }

    /// One input and one output channel per group.
    pub(in crate::train) fn is_depthwise(&self) -> bool {
        self.group_in == 1 && self.group_out == 1
    }

    /// The patches are the input itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pads == [0, 0] && self.input == self.output
    }

    pub(super) fn pixels_in(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(in crate::train) fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Columns of the weight matrix.
    pub(in crate::train) fn cols(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.group_in
    }

    /// Samples whose patches are gathered together.
    fn tile(&self, samples: usize) -> usize {
        (PATCHES / (self.cols() * self.pixels())).clamp(1, samples)
    }

    /// Floats that [`forward`] and the backward functions need as scratch memory.
    pub(in crate::train) fn scratch(&self, samples: usize) -> usize {
        if self.is_depthwise() {
            super::depthwise::scratch(self)
        } else if self.is_pointwise() {
            0
        } else {
            direct::scratch(self).max(self.cols() * self.pixels() * self.tile(samples))
        }
    }

    /// The multiply-adds of one sample.
    pub(in crate::train) fn multiplications(&self) -> u64 {
        (self.groups * self.group_out * self.cols() * self.pixels()) as u64
    }

    /// Groups, each with the first and last sample of every tile.
    fn tiles(&self, samples: usize) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let tile = self.tile(samples);
        (0..self.groups).flat_map(move |group| {
            let firsts = (0..samples).step_by(tile);
            firsts.map(move |first| (group, first..samples.min(first + tile)))
        })
    }

    /// Outputs, in one direction, whose input at kernel position `k` exists, and the first such input.
    fn inside(&self, axis: usize, k: usize) -> (Range<usize>, usize) {
        let (stride, pad) = (self.stride[axis], self.pads[axis]);
        let offset = k * self.dilation[axis];
        let first = pad.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + pad).saturating_sub(offset).div_ceil(stride);
        let end = end.min(self.output[axis]);
        let first = first.min(end);
        (first..end, (first * stride + offset).saturating_sub(pad))
    }

    /// The lines that a kernel position moves between an input plane and a row of patches.
    fn lines(&self, ky: usize, kx: usize) -> Lines {
        let (ys, y) = self.inside(0, ky);
        let (xs, x) = self.inside(1, kx);
        Lines {
            ys: if xs.is_empty() { 0..0 } else { ys },
            y,
            xs,
            x,
            geometry: *self,
        }
    }
}

/// Outputs with an input at some kernel position: rows `ys` from input row `y` on, in them columns
/// `xs` from input column `x` on.
struct Lines {
    ys: Range<usize>,
    y: usize,
    xs: Range<usize>,
    x: usize,
    geometry: Geometry,
}

impl Lines {
    /// Whether rows of inputs and outputs lie as far apart and no column is skipped: then all
    /// lines are one run, of which the columns outside `xs` are not meant.
    fn dense(&self) -> bool {
        let g = &self.geometry;
        g.stride == [1, 1] && g.input[1] == g.output[1]
    }

    /// The run of a dense plane: places in the output, and the first place in the input.
    fn run(&self) -> (Range<usize>, usize) {
        let width = self.geometry.output[1];
        if self.ys.is_empty() {
            return (0..0, 0);
        }
        let first = self.ys.start * width + self.xs.start;
        let end = (self.ys.end - 1) * width + self.xs.end;
        (first..end, self.y * width + self.x)
    }

    /// The columns outside `xs`, of every row.
    fn clear_edges(&self, patches: &mut [f32]) {
        let width = self.geometry.output[1];
        if self.xs.len() == width {
            return;
        }
        for row in patches.chunks_exact_mut(width) {
            row[..self.xs.start].fill(0.0);
            row[self.xs.end..].fill(0.0);
        }
    }

    /// Each line: where it starts in the output and in the input.
    fn starts(&self) -> impl Iterator<Item = (usize, usize)> {
        let g = self.geometry;
        let (y, x, first) = (self.y, self.x, self.xs.start);
        let rows = self.ys.clone().enumerate();
        rows.map(move |(i, oy)| (oy * g.output[1] + first, (y + i * g.stride[0]) * g.input[1] + x))
    }

    /// Fills a row of patches of one sample.
    fn gather(&self, plane: &[f32], patches: &mut [f32]) {
        if self.dense() {
            let (run, from) = self.run();
            patches[..run.start].fill(0.0);
            patches[run.end..].fill(0.0);
            let len = run.len();
            patches[run].copy_from_slice(&plane[from..from + len]);
            return self.clear_edges(patches);
        }
        patches.fill(0.0);
        let step = self.geometry.stride[1];
        for (to, from) in self.starts() {
            let line = &mut patches[to..to + self.xs.len()];
            if step == 1 {
                line.copy_from_slice(&plane[from..from + line.len()]);
            } else {
                let source = plane[from..].iter().step_by(step);
                line.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// Adds the gradient of a row of patches to that of the plane; what lies outside is lost.
    fn scatter(&self, patches: &mut [f32], plane: &mut [f32]) {
        if self.dense() {
            self.clear_edges(patches);
            let (run, to) = self.run();
            let len = run.len();
            return simd::add(&mut plane[to..to + len], &patches[run]);
        }
        let step = self.geometry.stride[1];
        for (from, to) in self.starts() {
            let line = &patches[from..from + self.xs.len()];
            let targets = plane[to..].iter_mut().step_by(step);
            targets.zip(line).for_each(|(to, from)| *to += from);
        }
    }
}

/// `[K, samples · pixels]` of one group and some samples, `K` ordered (ky, kx, ci).
pub(in crate::train) fn gather(
    g: &Geometry,
    x: &[f32],
    samples: usize,
    group: usize,
    some: Range<usize>,
    patches: &mut [f32],
) {
    let (pixels, pixels_in) = (g.pixels(), g.pixels_in());
    let mut rows = patches.chunks_exact_mut(some.len() * pixels);
    for position in 0..g.kernel[0] * g.kernel[1] {
        let lines = g.lines(position / g.kernel[1], position % g.kernel[1]);
        for (ci, row) in (0..g.group_in).zip(&mut rows) {
            let channel = &x[(group * g.group_in + ci) * samples * pixels_in..][..samples * pixels_in];
            let planes = channel.chunks_exact(pixels_in).skip(some.start);
            for (plane, patches) in planes.zip(row.chunks_exact_mut(pixels)) {
                lines.gather(plane, patches);
            }
        }
    }
}

/// The transpose of [`gather`]; changes `patches`.
fn scatter(g: &Geometry, patches: &mut [f32], samples: usize, group: usize, some: Range<usize>, dx: &mut [f32]) {
    let (pixels, pixels_in) = (g.pixels(), g.pixels_in());
    let mut rows = patches.chunks_exact_mut(some.len() * pixels);
    for position in 0..g.kernel[0] * g.kernel[1] {
        let lines = g.lines(position / g.kernel[1], position % g.kernel[1]);
        for (ci, row) in (0..g.group_in).zip(&mut rows) {
            let channel = &mut dx[(group * g.group_in + ci) * samples * pixels_in..][..samples * pixels_in];
            let planes = channel.chunks_exact_mut(pixels_in).skip(some.start);
            for (plane, patches) in planes.zip(row.chunks_exact_mut(pixels)) {
                lines.scatter(patches, plane);
            }
        }
    }
}

/// `y = W ∗ x + b`.
pub(in crate::train) fn forward(
    g: &Geometry,
    w: &[f32],
    bias: Option<&[f32]>,
    x: &[f32],
    samples: usize,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    if direct::forward(g, w, bias, x, samples, y, scratch) {
        return;
    }
    let (row, cols) = (samples * g.pixels(), g.cols());
    let keep = start_from(bias, y, row);
    let filters = g.group_out * cols;
    for (group, some) in g.tiles(samples) {
        let w = matrix(&w[group * filters..], g.group_out, cols, cols);
        let width = some.len() * g.pixels();
        let y = &mut y[group * g.group_out * row + some.start * g.pixels()..];
        let y = matrix_mut(y, g.group_out, width, row);
        if g.is_pointwise() {
            let x = &x[group * cols * row + some.start * g.pixels()..];
            multiply(w, matrix(x, cols, width, row), keep, y);
        } else {
            let patches = &mut scratch[..cols * width];
            gather(g, x, samples, group, some, patches);
            multiply(w, matrix(patches, cols, width, width), keep, y);
        }
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
    if direct::weight_backward(g, x, dy, samples, dw, scratch) {
        return;
    }
    let (row, cols) = (samples * g.pixels(), g.cols());
    for (group, some) in g.tiles(samples) {
        let width = some.len() * g.pixels();
        let dw = matrix_mut(&mut dw[group * g.group_out * cols..], g.group_out, cols, cols);
        let dy = &dy[group * g.group_out * row + some.start * g.pixels()..];
        let dy = matrix(dy, g.group_out, width, row);
        if g.is_pointwise() {
            let x = &x[group * cols * row + some.start * g.pixels()..];
            multiply(dy, matrix(x, cols, width, row).reversed_axes(), 1.0, dw);
        } else {
            let patches = &mut scratch[..cols * width];
            gather(g, x, samples, group, some, patches);
            multiply(dy, matrix(patches, cols, width, width).reversed_axes(), 1.0, dw);
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
    if direct::input_backward(g, w, dy, samples, dx, scratch) {
        return;
    }
    let (row, cols) = (samples * g.pixels(), g.cols());
    for (group, some) in g.tiles(samples) {
        let width = some.len() * g.pixels();
        let w = matrix(&w[group * g.group_out * cols..], g.group_out, cols, cols).reversed_axes();
        let dy = &dy[group * g.group_out * row + some.start * g.pixels()..];
        let dy = matrix(dy, g.group_out, width, row);
        if g.is_pointwise() {
            let dx = &mut dx[group * cols * row + some.start * g.pixels()..];
            multiply(w, dy, 1.0, matrix_mut(dx, cols, width, row));
        } else {
            let patches = &mut scratch[..cols * width];
            multiply(w, dy, 0.0, matrix_mut(patches, cols, width, width));
            scatter(g, patches, samples, group, some, dx);
        }
    }
}
