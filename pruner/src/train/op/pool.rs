//! Pooling.

use std::ops::Range;

use secateur_format::Shape;
use secateur_format::op::{Pool, PoolKind};

use crate::train::simd;

/// A pooling of planes of one size.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Windows {
    pool: Pool,
    input: [usize; 2],
    output: [usize; 2],
}

impl Windows {
    pub(in crate::train) fn new(pool: Pool, input: Shape, output: Shape) -> Self {
        let plane = |shape: Shape| {
            let [_, h, w, _] = shape.padded_dims();
            [h as usize, w as usize]
        };
        Self {
            pool,
            input: plane(input),
            output: plane(output),
        }
    }

    /// The input rows (axis 0) or columns (axis 1) of output `o`.
    fn range(&self, axis: usize, o: usize) -> Range<usize> {
        let (stride, pad) = (usize::from(self.pool.stride[axis]), usize::from(self.pool.pads[axis]));
        let first = o * stride;
        let end = (first + usize::from(self.pool.kernel[axis]))
            .saturating_sub(pad)
            .min(self.input[axis]);
        first.saturating_sub(pad).min(end)..end
    }

    /// Calls `f` with each output and the rows and columns of its window.
    fn each(&self, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        for oy in 0..self.output[0] {
            let rows = self.range(0, oy);
            for ox in 0..self.output[1] {
                f(oy * self.output[1] + ox, rows.clone(), self.range(1, ox));
            }
        }
    }

    /// What the sum of a window is divided by.
    fn divisor(&self, rows: &Range<usize>, columns: &Range<usize>) -> f32 {
        let [kh, kw] = self.pool.kernel.map(usize::from);
        match self.pool.kind {
            PoolKind::AverageWithPadding => (kh * kw) as f32,
            _ => (rows.len() * columns.len()) as f32,
        }
    }

    fn planes<'a>(&self, x: &'a [f32], y: &'a mut [f32]) -> impl Iterator<Item = (&'a [f32], &'a mut [f32])> {
        let [input, output] = [self.input, self.output].map(|[h, w]| h * w);
        x.chunks_exact(input).zip(y.chunks_exact_mut(output))
    }

    /// The place of the largest number of a window; the first of equals, as in PyTorch.
    fn largest(&self, plane: &[f32], rows: Range<usize>, columns: Range<usize>) -> usize {
        let width = self.input[1];
        let mut best = rows.start * width + columns.start;
        for row in rows {
            for at in row * width + columns.start..row * width + columns.end {
                if plane[at] > plane[best] {
                    best = at;
                }
            }
        }
        best
    }
}

/// Pools every plane.
pub(in crate::train) fn forward(windows: &Windows, x: &[f32], y: &mut [f32]) {
    let width = windows.input[1];
    for (x, y) in windows.planes(x, y) {
        windows.each(|at, rows, columns| {
            y[at] = if windows.pool.kind == PoolKind::Max {
                x[windows.largest(x, rows, columns)]
            } else {
                let divisor = windows.divisor(&rows, &columns);
                let lines = rows.map(|row| &x[row * width..][columns.clone()]);
                lines.map(|line| line.iter().sum::<f32>()).sum::<f32>() / divisor
            }
        });
    }
}

/// Adds the gradient of the input `x`, which only the maximum reads.
pub(in crate::train) fn backward(windows: &Windows, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let [input, output] = [windows.input, windows.output].map(|[h, w]| h * w);
    let width = windows.input[1];
    for (i, (dy, dx)) in dy.chunks_exact(output).zip(dx.chunks_exact_mut(input)).enumerate() {
        windows.each(|at, rows, columns| {
            if windows.pool.kind == PoolKind::Max {
                dx[windows.largest(&x[i * input..][..input], rows, columns)] += dy[at];
            } else {
                let part = dy[at] / windows.divisor(&rows, &columns);
                for row in rows {
                    let line = &mut dx[row * width..][columns.clone()];
                    line.iter_mut().for_each(|dx| *dx += part);
                }
            }
        });
    }
}

/// The mean of every plane.
pub(in crate::train) fn global_forward(x: &[f32], plane: usize, y: &mut [f32]) {
    for (x, y) in x.chunks_exact(plane).zip(y) {
        *y = simd::sum(x) / plane as f32;
    }
}

/// Adds the gradient of the planes.
pub(in crate::train) fn global_backward(dy: &[f32], plane: usize, dx: &mut [f32]) {
    for (dx, dy) in dx.chunks_exact_mut(plane).zip(dy) {
        let part = dy / plane as f32;
        dx.iter_mut().for_each(|dx| *dx += part);
    }
}
