//! Convolution without gathered patches, for kernels larger than 1 x 1.
//!
//! Forward, and backward to the input, with stride 1: on padded planes every kernel position is an
//! offset, so a tile of outputs is summed in registers straight from the planes. Backward to the weights,
//! with any stride: on pixels of neighbouring channels, so that a register holds weights of neighbouring
//! columns and nothing is summed across a register.

use pulp::{Arch, Simd, WithSimd};

use super::conv::Geometry;
use super::wide::Wide;

/// Vectors of pixels, or of columns, of a tile.
const VECTORS: usize = 2;

/// Floats behind the last plane that a tile may read: a tile of the widest registers.
const SLACK: usize = 16 * VECTORS;

/// Fewest input channels of a group: below, a register of channels is mostly empty.
const CHANNELS: usize = 8;

/// Rows of a tile: with two vectors each, they and their factors must fit into the registers.
fn tile_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

/// The larger of the possible tiles, for which memory is taken.
const ROWS: usize = 8;

/// A convolution as a sum over offsets.
#[derive(Clone, Copy, Debug)]
struct Plan {
    geometry: Geometry,
    wide: Wide,
}

impl Plan {
    /// `None` if the direct way does not serve the geometry.
    fn new(g: &Geometry) -> Option<Self> {
        let large = g.kernel != [1, 1] && g.stride == [1, 1] && g.group_out >= ROWS / 2;
        large.then(|| Self {
            geometry: *g,
            wide: Wide::new(g),
        })
    }

    /// The length of a run in whole tiles.
    fn run(&self) -> usize {
        self.wide.run.next_multiple_of(SLACK)
    }

    fn planes(&self) -> usize {
        self.geometry.group_in * self.wide.size + 2 * SLACK
    }

    fn weights(&self) -> usize {
        let g = &self.geometry;
        g.group_out.next_multiple_of(ROWS) * g.kernel[0] * g.kernel[1] * g.group_in
    }

    fn scratch(&self) -> usize {
        self.planes() + self.weights() + ROWS * self.run()
    }
}

/// The convolution that leads the gradient back to the input: of the padded gradient with the mirrored kernel.
fn backward_geometry(g: &Geometry) -> Option<Geometry> {
    let pad = |axis: usize| ((g.kernel[axis] - 1) * g.dilation[axis]).checked_sub(g.pads[axis]);
    Some(Geometry {
        group_in: g.group_out,
        group_out: g.group_in,
        pads: [pad(0)?, pad(1)?],
        input: g.output,
        output: g.input,
        ..*g
    })
}

/// Floats of scratch memory; 0 if nothing is done here.
pub(super) fn scratch(g: &Geometry) -> usize {
    let forward = Plan::new(g).map_or(0, |plan| plan.scratch());
    let backward = backward_geometry(g)
        .and_then(|g| Plan::new(&g))
        .map_or(0, |plan| plan.scratch());
    let weights = WeightPlan::new(g).map_or(0, |plan| plan.scratch());
    forward.max(backward).max(weights)
}

/// `y = W ∗ x + b`. Returns whether the direct way serves the geometry.
pub(super) fn forward(
    g: &Geometry,
    w: &[f32],
    bias: Option<&[f32]>,
    x: &[f32],
    samples: usize,
    y: &mut [f32],
    scratch: &mut [f32],
) -> bool {
    let Some(plan) = Plan::new(g) else { return false };
    let (positions, cols) = (g.kernel[0] * g.kernel[1], g.group_in);
    Convolve {
        plan,
        weight: |group: usize, row: usize, position: usize, channel: usize| {
            w[((group * g.group_out + row) * positions + position) * cols + channel]
        },
        bias,
        add: false,
        x,
        samples,
        y,
        scratch,
    }
    .run();
    true
}

/// Adds the gradient of the input. Returns whether the direct way serves the geometry.
pub(super) fn input_backward(
    g: &Geometry,
    w: &[f32],
    dy: &[f32],
    samples: usize,
    dx: &mut [f32],
    scratch: &mut [f32],
) -> bool {
    let Some(plan) = backward_geometry(g).and_then(|g| Plan::new(&g)) else {
        return false;
    };
    let (positions, cols) = (g.kernel[0] * g.kernel[1], g.group_in);
    Convolve {
        plan,
        weight: |group: usize, row: usize, position: usize, channel: usize| {
            w[((group * g.group_out + channel) * positions + positions - 1 - position) * cols + row]
        },
        bias: None,
        add: true,
        x: dy,
        samples,
        y: dx,
        scratch,
    }
    .run();
    true
}

/// One convolution over all samples. `weight` gives that of a group, output row, kernel position and input channel.
struct Convolve<'a, W> {
    plan: Plan,
    weight: W,
    bias: Option<&'a [f32]>,
    /// Whether to add to `y`, or to replace it.
    add: bool,
    x: &'a [f32],
    samples: usize,
    y: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl<W: Fn(usize, usize, usize, usize) -> f32> Convolve<'_, W> {
    fn run(mut self) {
        let arch = Arch::new();
        let height = arch.dispatch(TileRows);
        let Plan { geometry: g, wide } = self.plan;
        let (planes, rest) = std::mem::take(&mut self.scratch).split_at_mut(self.plan.planes());
        let (packed, tile) = rest.split_at_mut(self.plan.weights());
        planes.fill(0.0);
        let offsets: Vec<usize> = wide.offsets().collect();
        for group in 0..g.groups {
            self.pack(group, height, packed);
            for sample in 0..self.samples {
                for (channel, plane) in planes.chunks_exact_mut(wide.size).take(g.group_in).enumerate() {
                    let at = (group * g.group_in + channel) * self.samples + sample;
                    wide.pad(&self.x[at * g.pixels_in()..][..g.pixels_in()], plane);
                }
                let weights = packed.chunks_exact(height * offsets.len() * g.group_in);
                for (first, weights) in (0..g.group_out).step_by(height).zip(weights) {
                    let run = self.plan.run();
                    arch.dispatch(Tile {
                        planes,
                        size: wide.size,
                        offsets: &offsets,
                        weights,
                        run,
                        sums: tile,
                    });
                    let rows = first..g.group_out.min(first + height);
                    for (row, run) in rows.zip(tile.chunks_exact(run)) {
                        self.store(group * g.group_out + row, sample, run);
                    }
                }
            }
        }
    }

    /// The weights of a group in the order in which tiles read them, rows of zeros behind the last.
    fn pack(&self, group: usize, height: usize, packed: &mut [f32]) {
        let g = &self.plan.geometry;
        let positions = g.kernel[0] * g.kernel[1];
        let mut to = packed.iter_mut();
        for first in (0..g.group_out).step_by(height) {
            for position in 0..positions {
                for channel in 0..g.group_in {
                    for (row, to) in (first..first + height).zip(&mut to) {
                        *to = if row < g.group_out {
                            (self.weight)(group, row, position, channel)
                        } else {
                            0.0
                        };
                    }
                }
            }
        }
    }

    fn store(&mut self, row: usize, sample: usize, run: &[f32]) {
        let Plan { geometry: g, wide } = self.plan;
        let width = g.output[1];
        let bias = self.bias.map_or(0.0, |bias| bias[row]);
        let plane = &mut self.y[(row * self.samples + sample) * g.pixels()..][..g.pixels()];
        for (start, line) in wide.starts().zip(plane.chunks_exact_mut(width)) {
            let pairs = line.iter_mut().zip(&run[start..start + width]);
            if self.add {
                pairs.for_each(|(y, x)| *y += x);
            } else {
                pairs.for_each(|(y, x)| *y = x + bias);
            }
        }
    }
}

/// Asks for the rows of a tile on this machine.
struct TileRows;

impl WithSimd for TileRows {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        tile_rows::<S>()
    }
}

/// Rows of outputs over a run, `sums` `[rows, run]`: the sum over offsets and planes of weight times plane.
///
/// Small, so that the compiler keeps its sums in registers: as a part of [`Convolve::run`] it did not.
struct Tile<'a> {
    planes: &'a [f32],
    size: usize,
    offsets: &'a [usize],
    weights: &'a [f32],
    run: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_rows::<S>() {
            8 => self.rows::<S, 8>(simd),
            _ => self.rows::<S, 4>(simd),
        }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(self, simd: S) {
        let (weights, _) = self.weights.as_chunks::<R>();
        let step = VECTORS * S::F32_LANES;
        for at in (0..self.run).step_by(step) {
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
            sums_at::<S, R>(simd, &self.planes[at..], self.size, self.offsets, weights, &mut sums);
            for (row, sums) in sums.iter().enumerate() {
                let (y, _) = S::as_mut_simd_f32s(&mut self.sums[row * self.run + at..][..step]);
                y.copy_from_slice(sums);
            }
        }
    }
}

/// The first pixels of a [`Tile`].
///
/// The sums are handed out through `result`: returned, they would live in the caller's memory, and
/// without link-time optimisation the compiler then stores all of them after every product.
#[inline(always)]
fn sums_at<S: Simd, const R: usize>(
    simd: S,
    planes: &[f32],
    size: usize,
    offsets: &[usize],
    weights: &[[f32; R]],
    result: &mut [[S::f32s; VECTORS]; R],
) {
    let channels = weights.len() / offsets.len();
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
    for (&offset, weights) in offsets.iter().zip(weights.chunks_exact(channels)) {
        for (channel, weights) in weights.iter().enumerate() {
            let first = channel * size + offset;
            let mut x = [simd.splat_f32s(0.0); VECTORS];
            for (vector, x) in x.iter_mut().enumerate() {
                let at = first + vector * S::F32_LANES;
                *x = S::as_simd_f32s(&planes[at..at + S::F32_LANES]).0[0];
            }
            for row in 0..R {
                let weight = simd.splat_f32s(weights[row]);
                for vector in 0..VECTORS {
                    sums[row][vector] = simd.mul_add_e_f32s(weight, x[vector], sums[row][vector]);
                }
            }
        }
    }
    *result = sums;
}

/// The gradient of the weights, with pixels of neighbouring channels.
#[derive(Clone, Copy, Debug)]
struct WeightPlan {
    geometry: Geometry,
    wide: Wide,
    /// Input channels, and output channels, with zeros behind the last.
    ins: usize,
    outs: usize,
}

impl WeightPlan {
    fn new(g: &Geometry) -> Option<Self> {
        let large = g.kernel != [1, 1] && g.group_in >= CHANNELS && g.group_out >= ROWS / 2;
        large.then(|| Self {
            geometry: *g,
            wide: Wide::new(g),
            ins: g.group_in.next_multiple_of(16),
            outs: g.group_out.next_multiple_of(ROWS),
        })
    }

    fn inputs(&self) -> usize {
        self.wide.size * self.ins
    }

    fn gradients(&self) -> usize {
        self.geometry.pixels() * self.outs
    }

    fn scratch(&self) -> usize {
        self.inputs() + self.gradients()
    }
}

/// Adds the gradient of the weights. Returns whether the direct way serves the geometry.
pub(super) fn weight_backward(
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    samples: usize,
    dw: &mut [f32],
    scratch: &mut [f32],
) -> bool {
    let Some(plan) = WeightPlan::new(g) else { return false };
    Arch::new().dispatch(Correlate {
        plan,
        x,
        dy,
        samples,
        dw,
        scratch,
    });
    true
}

struct Correlate<'a> {
    plan: WeightPlan,
    x: &'a [f32],
    dy: &'a [f32],
    samples: usize,
    dw: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match tile_rows::<S>() {
            8 => self.run::<S, 8>(simd),
            _ => self.run::<S, 4>(simd),
        }
    }
}

impl Correlate<'_> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, simd: S) {
        let WeightPlan {
            geometry: g,
            wide,
            ins,
            outs,
        } = self.plan;
        let (inputs, rest) = self.scratch.split_at_mut(self.plan.inputs());
        let gradients = &mut rest[..self.plan.gradients()];
        inputs.fill(0.0);
        gradients.fill(0.0);
        // The first column of each vector, as places in a pixel of inputs and in a row of weights.
        let per_position = g.group_in.div_ceil(S::F32_LANES);
        let vectors: Vec<(usize, usize, usize)> = wide
            .offsets()
            .enumerate()
            .flat_map(|(position, offset)| {
                (0..per_position).map(move |vector| {
                    let channel = vector * S::F32_LANES;
                    let count = S::F32_LANES.min(g.group_in - channel);
                    (offset * ins + channel, position * g.group_in + channel, count)
                })
            })
            .collect();
        let cols = g.kernel[0] * g.kernel[1] * g.group_in;
        for group in 0..g.groups {
            for sample in 0..self.samples {
                // Line by line, so that the pixels that channels share stay in the first-level cache.
                for (y, row) in wide.rows().enumerate() {
                    for channel in 0..g.group_in {
                        let plane = ((group * g.group_in + channel) * self.samples + sample) * g.pixels_in();
                        let line = &self.x[plane + y * g.input[1]..][..g.input[1]];
                        let to = inputs[row.start * ins + channel..].iter_mut().step_by(ins);
                        to.zip(line).for_each(|(to, x)| *to = *x);
                    }
                }
                for y in 0..g.output[0] {
                    for row in 0..g.group_out {
                        let plane = ((group * g.group_out + row) * self.samples + sample) * g.pixels();
                        let line = &self.dy[plane + y * g.output[1]..][..g.output[1]];
                        let to = gradients[y * g.output[1] * outs + row..].iter_mut().step_by(outs);
                        to.zip(line).for_each(|(to, dy)| *to = *dy);
                    }
                }
                for first in (0..g.group_out).step_by(R) {
                    for vectors in vectors.chunks(VECTORS) {
                        // An odd last vector is done twice and stored once.
                        let places = [vectors[0].0, vectors[vectors.len() - 1].0];
                        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
                        self.plan
                            .tile::<S, R>(simd, inputs, places, &gradients[first..], &mut sums);
                        for (row, sums) in (first..g.group_out).zip(&sums) {
                            let dw = &mut self.dw[(group * g.group_out + row) * cols..];
                            for (&(_, col, count), sum) in vectors.iter().zip(sums) {
                                let dw = &mut dw[col..col + count];
                                let old = simd.partial_load_f32s(dw);
                                simd.partial_store_f32s(dw, simd.add_f32s(old, *sum));
                            }
                        }
                    }
                }
            }
        }
    }
}

impl WeightPlan {
    /// The sums over all pixels of one sample for `R` rows and two vectors of columns; `result` as in [`sums_at`].
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(
        &self,
        simd: S,
        inputs: &[f32],
        places: [usize; VECTORS],
        gradients: &[f32],
        result: &mut [[S::f32s; VECTORS]; R],
    ) {
        let (g, lanes) = (&self.geometry, S::F32_LANES);
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; R];
        let step = g.stride[1] * self.ins;
        for (oy, start) in self.wide.starts().enumerate() {
            let gradients = &gradients[oy * g.output[1] * self.outs..];
            for ox in 0..g.output[1] {
                let dy = &gradients[ox * self.outs..][..R];
                let mut x = [simd.splat_f32s(0.0); VECTORS];
                // By index: an iterator over the array is not inlined without link-time optimisation.
                for (vector, x) in x.iter_mut().enumerate() {
                    let at = start * self.ins + places[vector] + ox * step;
                    *x = S::as_simd_f32s(&inputs[at..at + lanes]).0[0];
                }
                for row in 0..R {
                    let dy = simd.splat_f32s(dy[row]);
                    for vector in 0..VECTORS {
                        sums[row][vector] = simd.mul_add_e_f32s(dy, x[vector], sums[row][vector]);
                    }
                }
            }
        }
        *result = sums;
    }
}
