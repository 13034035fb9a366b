//! `win8`: 8-bit columns inside windows of 256 columns.
//! Payload: `counts: u16[rows · windows]`, `values[stored]`, `columns: u8[stored]`,
//! where `windows = ceil(cols / 256)`.

use super::csr16::check_columns;
use super::{MatrixDesc, Payload, RowSink, Value, Values, WINDOW};
use crate::Problem;
use crate::chunks::chunks;

/// View of a `win8` matrix.
#[derive(Clone, Copy, Debug)]
pub struct Win8<'a> {
    /// Columns.
    pub cols: u32,
    /// Entries per row and window.
    pub counts: &'a [u16],
    /// Values of the entries.
    pub values: Values<'a>,
    /// Column of each entry inside its window.
    pub columns: &'a [u8],
}

/// Windows of a matrix of `cols` columns.
pub(super) fn windows(cols: u32) -> usize {
    cols.div_ceil(WINDOW) as usize
}

/// The columns of one row's entries.
#[derive(Clone)]
pub(super) struct RowColumns<'a> {
    counts: &'a [u16],
    columns: &'a [u8],
    base: usize,
    left: u16,
}

impl<'a> RowColumns<'a> {
    pub(super) fn new(counts: &'a [u16], columns: &'a [u8]) -> Self {
        let left = counts.first().copied().unwrap_or(0);
        Self {
            counts,
            columns,
            base: 0,
            left,
        }
    }
}

impl Iterator for RowColumns<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            self.counts = self.counts.get(1..)?;
            self.left = *self.counts.first()?;
            self.base += WINDOW as usize;
        }
        let (&column, rest) = self.columns.split_first()?;
        self.columns = rest;
        self.left -= 1;
        Some(self.base + usize::from(column))
    }
}

/// Splits an array of entries into rows by their window counts.
pub(super) fn rows_of<'a, T>(
    counts: &'a [u16],
    windows: usize,
    items: &'a [T],
) -> impl Iterator<Item = (&'a [u16], &'a [T])> {
    let mut rest = items;
    chunks(counts, windows).map(move |counts| {
        let len = counts.iter().map(|&n| usize::from(n)).sum();
        let (row, tail) = rest.split_at_checked(len).unwrap_or((&[], &[]));
        rest = tail;
        (counts, row)
    })
}

/// Checks counts and columns of a matrix of `cols` columns.
pub(super) fn check(counts: &[u16], columns: &[u8], cols: u32) -> Result<(), (u32, Problem)> {
    let mut rest = columns;
    for (i, &count) in counts.iter().enumerate() {
        let (row, window) = (i / windows(cols).max(1), i % windows(cols).max(1));
        let bound = (cols - window as u32 * WINDOW).min(WINDOW);
        let wrong = |found: usize| Problem::Count {
            expected: u32::from(count),
            found: found as u32,
        };
        let (entries, tail) = rest
            .split_at_checked(usize::from(count))
            .ok_or((row as u32, wrong(rest.len())))?;
        check_columns(entries, bound).map_err(|problem| (row as u32, problem))?;
        rest = tail;
    }
    if rest.is_empty() {
        return Ok(());
    }
    let used = columns.len() - rest.len();
    Err((
        0,
        Problem::Count {
            expected: columns.len() as u32,
            found: used as u32,
        },
    ))
}

impl<'a> Win8<'a> {
    pub(super) fn split(desc: &MatrixDesc, scales: &'a [f32], payload: &mut Payload<'a>) -> Option<Self> {
        Some(Self {
            cols: desc.cols,
            counts: payload.array((desc.rows as usize).checked_mul(windows(desc.cols))?)?,
            values: Values::split(desc, scales, payload)?,
            columns: payload.array(desc.stored as usize)?,
        })
    }

    pub(super) fn validate(&self) -> Result<(), (u32, Problem)> {
        check(self.counts, self.columns, self.cols)
    }

    #[inline(always)]
    pub(super) fn visit_rows<V: Value>(&self, sink: &mut impl RowSink) {
        let Some(values) = V::slice(&self.values) else { return };
        let windows = windows(self.cols);
        let rows = rows_of(self.counts, windows, self.columns).zip(rows_of(self.counts, windows, values));
        for (row, ((counts, columns), (_, values))) in rows.enumerate() {
            sink.row(
                row,
                RowColumns::new(counts, columns).zip(values.iter().map(|v| v.to_f32())),
            );
        }
    }
}
