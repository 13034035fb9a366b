//! Operators that move numbers: reshape, concat, pad, slice.

use secateur_format::{MAX_RANK, Shape};

/// Axes of a value in a shard: its own, and the samples behind the first.
const AXES: usize = MAX_RANK + 1;

fn axes(shape: Shape, samples: usize) -> [usize; AXES] {
    let [d0, d1, d2, d3] = shape.padded_dims().map(|d| d as usize);
    [d0, samples, d1, d2, d3]
}

/// Calls `f` with each stretch that is one run before and after a reshape: where it starts in the
/// input and the output, and its length.
fn stretches(input: Shape, output: Shape, samples: usize, mut f: impl FnMut(usize, usize, usize)) {
    let [rows, out_rows] = [input, output].map(|shape| shape.dims()[0] as usize);
    let (run, out_run) = (input.elems() / rows, output.elems() / out_rows);
    for row in 0..rows {
        for sample in 0..samples {
            let mut at = 0;
            while at < run {
                let (out_row, offset) = ((row * run + at) / out_run, (row * run + at) % out_run);
                let len = (run - at).min(out_run - offset);
                let from = (row * samples + sample) * run + at;
                f(from, (out_row * samples + sample) * out_run + offset, len);
                at += len;
            }
        }
    }
}

/// Gives the numbers of each sample another shape.
pub(in crate::train) fn reshape(input: Shape, output: Shape, samples: usize, x: &[f32], y: &mut [f32]) {
    stretches(input, output, samples, |from, to, len| {
        y[to..to + len].copy_from_slice(&x[from..from + len]);
    });
}

/// Adds the gradient of the input of [`reshape`].
pub(in crate::train) fn reshape_backward(input: Shape, output: Shape, samples: usize, dy: &[f32], dx: &mut [f32]) {
    stretches(input, output, samples, |to, from, len| {
        let pairs = dx[to..to + len].iter_mut().zip(&dy[from..from + len]);
        pairs.for_each(|(dx, dy)| *dx += dy);
    });
}

/// The run of a value that lies together when values are joined along `axis`.
fn joined_run(shape: Shape, axis: usize, samples: usize) -> usize {
    let behind: usize = shape.dims()[axis..].iter().map(|&d| d as usize).product();
    if axis == 0 { behind * samples } else { behind }
}

/// The part of input `index` in a value of runs of `total`, of which `before` numbers come from other inputs.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Part {
    run: usize,
    before: usize,
    total: usize,
}

impl Part {
    /// The parts of all inputs.
    pub(in crate::train) fn all(shapes: &[Shape], axis: usize, samples: usize) -> Vec<Self> {
        let runs: Vec<usize> = shapes.iter().map(|&shape| joined_run(shape, axis, samples)).collect();
        let total = runs.iter().sum();
        let mut before = 0;
        let part = |&run: &usize| {
            let part = Self { run, before, total };
            before += run;
            part
        };
        runs.iter().map(part).collect()
    }

    /// Copies the input to its place.
    pub(in crate::train) fn join(&self, x: &[f32], y: &mut [f32]) {
        for (x, y) in x.chunks_exact(self.run).zip(y.chunks_exact_mut(self.total)) {
            y[self.before..][..self.run].copy_from_slice(x);
        }
    }

    /// Adds the gradient of the input.
    pub(in crate::train) fn split(&self, dy: &[f32], dx: &mut [f32]) {
        for (dx, dy) in dx.chunks_exact_mut(self.run).zip(dy.chunks_exact(self.total)) {
            let pairs = dx.iter_mut().zip(&dy[self.before..]);
            pairs.for_each(|(dx, dy)| *dx += dy);
        }
    }
}

/// A value that lies within a larger one, element `i` of an axis at `start + i · step`: the input of
/// a pad in its output, the output of a slice in its input.
#[derive(Clone, Copy, Debug)]
pub(in crate::train) struct Inner {
    small: [usize; AXES],
    large: [usize; AXES],
    start: [usize; AXES],
    step: [usize; AXES],
    /// The axis whose lines are walked.
    line: usize,
}

impl Inner {
    pub(in crate::train) fn new(
        small: Shape,
        large: Shape,
        samples: usize,
        start: [usize; MAX_RANK],
        step: [usize; MAX_RANK],
    ) -> Self {
        let [s0, s1, s2, s3] = start;
        let [t0, t1, t2, t3] = step;
        Self {
            small: axes(small, samples),
            large: axes(large, samples),
            start: [s0, 0, s1, s2, s3],
            step: [t0, 1, t1, t2, t3],
            line: small.rank(),
        }
    }

    /// Calls `f` with the first element of each line, in the small and in the large value.
    fn lines(&self, mut f: impl FnMut(usize, usize)) {
        let len = self.small[self.line];
        let count = self.small.iter().product::<usize>() / len;
        for line in 0..count {
            let (mut rest, mut at, mut stride) = (line, 0, 1);
            for axis in (0..AXES).rev() {
                let mut index = 0;
                if axis != self.line {
                    index = rest % self.small[axis];
                    rest /= self.small[axis];
                }
                at += (self.start[axis] + index * self.step[axis]) * stride;
                stride *= self.large[axis];
            }
            f(line * len, at);
        }
    }

    /// Calls `f` with each element of the large value that has its place in the small one, and that.
    fn gather(&self, large: &[f32], small: &mut [f32], f: impl Fn(&mut f32, f32)) {
        let (len, step) = (self.small[self.line], self.step[self.line]);
        self.lines(|to, from| {
            let line = large[from..].iter().step_by(step);
            small[to..to + len]
                .iter_mut()
                .zip(line)
                .for_each(|(to, from)| f(to, *from));
        });
    }

    fn scatter(&self, small: &[f32], large: &mut [f32], f: impl Fn(&mut f32, f32)) {
        let (len, step) = (self.small[self.line], self.step[self.line]);
        self.lines(|from, to| {
            let line = large[to..].iter_mut().step_by(step);
            line.zip(&small[from..from + len]).for_each(|(to, from)| f(to, *from));
        });
    }

    /// The large value, around the small one `value`.
    pub(in crate::train) fn pad(&self, x: &[f32], value: f32, y: &mut [f32]) {
        y.fill(value);
        self.scatter(x, y, |y, x| *y = x);
    }

    /// Adds the gradient of the input of [`Inner::pad`].
    pub(in crate::train) fn pad_backward(&self, dy: &[f32], dx: &mut [f32]) {
        self.gather(dy, dx, |dx, dy| *dx += dy);
    }

    /// The small value.
    pub(in crate::train) fn slice(&self, x: &[f32], y: &mut [f32]) {
        self.gather(x, y, |y, x| *y = x);
    }

    /// Adds the gradient of the input of [`Inner::slice`].
    pub(in crate::train) fn slice_backward(&self, dy: &[f32], dx: &mut [f32]) {
        self.scatter(dy, dx, |dx, dy| *dx += dy);
    }
}
