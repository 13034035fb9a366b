//! Strips of a direct convolution: nothing is copied per kernel position, and
//! all loads are aligned.
//!
//! The panel holds planes of the padded input, their lines a whole number of
//! vectors apart. The non-zeros of an output row are grouped by kernel column
//! `kx`, the last column first: a non-zero at `(ci, ky, kx)` multiplies the lines from
//! `ky` on of channel `ci`, as they are, and between two groups the sums move
//! down by one lane, since `Y[x] = P0[x] + P1[x + 1] + P2[x + 2]`.

use alloc::vec::Vec;

use super::{Rows, Shape, Strips};

/// What a convolution of stride 1 looks like to a direct kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taps {
    /// Kernel positions, vertical and horizontal; at least 2 horizontal ones.
    pub kernel: [usize; 2],
    /// Lines between two vertical kernel positions.
    pub dilation: usize,
    /// Input channels of a group.
    pub channels: usize,
}

impl Taps {
    /// Lines of the input that an output line needs, beyond its own.
    pub fn halo(&self) -> usize {
        self.kernel[0].saturating_sub(1) * self.dilation
    }
}

/// An input that a direct kernel's panels are padded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpadded {
    /// Lines and columns of a channel.
    pub input: [usize; 2],
    /// Zeros above and to the left.
    pub pads: [usize; 2],
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
    /// Numbers of a plane.
    pub plane: usize,
}

impl Strips {
    /// Repacks `rows` in windows of `window` channels; else as [`Strips::new`].
    pub fn direct(rows: &Rows, taps: &Taps, planes: Planes, window: usize, part_count: usize) -> Self {
        let mut strips = Self::empty(rows, Shape::Direct, taps.channels, window, planes.plane, part_count);
        strips.planes = planes;
        let bounds = strips.part_bounds(rows);
        for index in 0..strips.windows() {
            let (first, channels) = strips.window_cols(index);
            for bounds in bounds.windows(2) {
                strips.push_direct(rows, taps, first, channels, bounds[0]..bounds[1]);
            }
        }
        strips
    }

    fn push_direct(&mut self, rows: &Rows, taps: &Taps, first: usize, channels: usize, part: core::ops::Range<usize>) {
        let tap = |ky: usize, kx: usize| (ky * taps.kernel[1] + kx) * taps.channels;
        let mut lines: Vec<(u32, Vec<u32>)> = part
            .map(|row| {
                let mut words = Vec::new();
                for kx in (0..taps.kernel[1]).rev() {
                    let count = words.len();
                    words.push(0);
                    for ky in 0..taps.kernel[0] {
                        let start = tap(ky, kx);
                        for &(col, value) in rows.window(row, start + first, start + first + channels) {
                            let channel = col as usize - start - first;
                            let offset = channel * self.planes.plane + ky * taps.dilation * self.planes.line;
                            words.extend([value.to_bits(), (4 * offset) as u32]);
                        }
                    }
                    words[count] = ((words.len() - count - 1) / 2) as u32;
                }
                (row as u32, words)
            })
            .collect();
        lines.sort_by_key(|(_, words)| core::cmp::Reverse(words.len()));
        for (row, words) in lines {
            self.words.extend(words);
            self.push_strip([row, u32::MAX]);
        }
        self.parts.push(self.order.len());
    }
}
