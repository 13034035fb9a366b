//! `bitmask`: one bit per weight, rows of `ceil(cols / 8)` bytes, lowest bit first.
//! Payload: `row_start: u32[rows + 1]`, `values[stored]`, `mask: u8[rows · ceil(cols / 8)]`.

use super::csr16::{check_row_starts, rows_of};
use super::{MatrixDesc, Payload, RowSink, Value, Values};
use crate::Problem;
use crate::chunks::chunks;

/// View of a `bitmask` matrix.
#[derive(Clone, Copy, Debug)]
pub struct Bitmask<'a> {
    /// Columns.
    pub cols: u32,
    /// Index of the first value of each row, and the number of values.
    pub row_start: &'a [u32],
    /// Values of the set bits.
    pub values: Values<'a>,
    /// One bit per weight; unused bits of a row's last byte are zero.
    pub mask: &'a [u8],
}

/// Columns of the set bits of one row.
#[derive(Clone)]
struct SetBits<'a> {
    bytes: core::slice::Iter<'a, u8>,
    bits: u8,
    base: usize,
}

impl<'a> SetBits<'a> {
    fn new(mask: &'a [u8]) -> Self {
        // The first `next` advances to byte 0.
        Self {
            bytes: mask.iter(),
            bits: 0,
            base: 0usize.wrapping_sub(8),
        }
    }
}

impl Iterator for SetBits<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            self.bits = *self.bytes.next()?;
            self.base = self.base.wrapping_add(8);
        }
        let bit = self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(self.base.wrapping_add(bit))
    }
}

fn row_bytes(cols: u32) -> usize {
    cols.div_ceil(8) as usize
}

impl<'a> Bitmask<'a> {
    pub(super) fn split(desc: &MatrixDesc, scales: &'a [f32], payload: &mut Payload<'a>) -> Option<Self> {
        Some(Self {
            cols: desc.cols,
            row_start: payload.array(desc.rows as usize + 1)?,
            values: Values::split(desc, scales, payload)?,
            mask: payload.array((desc.rows as usize).checked_mul(row_bytes(desc.cols))?)?,
        })
    }

    pub(super) fn validate(&self) -> Result<(), (u32, Problem)> {
        check_row_starts(self.row_start, self.values.stored() as u32)?;
        let unused = (8 - self.cols % 8) % 8;
        let rows = chunks(self.mask, row_bytes(self.cols));
        for (row, (mask, starts)) in rows.zip(self.row_start.windows(2)).enumerate() {
            let found = mask.iter().map(|b| b.count_ones()).sum();
            let expected = match starts {
                &[start, end] => end - start,
                _ => 0,
            };
            if found != expected {
                return Err((row as u32, Problem::Count { expected, found }));
            }
            if mask.last().is_some_and(|last| last.leading_zeros() < unused) {
                return Err((row as u32, Problem::Columns));
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn visit_rows<V: Value>(&self, sink: &mut impl RowSink) {
        let Some(values) = V::slice(&self.values) else { return };
        let masks = chunks(self.mask, row_bytes(self.cols));
        for (row, (mask, values)) in masks.zip(rows_of(self.row_start, values)).enumerate() {
            sink.row(row, SetBits::new(mask).zip(values.iter().map(|v| v.to_f32())));
        }
    }
}
