//! Decoded weights, before they are repacked.

use alloc::vec;
use alloc::vec::Vec;

use half::{bf16, f16};
use secateur_format::encoding::{Matrix, RowSink, Value, View};

/// Decoded rows: the non-zeros that a matrix stores.
#[derive(Clone, Debug)]
pub struct Rows {
    /// First entry of each row, and the end.
    pub(super) starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
    cols: usize,
}

impl Rows {
    /// No rows yet: they are added through [`RowSink`].
    pub fn new(cols: usize) -> Self {
        Self {
            starts: vec![0],
            entries: Vec::new(),
            cols,
        }
    }

    /// Rows whose columns are drawn at random, each with the chance `1 - sparsity`, the same ones
    /// for `height` rows: something to measure kernels with.
    pub fn random(rows: usize, cols: usize, height: usize, sparsity: f64) -> Self {
        let mut state = 1u64;
        let mut drawn = Self::new(cols);
        for first in (0..rows).step_by(height.max(1)) {
            let columns: Vec<usize> = (0..cols)
                .filter(|_| {
                    // Knuth's multiplier: good enough to spread columns, the same everywhere.
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as f64 >= sparsity * f64::from(1u32 << 31)
                })
                .collect();
            for row in first..rows.min(first + height) {
                RowSink::row(&mut drawn, row, columns.iter().map(|&col| (col, 1.0)));
            }
        }
        drawn
    }

    /// The rows of a matrix of floats; no entries for one of integers.
    pub fn of(matrix: &Matrix<'_>, cols: usize) -> Self {
        let mut rows = Self::new(cols);
        rows.read::<f32>(matrix);
        rows.read::<f16>(matrix);
        rows.read::<bf16>(matrix);
        rows
    }

    /// Reads the rows, if `V` is what they are stored as.
    fn read<V: Value>(&mut self, matrix: &Matrix<'_>) {
        match matrix {
            Matrix::Dense(view) => view.visit::<V>(self),
            Matrix::Csr16(view) => view.visit::<V>(self),
            Matrix::Win8(view) => view.visit::<V>(self),
            Matrix::Bitmask(view) => view.visit::<V>(self),
            Matrix::Nm(view) => view.visit::<V>(self),
            Matrix::Block(view) => view.visit::<V>(self),
            _ => {}
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of entries.
    pub fn nnz(&self) -> usize {
        self.entries.len()
    }

    /// The rows `first..end`.
    pub fn range(&self, first: usize, end: usize) -> Self {
        let (from, to) = (self.starts[first], self.starts[end]);
        Self {
            starts: self.starts[first..=end].iter().map(|start| start - from).collect(),
            entries: self.entries[from..to].to_vec(),
            cols: self.cols,
        }
    }

    /// `(column, value)`, columns ascending; none for a row that is not there.
    pub(super) fn row(&self, row: usize) -> &[(u32, f32)] {
        match self.starts.get(row..=row + 1) {
            Some(&[from, to]) => &self.entries[from..to],
            _ => &[],
        }
    }

    /// The part of a row that lies in columns `first..end`.
    pub(super) fn window(&self, row: usize, first: usize, end: usize) -> &[(u32, f32)] {
        let row = self.row(row);
        let at = |col: usize| row.partition_point(|&(c, _)| (c as usize) < col);
        &row[at(first)..at(end)]
    }

    /// Calls `step(column, values)` for each column of `first..end` that any of the `height` rows
    /// from `row` on has, ascending; 0 for rows that do not have it or are not there.
    ///
    /// `height` is at most [`MOST_HEIGHT`].
    pub(super) fn steps(
        &self,
        row: usize,
        height: usize,
        first: usize,
        end: usize,
        mut step: impl FnMut(usize, &[f32]),
    ) {
        let mut values = [0.0; MOST_HEIGHT];
        let values = &mut values[..height.min(MOST_HEIGHT)];
        let mut lines: [&[(u32, f32)]; MOST_HEIGHT] = [&[]; MOST_HEIGHT];
        for (i, line) in lines.iter_mut().take(height).enumerate() {
            *line = self.window(row + i, first, end);
        }
        while let Some(col) = lines.iter().filter_map(|line| line.first()).map(|entry| entry.0).min() {
            for (value, line) in values.iter_mut().zip(&mut lines) {
                *value = match line.split_first() {
                    Some((entry, rest)) if entry.0 == col => {
                        *line = rest;
                        entry.1
                    }
                    _ => 0.0,
                };
            }
            step(col as usize, values);
        }
    }
}

/// Most rows of a strip that share their columns.
const MOST_HEIGHT: usize = 8;

impl RowSink for Rows {
    fn row(&mut self, _: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        self.entries.extend(entries.map(|(col, value)| (col as u32, value)));
        self.starts.push(self.entries.len());
    }
}
