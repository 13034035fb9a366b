//! `nm`: exactly `n` stored values in each group of `m` consecutive columns,
//! `1 ≤ n < m ≤ 16`, `m` divides the columns. A group with fewer non-zeros
//! stores zeros at the lowest free positions.
//! Payload: `values[stored]`, `positions: u8[rows · ceil(bits · cols / m · n / 8)]`:
//! each position takes `bits = ceil(log2 m)` bits, lowest bit first, rows start at a byte.

use super::{MatrixDesc, Payload, RowSink, Value, Values};
use crate::Problem;
use crate::chunks::chunks;

/// View of an `nm` matrix.
#[derive(Clone, Copy, Debug)]
pub struct Nm<'a> {
    /// Values stored per group.
    pub n: u8,
    /// Columns of a group.
    pub m: u8,
    /// Columns.
    pub cols: u32,
    /// Values of the groups.
    pub values: Values<'a>,
    /// Positions inside the groups, strictly ascending in a group.
    pub positions: &'a [u8],
}

/// Bits of one position.
pub(super) fn position_bits(m: u8) -> u32 {
    u8::BITS - m.saturating_sub(1).leading_zeros()
}

/// Values stored in a row.
fn row_stored(cols: u32, n: u8, m: u8) -> usize {
    cols.checked_div(u32::from(m)).unwrap_or(0) as usize * usize::from(n)
}

/// Bytes of a row's positions.
pub(super) fn row_bytes(cols: u32, n: u8, m: u8) -> usize {
    (row_stored(cols, n, m) * position_bits(m) as usize).div_ceil(8)
}

/// Length of the position array, if the parameters fit the matrix.
pub(super) fn index_len(desc: &MatrixDesc, n: u8, m: u8) -> Option<u64> {
    if n == 0 || n >= m || m > 16 || !desc.cols.is_multiple_of(m.into()) {
        return None;
    }
    let row_stored = u64::from(desc.cols / u32::from(m)) * u64::from(n);
    let row_bytes = (row_stored * u64::from(position_bits(m))).div_ceil(8);
    let rows = u64::from(desc.rows);
    (rows * row_stored == u64::from(desc.stored)).then(|| (rows * row_bytes).next_multiple_of(4))
}

/// Position `i` of a row.
#[inline(always)]
fn position(bytes: &[u8], bits: u32, i: usize) -> usize {
    let bit = i * bits as usize;
    let low = bytes.get(bit / 8).copied().unwrap_or(0);
    let high = bytes.get(bit / 8 + 1).copied().unwrap_or(0);
    (usize::from(u16::from_le_bytes([low, high])) >> (bit % 8)) & ((1 << bits) - 1)
}

/// Columns of the entries of one row: counted, because a division takes longer than an entry.
#[derive(Clone)]
struct Columns<'a> {
    positions: &'a [u8],
    n: usize,
    m: usize,
    next: usize,
    /// Entries left in the group.
    left: usize,
    /// First column of the group.
    base: usize,
}

impl Iterator for Columns<'_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            self.left = self.n;
            self.base = self.base.wrapping_add(self.m);
        }
        let position = position(self.positions, position_bits(self.m as u8), self.next);
        self.left = self.left.saturating_sub(1);
        self.next += 1;
        Some(self.base.wrapping_add(position))
    }
}

impl<'a> Nm<'a> {
    pub(super) fn split(desc: &MatrixDesc, n: u8, m: u8, scales: &'a [f32], payload: &mut Payload<'a>) -> Option<Self> {
        Some(Self {
            n,
            m,
            cols: desc.cols,
            values: Values::split(desc, scales, payload)?,
            positions: payload.array((desc.rows as usize).checked_mul(row_bytes(desc.cols, n, m))?)?,
        })
    }

    pub(super) fn validate(&self) -> Result<(), (u32, Problem)> {
        let bits = position_bits(self.m);
        let stored = row_stored(self.cols, self.n, self.m);
        for (row, bytes) in chunks(self.positions, self.row_len()).enumerate() {
            let mut next = 0;
            for i in 0..stored {
                if i % usize::from(self.n.max(1)) == 0 {
                    next = 0;
                }
                let position = position(bytes, bits, i);
                if position < next || position >= usize::from(self.m) {
                    return Err((row as u32, Problem::Columns));
                }
                next = position + 1;
            }
            // Bits behind the last position are zero.
            let used = stored * bits as usize % 8;
            if used != 0 && bytes.last().is_some_and(|last| last >> used != 0) {
                return Err((row as u32, Problem::Columns));
            }
        }
        Ok(())
    }

    fn row_len(&self) -> usize {
        row_bytes(self.cols, self.n, self.m).max(1)
    }

    #[inline(always)]
    pub(super) fn visit_rows<V: Value>(&self, sink: &mut impl RowSink) {
        let Some(values) = V::slice(&self.values) else { return };
        let (n, m) = (usize::from(self.n), usize::from(self.m));
        let stored = row_stored(self.cols, self.n, self.m).max(1);
        let rows = chunks(self.positions, self.row_len()).zip(chunks(values, stored));
        for (row, (positions, values)) in rows.enumerate() {
            let columns = Columns {
                positions,
                n,
                m,
                next: 0,
                left: 0,
                // The first entry moves on to the first group.
                base: 0usize.wrapping_sub(m),
            };
            sink.row(row, columns.zip(values.iter().map(|v| v.to_f32())));
        }
    }
}
