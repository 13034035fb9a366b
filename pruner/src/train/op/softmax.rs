//! Softmax along an axis.

use secateur_format::Shape;

/// Lines of `extent` numbers that lie `inner` apart.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Lines {
    extent: usize,
    inner: usize,
}

impl Lines {
    pub(in crate::train) fn new(shape: Shape, axis: usize, samples: usize) -> Self {
        let behind: usize = shape.dims()[axis + 1..].iter().map(|&d| d as usize).product();
        Self {
            extent: shape.dims()[axis] as usize,
            inner: if axis == 0 { behind * samples } else { behind },
        }
    }

    /// The places of each line.
    fn each(&self, len: usize, mut f: impl FnMut(std::iter::StepBy<std::ops::Range<usize>>)) {
        let block = self.extent * self.inner;
        for first in (0..len).step_by(block) {
            for offset in 0..self.inner {
                f((first + offset..first + block).step_by(self.inner));
            }
        }
    }
}

/// `y = eˣ / Σ eˣ` along each line.
pub(in crate::train) fn forward(lines: &Lines, x: &[f32], y: &mut [f32]) {
    lines.each(x.len(), |line| {
        let max = line.clone().fold(f32::NEG_INFINITY, |max, at| max.max(x[at]));
        let mut sum = 0.0;
        for at in line.clone() {
            y[at] = (x[at] - max).exp();
            sum += y[at];
        }
        line.for_each(|at| y[at] /= sum);
    });
}

/// Adds `y · (dy − Σ dy · y)`.
pub(in crate::train) fn backward(lines: &Lines, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    lines.each(y.len(), |line| {
        let sum: f32 = line.clone().map(|at| dy[at] * y[at]).sum();
        line.for_each(|at| dx[at] += y[at] * (dy[at] - sum));
    });
}
