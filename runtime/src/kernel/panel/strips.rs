//! Repacked weights.

use alloc::vec;
use alloc::vec::Vec;

use super::pairs::{self, Pair, pairs};
use super::{Planes, Rows};
use crate::kernel::vector::MOST_LANES;

/// How the weights of a strip lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Two rows with columns of their own. A step is an entry, and four are a *quad*: four offsets in two words,
    /// then four values. First, in a loop by themselves, come quads that begin with two entries of the same column, one of each row;
    /// then the others. In both, entries are of one row and the other in turns: the shorter row is
    /// filled up with zeros that multiply the panel's line of zeros. The last entries of a loop's last quad may be empty.
    Pair,
    /// `rows` rows that share their columns. A step is an offset and `rows` values.
    Block {
        /// 2, 4 or 8.
        rows: usize,
    },
    /// `rows` rows with all columns. A step is `rows` values.
    Dense {
        /// Rows; those past the matrix are zero and not stored.
        rows: usize,
    },
    /// `rows` rows of a direct convolution that share their columns, group after group of kernel
    /// columns. Steps are an offset and `rows` values, or, of one row, entries in quads: first, in a loop by themselves,
    /// those that begin with two stacked entries (see `stacks.rs`), then the others. Kernels that do not stack
    /// have no loop for them, and an odd number of entries is filled up with a zero.
    Direct {
        /// 1, 2 or 4.
        rows: usize,
        /// Whether entries of one row are stacked, unless lines share vectors.
        stacked: bool,
    },
}

impl Shape {
    /// Rows of a strip.
    pub fn rows(self) -> usize {
        match self {
            Self::Pair => 2,
            Self::Block { rows } | Self::Dense { rows } | Self::Direct { rows, .. } => rows,
        }
    }

    /// Bytes of a step.
    fn step_bytes(self) -> usize {
        match self {
            Self::Pair | Self::Direct { rows: 1, .. } => QUAD_BYTES / 4,
            Self::Block { rows } | Self::Direct { rows, .. } => 4 * (rows + 1),
            Self::Dense { rows } => 4 * rows,
        }
    }

    /// Whether entries that are stacked have a loop of their own, in panels of such planes.
    pub(crate) fn is_stacked(self, planes: &Planes) -> bool {
        matches!(self, Self::Direct { rows: 1, stacked: true }) && planes.folded == 1
    }

    /// Steps that lie together.
    pub(in crate::kernel) fn together(self) -> usize {
        match self {
            Self::Pair | Self::Direct { rows: 1, .. } => 4,
            _ => 1,
        }
    }

    /// Most lines, `stride` numbers apart, of a panel that offsets can tell apart.
    pub(crate) fn most_cols(self, stride: usize) -> usize {
        match self {
            Self::Pair | Self::Direct { rows: 1, .. } => usize::from(u16::MAX) * OFFSET_UNIT / stride.max(1),
            _ => u32::MAX as usize / (4 * stride.max(1)),
        }
    }
}

/// Bytes of four offsets and four values.
pub(in crate::kernel) const QUAD_BYTES: usize = 24;
/// Numbers that the offsets of quads count: so 16 bits are enough for a panel.
pub(in crate::kernel) const OFFSET_UNIT: usize = 2;

/// The weights of a matrix, cut into windows of columns and parts of rows.
#[derive(Clone, Debug)]
pub struct Strips {
    shape: Shape,
    rows: usize,
    cols: usize,
    /// Columns of a window.
    window: usize,
    /// Distance of two lines of the panel that the offsets are made for.
    stride: usize,
    /// Of a direct convolution.
    pub(super) planes: Planes,
    part_count: usize,
    /// First strip of each part of each window, and the end.
    pub(super) parts: Vec<usize>,
    /// Rows of each strip; only pairs use the second.
    pub(super) order: Vec<[u32; 2]>,
    /// Loops of a strip: one, two of a pair, or one or two for each group of a direct convolution.
    pub(super) loops: usize,
    /// First step of each loop of each strip, and the end.
    starts: Vec<u32>,
    /// What kernels read ahead of the last step is there.
    pub(super) words: Vec<u32>,
}

/// Some strips of one window.
#[derive(Clone, Copy, Debug)]
pub struct Window<'t> {
    pub(in crate::kernel) shape: Shape,
    /// Rows of the matrix.
    pub(in crate::kernel) rows: usize,
    /// Columns of the window.
    pub(in crate::kernel) cols: usize,
    /// Distance of two lines of the panel.
    pub(in crate::kernel) stride: usize,
    /// Of a direct convolution.
    pub(in crate::kernel) planes: Planes,
    /// Whether weights come from beyond the caches of a core.
    pub(in crate::kernel) streamed: bool,
    pub(in crate::kernel) order: &'t [[u32; 2]],
    /// Loops of a strip.
    pub(in crate::kernel) loops: usize,
    pub(in crate::kernel) starts: &'t [u32],
    pub(in crate::kernel) words: &'t [u32],
}

impl Strips {
    /// Repacks `rows` in windows of `window` columns, for panels whose lines
    /// are `stride` numbers apart; each window in `part_count` parts of about the same
    /// number of entries. Inside a part, rows with equally many entries follow
    /// each other: the processor predicts where a row ends.
    pub fn new(rows: &Rows, shape: Shape, window: usize, stride: usize, part_count: usize) -> Self {
        let mut strips = Self::empty(rows, shape, rows.cols(), window, stride, part_count);
        let bounds = strips.part_bounds(rows);
        for index in 0..strips.windows() {
            for bounds in bounds.windows(2) {
                strips.push_part(rows, index * strips.window, bounds[0], bounds[1]);
            }
        }
        strips.finish();
        strips
    }

    /// Adds what kernels may read behind the last step: weights in whole vectors, or quads ahead.
    pub(super) fn finish(&mut self) {
        self.words.resize(self.words.len() + MOST_LANES, 0);
    }

    /// No strips yet, for panels of `cols` lines or planes.
    pub(super) fn empty(
        rows: &Rows,
        shape: Shape,
        cols: usize,
        window: usize,
        stride: usize,
        part_count: usize,
    ) -> Self {
        Self {
            shape,
            rows: rows.len(),
            cols,
            window: Self::window(shape, cols, window, stride),
            stride,
            planes: Planes::default(),
            part_count: part_count.max(1),
            parts: vec![0],
            order: Vec::new(),
            loops: if shape == Shape::Pair { 2 } else { 1 },
            starts: vec![0],
            words: Vec::new(),
        }
    }

    /// Columns of a window of at most `most`.
    pub(crate) fn window(shape: Shape, cols: usize, most: usize, stride: usize) -> usize {
        most.min(shape.most_cols(stride)).clamp(1, cols.max(1))
    }

    /// How the weights of a strip lie.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, or channels of a direct convolution.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Windows.
    pub fn windows(&self) -> usize {
        self.cols.div_ceil(self.window)
    }

    /// First column and number of columns of a window.
    pub fn window_cols(&self, window: usize) -> (usize, usize) {
        let first = window * self.window;
        (first, self.window.min(self.cols.saturating_sub(first)))
    }

    /// Numbers of a line of planes, for a direct convolution.
    pub(crate) fn line(&self) -> Option<usize> {
        matches!(self.shape, Shape::Direct { .. }).then_some(self.planes.line)
    }

    /// Parts of each window.
    pub fn part_count(&self) -> usize {
        self.part_count
    }

    /// Bytes that all strips take.
    pub fn bytes(&self) -> usize {
        4 * (self.words.len() + self.starts.len() + 2 * self.order.len())
    }

    /// The strips of a part of a window, cut into chunks of about `bytes` of weights.
    pub fn part(&self, window: usize, part: usize, bytes: usize) -> impl Iterator<Item = Window<'_>> {
        let at = window * self.part_count + part;
        let (mut first, end) = (self.parts[at], self.parts[at + 1]);
        let steps = (bytes / self.shape.step_bytes()).max(1);
        core::iter::from_fn(move || {
            let from = *self.starts.get(first * self.loops)? as usize;
            let ends = &self.starts[first * self.loops + 1..=end * self.loops];
            let fits = ends.partition_point(|&s| s as usize <= from + steps) / self.loops;
            let last = (first + fits.max(1)).min(end);
            let chunk = (first < end).then(|| self.strips(window, first, last));
            first = last;
            chunk
        })
    }

    fn strips(&self, window: usize, first: usize, end: usize) -> Window<'_> {
        let words = match self.shape {
            // The kernel walks from the first word.
            Shape::Dense { rows } => &self.words[self.starts[first] as usize * rows..],
            _ => &self.words[..],
        };
        Window {
            shape: self.shape,
            rows: self.rows,
            cols: self.window_cols(window).1,
            stride: self.stride,
            planes: self.planes,
            streamed: self.bytes() > STREAMED_BYTES,
            order: &self.order[first..end],
            loops: self.loops,
            starts: &self.starts[first * self.loops..=end * self.loops],
            words,
        }
    }

    /// Row bounds of parts with about the same number of entries, at the nearest whole strips.
    pub(super) fn part_bounds(&self, rows: &Rows) -> Vec<usize> {
        let strip = match self.shape {
            Shape::Pair => pairs::BLOCK,
            shape => shape.rows(),
        };
        let weight = |row: usize| match self.shape {
            Shape::Dense { .. } => row * rows.cols(),
            _ => rows.starts[row],
        };
        let total = weight(rows.len());
        let mut bounds = vec![0];
        for part in 1..self.part_count {
            let goal = total * part / self.part_count;
            let row = (0..rows.len())
                .position(|row| weight(row) >= goal)
                .unwrap_or(rows.len());
            let nearest = (row + strip / 2) / strip * strip;
            bounds.push(nearest.min(rows.len()).max(bounds[part - 1]));
        }
        bounds.push(rows.len());
        bounds
    }

    fn push_part(&mut self, rows: &Rows, first: usize, from: usize, to: usize) {
        let end = (first + self.window).min(self.cols);
        match self.shape {
            Shape::Pair => self.push_pairs(rows, first, end, from, to),
            Shape::Block { rows: r } => {
                let mut blocks: Vec<(usize, Vec<u32>)> = (from..to)
                    .step_by(r)
                    .map(|row| (row, self.block_steps(rows, row, r, first, end)))
                    .collect();
                blocks.sort_by_key(|(_, words)| core::cmp::Reverse(words.len()));
                for (row, words) in blocks {
                    self.words.extend(words);
                    self.push_strip([row as u32, NO_ROW]);
                }
            }
            Shape::Dense { rows: r } => {
                for row in (from..to).step_by(r) {
                    self.push_dense(rows, row, r, first, end);
                }
            }
            // Made by `Strips::direct`.
            Shape::Direct { .. } => {}
        }
        self.parts.push(self.order.len());
    }

    fn push_pairs(&mut self, rows: &Rows, first: usize, end: usize, from: usize, to: usize) {
        let stride = self.stride;
        let place = |col: u32| (col as usize - first) * stride;
        let zero = (0.0, (end - first) * stride);
        let mut all: Vec<Pair> = Vec::new();
        for from in (from..to).step_by(pairs::BLOCK) {
            let block = from..(from + pairs::BLOCK).min(to);
            let lines: Vec<_> = block.map(|row| rows.window(row, first, end)).collect();
            all.extend(pairs(&lines, [from as u32, NO_ROW], [first, end - first], place, zero));
        }
        // Loops of equal length follow each other.
        all.sort_by_key(|pair| core::cmp::Reverse((pair.own.len(), pair.mixed.len())));
        for pair in all {
            self.push_quads(&pair.mixed);
            self.push_quads(&pair.own);
            self.order.push(pair.rows);
        }
    }

    fn block_steps(&self, rows: &Rows, row: usize, height: usize, first: usize, end: usize) -> Vec<u32> {
        let mut words = Vec::new();
        rows.steps(row, height, first, end, |col, values| {
            words.push(self.offset(col - first));
            words.extend(values.iter().map(|value| value.to_bits()));
        });
        words
    }

    fn push_dense(&mut self, rows: &Rows, row: usize, r: usize, first: usize, end: usize) {
        let at = self.words.len();
        self.words.resize(at + r * (end - first), 0);
        for i in 0..r {
            for &(col, value) in rows.window(row + i, first, end) {
                self.words[at + (col as usize - first) * r + i] = value.to_bits();
            }
        }
        self.push_strip([row as u32, NO_ROW]);
    }

    /// A loop of entries in quads.
    pub(super) fn push_quads(&mut self, entries: &[Entry]) {
        for entries in entries.chunks(4) {
            let mut quad = [Entry::default(); 4];
            quad[..entries.len()].copy_from_slice(entries);
            let offset = |i: usize| ((quad[i].1 / OFFSET_UNIT) as u64) << (16 * i);
            // Read as one number.
            let offsets: [u32; 2] = bytemuck::cast((0..4).map(offset).sum::<u64>());
            self.words.extend(offsets);
            self.words.extend(quad.map(|(value, _)| value.to_bits()));
        }
        self.end_loop(entries.len().next_multiple_of(4) - entries.len());
    }

    fn push_strip(&mut self, rows: [u32; 2]) {
        self.end_loop(0);
        self.order.push(rows);
    }

    /// A loop ends `empty` steps before the last word.
    pub(super) fn end_loop(&mut self, empty: usize) {
        let steps = 4 * self.words.len() / self.shape.step_bytes();
        self.starts.push((steps - empty) as u32);
    }

    /// Byte offset of a column's line in the panel.
    fn offset(&self, col: usize) -> u32 {
        (col * self.stride * 4) as u32
    }
}

/// A value, and its place in the panel.
pub(super) type Entry = (f32, usize);

/// Weights of more bytes than this are gone from the second-level cache when their layer runs again.
const STREAMED_BYTES: usize = 256 << 10;

/// No row: the second row of the last pair of an odd number.
const NO_ROW: u32 = u32::MAX;
