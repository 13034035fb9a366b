//! Strips of a direct convolution: nothing is copied per kernel position, and
//! all loads are aligned.
//!
//! The panel holds planes of the padded input, one for each remainder modulo the stride, their
//! lines a whole number of vectors apart. The non-zeros of a strip are grouped by the lanes
//! that they reach to the right, the farthest first (`kx`, if the stride is 1): a non-zero at
//! `(ci, ky, kx)` multiplies the lines from `ky` on of channel `ci`, as they are, and between
//! two groups the sums move down by one lane, since `Y[x] = P0[x] + P1[x + 1] + P2[x + 2]`.

use alloc::vec::Vec;

use super::{Rows, Shape, Strips};

/// What a convolution looks like to a direct kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taps {
    /// Kernel positions, vertical and horizontal; at least 2 horizontal ones.
    pub kernel: [usize; 2],
    /// Lines and columns of the padded input between two outputs; at most 2 columns.
    pub stride: [usize; 2],
    /// Lines between two vertical kernel positions.
    pub dilation: usize,
    /// Input channels of a group.
    pub channels: usize,
    /// Lines and columns of an input channel.
    pub input: [usize; 2],
    /// Zeros above and to the left of it.
    pub pads: [usize; 2],
}

impl Taps {
    /// Lines of a phase plane that an output line needs, beyond its own.
    pub fn halo(&self) -> usize {
        self.kernel[0].saturating_sub(1) * self.dilation / self.stride[0]
    }

    /// Groups of kernel columns that reach equally far.
    pub fn reaches(&self) -> usize {
        self.kernel[1].saturating_sub(1) / self.stride[1] + 1
    }

    /// Planes of a channel.
    pub(crate) fn phases(&self) -> usize {
        self.stride[0] * self.stride[1]
    }

    /// First line and column of a phase plane in the padded input; `None` for one that no kernel
    /// position reads.
    pub(crate) fn origin(&self, phase: usize) -> Option<[usize; 2]> {
        let [y, x] = [phase / self.stride[1], phase % self.stride[1]];
        let read = (0..self.kernel[0]).any(|ky| ky * self.dilation % self.stride[0] == y) && x < self.kernel[1];
        read.then_some([y, x])
    }

    /// Phase plane of a kernel position, and its first line there.
    fn place(&self, ky: usize, kx: usize) -> (usize, usize) {
        let y = ky * self.dilation;
        (
            y % self.stride[0] * self.stride[1] + kx % self.stride[1],
            y / self.stride[0],
        )
    }
}

/// How the planes of a direct panel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Planes {
    /// Vectors of a line.
    pub vectors: usize,
    /// Numbers of a line.
    pub line: usize,
    /// Outputs of a line.
    pub keep: usize,
    /// Numbers of a phase plane.
    pub phase: usize,
    /// Numbers of a channel.
    pub plane: usize,
}

impl Strips {
    /// Repacks `rows` in windows of `window` channels; else as [`Strips::new`].
    pub fn direct(rows: &Rows, height: usize, taps: &Taps, planes: Planes, window: usize, part_count: usize) -> Self {
        let shape = Shape::Direct { rows: height };
        let mut strips = Self::empty(rows, shape, taps.channels, window, planes.plane, part_count);
        strips.planes = planes;
        let bounds = strips.part_bounds(rows);
        for index in 0..strips.windows() {
            let (first, channels) = strips.window_cols(index);
            for bounds in bounds.windows(2) {
                let from = (bounds[0]..bounds[1]).step_by(height);
                let mut steps: Vec<(usize, Vec<u32>)> = from
                    .map(|row| {
                        (
                            row,
                            strips.direct_steps(rows, height, taps, first..first + channels, row),
                        )
                    })
                    .collect();
                steps.sort_by_key(|(_, words)| core::cmp::Reverse(words.len()));
                for (row, words) in steps {
                    strips.words.extend(words);
                    strips.push_strip([row as u32, u32::MAX]);
                }
                strips.parts.push(strips.order.len());
            }
        }
        strips
    }

    /// The words of the strip that starts at `row`.
    fn direct_steps(
        &self,
        rows: &Rows,
        height: usize,
        taps: &Taps,
        window: core::ops::Range<usize>,
        row: usize,
    ) -> Vec<u32> {
        let mut words = Vec::new();
        for reach in (0..taps.reaches()).rev() {
            let count = words.len();
            words.push(0);
            let first = reach * taps.stride[1];
            for ky in 0..taps.kernel[0] {
                for kx in first..(first + taps.stride[1]).min(taps.kernel[1]) {
                    let (phase, line) = taps.place(ky, kx);
                    let at = phase * self.planes.phase + line * self.planes.line;
                    let start = (ky * taps.kernel[1] + kx) * taps.channels;
                    rows.steps(row, height, start + window.start, start + window.end, |col, values| {
                        let channel = col - start - window.start;
                        let offset = 4 * (channel * self.planes.plane + at) as u32;
                        match *values {
                            // As `Vector::entry` reads them.
                            [value] => words.extend([value.to_bits(), offset]),
                            _ => {
                                words.push(offset);
                                words.extend(values.iter().map(|value| value.to_bits()));
                            }
                        }
                        words[count] += 1;
                    });
                }
            }
        }
        words
    }
}
