//! `csr16`: compressed sparse rows with 16-bit columns; at most 65536 columns.
//! Payload: `row_start: u32[rows + 1]`, `values[stored]`, `columns: u16[stored]`.

use super::{MatrixDesc, Payload, RowSink, Value, Values};
use crate::Problem;

/// View of a `csr16` matrix.
#[derive(Clone, Copy, Debug)]
pub struct Csr16<'a> {
    /// Columns.
    pub cols: u32,
    /// Index of the first entry of each row, and the number of entries.
    pub row_start: &'a [u32],
    /// Values of the entries.
    pub values: Values<'a>,
    /// Columns of the entries, strictly ascending in a row.
    pub columns: &'a [u16],
}

/// Checks that row starts ascend from 0 to `stored`.
pub(super) fn check_row_starts(starts: &[u32], stored: u32) -> Result<(), (u32, Problem)> {
    let mut previous = 0;
    for (row, &start) in starts.iter().enumerate() {
        if start < previous || start > stored || (row == 0 && start != 0) {
            return Err((
                row as u32,
                Problem::Count {
                    expected: previous,
                    found: start,
                },
            ));
        }
        previous = start;
    }
    if previous != stored {
        return Err((
            starts.len() as u32,
            Problem::Count {
                expected: stored,
                found: previous,
            },
        ));
    }
    Ok(())
}

/// Checks that the columns of a row strictly ascend below `bound`.
pub(super) fn check_columns<T: Copy + Into<u32>>(columns: &[T], bound: u32) -> Result<(), Problem> {
    let mut next = 0;
    for &column in columns {
        let column = column.into();
        if column < next || column >= bound {
            return Err(Problem::Columns);
        }
        next = column + 1;
    }
    Ok(())
}

/// `items[start..end]` for each pair of neighbouring row starts.
pub(super) fn rows_of<'a, T>(starts: &'a [u32], items: &'a [T]) -> impl Iterator<Item = &'a [T]> + Clone {
    starts.windows(2).map(|pair| match pair {
        &[start, end] => items.get(start as usize..end as usize).unwrap_or(&[]),
        _ => &[],
    })
}

impl<'a> Csr16<'a> {
    pub(super) fn split(desc: &MatrixDesc, scales: &'a [f32], payload: &mut Payload<'a>) -> Option<Self> {
        Some(Self {
            cols: desc.cols,
            row_start: payload.array(desc.rows as usize + 1)?,
            values: Values::split(desc, scales, payload)?,
            columns: payload.array(desc.stored as usize)?,
        })
    }

    pub(super) fn validate(&self) -> Result<(), (u32, Problem)> {
        check_row_starts(self.row_start, self.columns.len() as u32)?;
        for (row, columns) in rows_of(self.row_start, self.columns).enumerate() {
            check_columns(columns, self.cols).map_err(|problem| (row as u32, problem))?;
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn visit_rows<V: Value>(&self, sink: &mut impl RowSink) {
        let Some(values) = V::slice(&self.values) else { return };
        let rows = rows_of(self.row_start, self.columns).zip(rows_of(self.row_start, values));
        for (row, (columns, values)) in rows.enumerate() {
            sink.row(
                row,
                columns.iter().zip(values).map(|(&c, v)| (usize::from(c), v.to_f32())),
            );
        }
    }
}
