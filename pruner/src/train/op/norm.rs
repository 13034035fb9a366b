//! Batch normalisation (arXiv 1502.03167), with the statistics of the batch or frozen ones.
//!
//! Statistics of a batch come from shards, each of which sums its own samples; they are put together in
//! the order of the shards, so that threads do not change them.

use secateur_format::graph::Graph;
use secateur_format::op::BatchNorm;

use crate::train::simd::{self, simd};

/// What a shard knows of one channel: forward its mean and Σ(x − mean)², backward Σdy and Σdy·(x − mean).
pub(in crate::train) type Moments = [f64; 2];

/// How a channel is normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::train) struct Channel {
    /// Mean of the batch, or the frozen one.
    pub(in crate::train) mean: f64,
    /// Biased variance of the batch, or the frozen one.
    pub(in crate::train) var: f64,
    /// `1 / √(var + eps)`.
    pub(in crate::train) inv_std: f64,
}

/// The numbers of a batch norm.
pub(in crate::train) struct Parameters<'a> {
    scale: &'a [f32],
    bias: &'a [f32],
    mean: &'a [f32],
    var: &'a [f32],
    eps: f64,
}

impl<'a> Parameters<'a> {
    pub(in crate::train) fn new(graph: &'a Graph, bn: &BatchNorm) -> Self {
        let data = |id| graph.tensor(id).map_or(&[][..], |tensor| &tensor.data);
        Self {
            scale: data(bn.scale),
            bias: data(bn.bias),
            mean: data(bn.mean),
            var: data(bn.var),
            eps: bn.eps.into(),
        }
    }

    /// The channels with the frozen statistics.
    pub(in crate::train) fn frozen(&self) -> Vec<Channel> {
        let statistics = self.mean.iter().zip(self.var);
        statistics
            .map(|(&mean, &var)| self.channel(mean.into(), var.into()))
            .collect()
    }

    /// The channels with the statistics of all shards: each has a number of values per channel and
    /// the moments of its channels. Means and squares are joined as by Chan, Golub and LeVeque (1979).
    pub(in crate::train) fn joined<'m>(
        &self,
        shards: impl Iterator<Item = (usize, &'m [Moments])> + Clone,
    ) -> Vec<Channel> {
        let channels = 0..self.scale.len();
        let join = |channel: usize| {
            let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
            for (values, moments) in shards.clone() {
                let (values, [own_mean, own_squares]) = (values as f64, moments[channel]);
                let (total, apart) = (count + values, own_mean - mean);
                squares += own_squares + apart * apart * count * values / total;
                mean += apart * values / total;
                count = total;
            }
            self.channel(mean, squares / f64::max(count, 1.0))
        };
        channels.map(join).collect()
    }

    fn channel(&self, mean: f64, var: f64) -> Channel {
        Channel {
            mean,
            var,
            inv_std: 1.0 / (var + self.eps).sqrt(),
        }
    }
}

/// Mean and Σ(x − mean)² of every channel of a shard, whose channels are runs of `run` numbers.
pub(in crate::train) fn moments(x: &[f32], run: usize, moments: &mut [Moments]) {
    for (x, moments) in x.chunks_exact(run).zip(moments) {
        let mean = simd::sum(x) / run as f32;
        *moments = [mean.into(), simd::sum_squares_around(x, mean).into()];
    }
}

/// `y = (x − mean) / std · scale + bias`.
pub(in crate::train) fn forward(p: &Parameters<'_>, channels: &[Channel], x: &[f32], run: usize, y: &mut [f32]) {
    for (i, (x, y)) in x.chunks_exact(run).zip(y.chunks_exact_mut(run)).enumerate() {
        let (factor, shift) = affine(p, channels, i);
        simd(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, x)| *y = factor * x + shift),
        );
    }
}

/// [`forward`] where it stands.
pub(in crate::train) fn forward_in_place(p: &Parameters<'_>, channels: &[Channel], y: &mut [f32], run: usize) {
    for (i, y) in y.chunks_exact_mut(run).enumerate() {
        let (factor, shift) = affine(p, channels, i);
        simd(
            #[inline(always)]
            || y.iter_mut().for_each(|y| *y = factor * *y + shift),
        );
    }
}

fn affine(p: &Parameters<'_>, channels: &[Channel], i: usize) -> (f32, f32) {
    let factor = f64::from(p.scale[i]) * channels[i].inv_std;
    (factor as f32, (f64::from(p.bias[i]) - channels[i].mean * factor) as f32)
}

/// Σdy and Σdy·(x − mean) of every channel of a shard.
pub(in crate::train) fn gradient_moments(
    channels: &[Channel],
    x: &[f32],
    dy: &[f32],
    run: usize,
    moments: &mut [Moments],
) {
    let runs = x.chunks_exact(run).zip(dy.chunks_exact(run));
    for ((channel, (x, dy)), moments) in channels.iter().zip(runs).zip(moments) {
        *moments = [
            simd::sum(dy).into(),
            simd::dot_around(dy, x, channel.mean as f32).into(),
        ];
    }
}

/// Turns the gradient of the output into that of the input.
///
/// `sums` are the moments of the whole batch and `count` its values per channel; both are `None` where
/// the statistics are frozen, and so do not depend on the input.
pub(in crate::train) fn input_backward(
    p: &Parameters<'_>,
    channels: &[Channel],
    sums: Option<(&[Moments], usize)>,
    x: &[f32],
    run: usize,
    dy: &mut [f32],
) {
    for (i, (x, dy)) in x.chunks_exact(run).zip(dy.chunks_exact_mut(run)).enumerate() {
        let channel = channels[i];
        let factor = f64::from(p.scale[i]) * channel.inv_std;
        let Some((sums, count)) = sums else {
            let factor = factor as f32;
            simd(
                #[inline(always)]
                || dy.iter_mut().for_each(|dy| *dy *= factor),
            );
            continue;
        };
        // dx = factor · (dy − mean(dy) − x̂ · mean(dy · x̂)), as factor · dy + slope · x + shift.
        let [sum, product] = sums[i].map(|sum| sum / count as f64);
        let slope = -factor * product * channel.inv_std * channel.inv_std;
        let shift = -factor * sum - slope * channel.mean;
        let (factor, slope, shift) = (factor as f32, slope as f32, shift as f32);
        simd(
            #[inline(always)]
            || {
                let pairs = dy.iter_mut().zip(x);
                pairs.for_each(|(dy, x)| *dy = factor * *dy + (slope * x + shift));
            },
        );
    }
}
