//! Strips of a direct convolution: nothing is copied per kernel position, and
//! all loads are aligned.
//!
//! The panel holds planes of the padded input, one for each remainder modulo the stride, their
//! lines a whole number of vectors apart. The non-zeros of a strip are grouped by the lanes
//! that they reach to the right, the farthest first (`kx`, if the stride is 1): a non-zero at
//! `(ci, ky, kx)` multiplies the lines from `ky` on of channel `ci`, as they are, and between
//! two groups the sums move down by one lane, since `Y[x] = P0[x] + P1[x + 1] + P2[x + 2]`.
//! Where lines have vectors of their own, entries of a group may share what they load (see [`super::stacks`]).
//!
//! Two lines that are short share a vector. A plane has two copies then, the second from the second line on: so
//! each line begins a vector in one of them. What would be behind a line's end is the padding before the next line.

use alloc::vec::Vec;

use super::stacks::stacks;
use super::strips::Entry;
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

    /// Whether lines of `keep` outputs fit half a vector of `lanes`, with the padding in front of a line behind
    /// the one before.
    fn fold(&self, keep: usize, lanes: usize) -> bool {
        let line = lanes / 2;
        let behind = (keep + self.reaches() - 1).saturating_sub(line);
        let fits = |phase| {
            let stride = self.stride[1];
            let at = self.pads[1].saturating_sub(phase).div_ceil(stride);
            let skipped = (at * stride + phase).saturating_sub(self.pads[1]);
            at >= behind && at + self.input[1].saturating_sub(skipped).div_ceil(stride) <= line
        };
        keep <= line && (0..self.stride[1]).all(fits)
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
    /// Most lines of a panel.
    pub lines: usize,
    /// Lines that share vectors, 1 or 2, and copies of a phase plane.
    pub folded: usize,
    /// Vectors of so many lines.
    pub vectors: usize,
    /// Numbers of a line.
    pub line: usize,
    /// Outputs of a line.
    pub keep: usize,
    /// Numbers of a copy.
    pub copy: usize,
    /// Numbers of a phase plane.
    pub phase: usize,
    /// Numbers of a channel.
    pub plane: usize,
}

impl Planes {
    /// For panels of at most `lines` lines of `keep` outputs.
    pub fn new(taps: &Taps, keep: usize, lines: usize, lanes: usize) -> Self {
        let folded = if taps.fold(keep, lanes) { 2 } else { 1 };
        let vectors = match folded {
            1 => (keep + taps.reaches() - 1).div_ceil(lanes).max(1),
            _ => 1,
        };
        let line = vectors * lanes / folded;
        let copy = (lines.div_ceil(folded) + taps.halo() / folded) * folded * line;
        Self {
            lines,
            folded,
            vectors,
            line,
            keep,
            copy,
            phase: copy * folded,
            plane: copy * folded * taps.phases(),
        }
    }

    /// Vectors of `lines` lines.
    pub(crate) fn vectors_of(&self, lines: usize) -> usize {
        lines.div_ceil(self.folded.max(1)) * self.vectors
    }

    /// Most lines of `vectors` vectors.
    pub(crate) fn lines_of(&self, vectors: usize) -> usize {
        vectors / self.vectors * self.folded
    }

    /// Where the vectors from a line on begin in a phase plane.
    fn start_of(&self, line: usize) -> usize {
        let copy = line % self.folded;
        copy * self.copy + (line - copy) * self.line
    }
}

impl Strips {
    /// Repacks `rows` in windows of `window` channels, for a direct kernel of that shape; else as [`Strips::new`].
    pub(crate) fn direct(
        rows: &Rows,
        shape: Shape,
        taps: &Taps,
        planes: Planes,
        window: usize,
        part_count: usize,
    ) -> Self {
        let height = shape.rows();
        let mut strips = Self::empty(rows, shape, taps.channels, window, planes.plane, part_count);
        strips.planes = planes;
        strips.loops = match shape.is_stacked(&planes) {
            true => 2 * taps.reaches(),
            false => taps.reaches(),
        };
        let bounds = strips.part_bounds(rows);
        for index in 0..strips.windows() {
            let (first, channels) = strips.window_cols(index);
            for bounds in bounds.windows(2) {
                let from = (bounds[0]..bounds[1]).step_by(height);
                let groups = |row| strips.direct_groups(rows, height, taps, first..first + channels, row);
                let mut steps: Vec<_> = from.map(|row| (row, groups(row))).collect();
                steps.sort_by_key(|(_, groups)| core::cmp::Reverse(groups.iter().map(Vec::len).sum::<usize>()));
                for (row, groups) in steps {
                    for entries in groups {
                        strips.push_direct(entries, channels);
                    }
                    strips.order.push([row as u32, u32::MAX]);
                }
                strips.parts.push(strips.order.len());
            }
        }
        strips.finish();
        strips
    }

    /// The loops over the entries of a group, in a window of `channels`.
    fn push_direct(&mut self, mut entries: Vec<Entry>, channels: usize) {
        let height = self.shape().rows();
        if height > 1 {
            for entries in entries.chunks(height) {
                self.words.push(4 * entries[0].1 as u32);
                self.words.extend(entries.iter().map(|(value, _)| value.to_bits()));
            }
            return self.end_loop(0);
        }
        if self.shape().is_stacked(&self.planes) {
            let (mixed, others) = stacks(entries, &self.planes);
            self.push_quads(&mixed);
            entries = others;
        } else if entries.len() % 2 == 1 {
            // Where an entry takes little time, a multiplication by zero takes less than a branch that is mispredicted.
            entries.push((0.0, channels * self.planes.plane));
        }
        self.push_quads(&entries);
    }

    /// Values and places in the panel of each group of the strip that starts at `row`, row by row.
    fn direct_groups(
        &self,
        rows: &Rows,
        height: usize,
        taps: &Taps,
        window: core::ops::Range<usize>,
        row: usize,
    ) -> Vec<Vec<Entry>> {
        let group = |reach: usize| {
            let mut entries = Vec::new();
            let first = reach * taps.stride[1];
            for ky in 0..taps.kernel[0] {
                for kx in first..(first + taps.stride[1]).min(taps.kernel[1]) {
                    let (phase, line) = taps.place(ky, kx);
                    let at = phase * self.planes.phase + self.planes.start_of(line);
                    let start = (ky * taps.kernel[1] + kx) * taps.channels;
                    rows.steps(row, height, start + window.start, start + window.end, |col, values| {
                        let place = (col - start - window.start) * self.planes.plane + at;
                        entries.extend(values.iter().map(|&value| (value, place)));
                    });
                }
            }
            entries
        };
        (0..taps.reaches()).rev().map(group).collect()
    }
}
