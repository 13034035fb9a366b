//! Depthwise convolution, on padded planes.

use super::conv::Geometry;
use super::wide::Wide;
use crate::train::simd;

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
    padded.fill(0.0);
    let planes = x.chunks_exact(g.pixels_in()).zip(y.chunks_exact_mut(g.pixels()));
    for (i, (x, y)) in planes.enumerate() {
        let channel = i / samples;
        let w = &w[channel * g.kernel[0] * g.kernel[1]..];
        wide.pad(x, padded);
        run.fill(bias.map_or(0.0, |bias| bias[channel]));
        for (offset, &w) in wide.offsets().zip(w) {
            simd::add_scaled(run, w, &padded[offset..]);
        }
        wide.pick(run, y);
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
    padded.fill(0.0);
    let planes = x.chunks_exact(g.pixels_in()).zip(dy.chunks_exact(g.pixels()));
    for (i, (x, dy)) in planes.enumerate() {
        let dw = &mut dw[i / samples * g.kernel[0] * g.kernel[1]..];
        wide.pad(x, padded);
        wide.spread(dy, run);
        for (offset, dw) in wide.offsets().zip(dw) {
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
        wide.spread(dy, run);
        for (offset, &w) in wide.offsets().zip(w) {
            simd::add_scaled(&mut padded[offset..][..wide.run], w, run);
        }
        wide.add_unpadded(padded, dx);
    }
}
