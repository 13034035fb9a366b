//! Packers: from dense weights to payloads, and back.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use half::{bf16, f16};

use super::nm::{position_bits, row_bytes};
use super::{BlockIndex, Encoding, Matrix, MatrixDesc, RowSink, ValueType, WINDOW};

/// Why a matrix cannot be packed in an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackError {
    /// The encoding's parameters are out of range or do not divide the matrix.
    Encoding,
    /// An N:M group has more non-zeros than the encoding holds.
    Group {
        /// Row of the group.
        row: u32,
        /// First column of the group.
        col: u32,
        /// Non-zeros found.
        found: u32,
    },
    /// A weight is not finite, or not in the value type.
    NotFinite {
        /// Its row.
        row: u32,
        /// Its column.
        col: u32,
    },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding => f.write_str("the encoding's parameters do not fit the matrix"),
            Self::Group { row, col, found } => {
                write!(f, "{found} non-zeros in the N:M group at row {row}, column {col}")
            }
            Self::NotFinite { row, col } => {
                write!(
                    f,
                    "the weight at row {row}, column {col} is not finite in the value type"
                )
            }
        }
    }
}

impl core::error::Error for PackError {}

/// Weights rounded to a value type. What is zero after rounding is a zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    rows: u32,
    cols: u32,
    scales: Vec<f32>,
    values: ValueType,
    /// The weights as they will be read back, without the row scale.
    rounded: Vec<f32>,
}

/// An encoded matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its description.
    pub desc: MatrixDesc,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Quantized {
    /// Rounds the row-major matrix `weights` of `cols` columns.
    ///
    /// # Errors
    /// [`PackError::NotFinite`]; [`PackError::Encoding`] if the length is not a
    /// positive multiple of `cols`.
    pub fn new(weights: &[f32], cols: u32, values: ValueType) -> Result<Self, PackError> {
        let width = cols as usize;
        if width == 0 || weights.is_empty() || !weights.len().is_multiple_of(width) {
            return Err(PackError::Encoding);
        }
        let rows = u32::try_from(weights.len() / width).map_err(|_| PackError::Encoding)?;
        let mut scales = Vec::new();
        let mut rounded = Vec::with_capacity(weights.len());
        for line in weights.chunks_exact(width) {
            match values {
                ValueType::F32 => rounded.extend_from_slice(line),
                ValueType::F16 => rounded.extend(line.iter().map(|&w| f16::from_f32(w).to_f32())),
                ValueType::Bf16 => rounded.extend(line.iter().map(|&w| bf16::from_f32(w).to_f32())),
                ValueType::I8 => {
                    let peak = line.iter().fold(0.0f32, |peak, w| peak.max(w.abs()));
                    // Rows too small for a normal scale are all zeros.
                    let scale = Some(peak / 127.0).filter(|s| *s >= f32::MIN_POSITIVE).unwrap_or(1.0);
                    scales.push(scale);
                    rounded.extend(line.iter().map(|&w| round(w / scale).clamp(-127.0, 127.0)));
                }
            }
        }
        // A weight too large for f16 rounds to infinity.
        if let Some(at) = rounded
            .iter()
            .zip(weights)
            .position(|(r, w)| !r.is_finite() || !w.is_finite())
        {
            return Err(PackError::NotFinite {
                row: (at / width) as u32,
                col: (at % width) as u32,
            });
        }
        Ok(Self {
            rows,
            cols,
            scales,
            values,
            rounded,
        })
    }

    /// `(rows, cols)`
    pub fn shape(&self) -> (u32, u32) {
        (self.rows, self.cols)
    }

    /// Number of weights that are not zero after rounding.
    pub fn nonzeros(&self) -> u64 {
        self.rounded.iter().filter(|&&w| w != 0.0).count() as u64
    }

    /// The rounded weights, row-major, without the row scales of i8: what
    /// counts as zero.
    pub fn weights(&self) -> &[f32] {
        &self.rounded
    }

    /// The weights as they will be read back, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        let rows = self.rounded.chunks_exact(self.cols as usize).enumerate();
        rows.flat_map(|(row, line)| {
            let scale = self.scales.get(row).copied().unwrap_or(1.0);
            line.iter().map(move |w| w * scale)
        })
        .collect()
    }

    fn line(&self, row: u32) -> &[f32] {
        let start = row as usize * self.cols as usize;
        self.rounded.get(start..start + self.cols as usize).unwrap_or(&[])
    }

    fn push_value(&self, out: &mut Vec<u8>, w: f32) {
        match self.values {
            ValueType::F32 => out.extend_from_slice(&w.to_le_bytes()),
            ValueType::F16 => out.extend_from_slice(&f16::from_f32(w).to_le_bytes()),
            ValueType::Bf16 => out.extend_from_slice(&bf16::from_f32(w).to_le_bytes()),
            ValueType::I8 => out.push((w as i8).cast_unsigned()),
        }
    }
}

/// Round half away from zero; `f32::round` needs `std`.
fn round(x: f32) -> f32 {
    (x + f32::copysign(0.5, x)) as i32 as f32
}

/// Non-zero blocks of block row `block_row`, as block columns.
fn blocks_of(q: &Quantized, block_row: u32, r: u8, c: u8) -> impl Iterator<Item = u32> {
    let lines: Vec<&[f32]> = (0..u32::from(r))
        .map(|i| q.line(block_row * u32::from(r) + i))
        .collect();
    let c = u32::from(c);
    (0..q.cols / c).filter(move |&b| {
        let range = (b * c) as usize..((b + 1) * c) as usize;
        lines
            .iter()
            .any(|line| line.get(range.clone()).is_some_and(|w| w.iter().any(|&w| w != 0.0)))
    })
}

/// The description `encoding` gives the matrix, from which its exact size
/// follows, without packing it.
///
/// # Errors
/// [`PackError::Encoding`] if the encoding's parameters do not fit the matrix.
pub fn describe(q: &Quantized, encoding: Encoding) -> Result<MatrixDesc, PackError> {
    let all = u64::from(q.rows) * u64::from(q.cols);
    let stored = match encoding {
        Encoding::Dense => all,
        Encoding::Csr16 | Encoding::Win8 | Encoding::Bitmask => q.nonzeros(),
        Encoding::Nm { n, m } => all / u64::from(m.max(1)) * u64::from(n),
        Encoding::Block { r, c, .. } => {
            if r == 0 || c == 0 || !q.rows.is_multiple_of(r.into()) || !q.cols.is_multiple_of(c.into()) {
                return Err(PackError::Encoding);
            }
            let block_rows = 0..q.rows / u32::from(r);
            let blocks: u64 = block_rows.map(|row| blocks_of(q, row, r, c).count() as u64).sum();
            blocks * u64::from(r) * u64::from(c)
        }
    };
    let stored = u32::try_from(stored).map_err(|_| PackError::Encoding)?;
    let desc = MatrixDesc {
        encoding,
        values: q.values,
        rows: q.rows,
        cols: q.cols,
        stored,
    };
    desc.payload_len().map(|_| desc).ok_or(PackError::Encoding)
}

/// Arrays of a payload, before they are joined.
#[derive(Default)]
struct Parts {
    /// Index arrays before the values.
    head: Vec<u8>,
    values: Vec<u8>,
    /// Index array behind the values.
    tail: Vec<u8>,
}

/// Packs the matrix. The size is that of [`describe`], whether or not dense would be smaller.
///
/// # Errors
/// [`PackError::Encoding`] or [`PackError::Group`].
pub fn pack(q: &Quantized, encoding: Encoding) -> Result<Packed, PackError> {
    let desc = describe(q, encoding)?;
    let mut parts = Parts::default();
    match encoding {
        Encoding::Dense => q.rounded.iter().for_each(|&w| q.push_value(&mut parts.values, w)),
        Encoding::Csr16 => pack_csr16(q, &mut parts),
        Encoding::Win8 => pack_win8(q, &mut parts),
        Encoding::Bitmask => pack_bitmask(q, &mut parts),
        Encoding::Nm { n, m } => pack_nm(q, n, m, &mut parts)?,
        Encoding::Block { r, c, index } => pack_block(q, r, c, index, &mut parts),
    }
    let scales: Vec<u8> = q.scales.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut payload = Vec::new();
    for array in [scales, parts.head, parts.values, parts.tail] {
        payload.extend_from_slice(&array);
        payload.resize(payload.len().next_multiple_of(4), 0);
    }
    Ok(Packed { desc, payload })
}

/// `(column, weight)` of the non-zeros of a row.
fn nonzeros(q: &Quantized, row: u32) -> impl Iterator<Item = (u32, f32)> {
    (0u32..)
        .zip(q.line(row))
        .filter(|&(_, &w)| w != 0.0)
        .map(|(c, &w)| (c, w))
}

fn pack_csr16(q: &Quantized, parts: &mut Parts) {
    let mut start = 0u32;
    parts.head.extend_from_slice(&start.to_le_bytes());
    for row in 0..q.rows {
        for (col, w) in nonzeros(q, row) {
            q.push_value(&mut parts.values, w);
            parts.tail.extend_from_slice(&(col as u16).to_le_bytes());
            start += 1;
        }
        parts.head.extend_from_slice(&start.to_le_bytes());
    }
}

/// Appends the window counts of `columns` to `head`, and the columns inside their windows to `tail`.
fn push_windows(cols: u32, columns: impl Iterator<Item = u32>, parts: &mut Parts) {
    let mut counts = vec![0u16; cols.div_ceil(WINDOW) as usize];
    for col in columns {
        if let Some(count) = counts.get_mut((col / WINDOW) as usize) {
            *count += 1;
        }
        parts.tail.push((col % WINDOW) as u8);
    }
    parts.head.extend(counts.iter().flat_map(|c| c.to_le_bytes()));
}

fn pack_win8(q: &Quantized, parts: &mut Parts) {
    for row in 0..q.rows {
        nonzeros(q, row).for_each(|(_, w)| q.push_value(&mut parts.values, w));
        push_windows(q.cols, nonzeros(q, row).map(|(c, _)| c), parts);
    }
}

fn pack_bitmask(q: &Quantized, parts: &mut Parts) {
    let mut start = 0u32;
    parts.head.extend_from_slice(&start.to_le_bytes());
    for row in 0..q.rows {
        let mut mask = vec![0u8; q.cols.div_ceil(8) as usize];
        for (col, w) in nonzeros(q, row) {
            if let Some(byte) = mask.get_mut((col / 8) as usize) {
                *byte |= 1 << (col % 8);
            }
            q.push_value(&mut parts.values, w);
            start += 1;
        }
        parts.head.extend_from_slice(&start.to_le_bytes());
        parts.tail.extend_from_slice(&mask);
    }
}

fn pack_nm(q: &Quantized, n: u8, m: u8, parts: &mut Parts) -> Result<(), PackError> {
    let bits = position_bits(m);
    for row in 0..q.rows {
        let mut positions = vec![0u8; row_bytes(q.cols, n, m)];
        let mut bit = 0usize;
        for (group, weights) in q.line(row).chunks_exact(usize::from(m)).enumerate() {
            let found = weights.iter().filter(|&&w| w != 0.0).count();
            if found > usize::from(n) {
                let col = group as u32 * u32::from(m);
                return Err(PackError::Group {
                    row,
                    col,
                    found: found as u32,
                });
            }
            // Groups with fewer non-zeros are filled up with the lowest free positions.
            let mut fill = usize::from(n) - found;
            for (position, &w) in weights.iter().enumerate() {
                if w == 0.0 {
                    if fill == 0 {
                        continue;
                    }
                    fill -= 1;
                }
                q.push_value(&mut parts.values, w);
                let shifted = (position << (bit % 8)) as u16;
                for (byte, half) in positions.iter_mut().skip(bit / 8).zip(shifted.to_le_bytes()) {
                    *byte |= half;
                }
                bit += bits as usize;
            }
        }
        parts.tail.extend_from_slice(&positions);
    }
    Ok(())
}

fn pack_block(q: &Quantized, r: u8, c: u8, index: BlockIndex, parts: &mut Parts) {
    let mut start = 0u32;
    if index == BlockIndex::Csr16 {
        parts.head.extend_from_slice(&start.to_le_bytes());
    }
    for block_row in 0..q.rows / u32::from(r) {
        let blocks: Vec<u32> = blocks_of(q, block_row, r, c).collect();
        for &block in &blocks {
            let range = block as usize * usize::from(c)..(block as usize + 1) * usize::from(c);
            for i in 0..u32::from(r) {
                let line = q.line(block_row * u32::from(r) + i);
                line.get(range.clone())
                    .unwrap_or(&[])
                    .iter()
                    .for_each(|&w| q.push_value(&mut parts.values, w));
            }
        }
        match index {
            BlockIndex::Csr16 => {
                start += blocks.len() as u32;
                parts.head.extend_from_slice(&start.to_le_bytes());
                parts.tail.extend(blocks.iter().flat_map(|&b| (b as u16).to_le_bytes()));
            }
            BlockIndex::Win8 => push_windows(q.cols / u32::from(c), blocks.into_iter(), parts),
        }
    }
}

/// The dense row-major weights of a matrix of `desc`.
pub fn decode(matrix: &Matrix<'_>, desc: &MatrixDesc) -> Vec<f32> {
    struct Decode<'m> {
        cols: usize,
        matrix: &'m Matrix<'m>,
        out: Vec<f32>,
    }
    impl RowSink for Decode<'_> {
        fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
            let scale = self.matrix.values().scale(row);
            for (col, w) in entries {
                if let Some(slot) = self.out.get_mut(row * self.cols + col) {
                    *slot = w * scale;
                }
            }
        }
    }
    let out = vec![0.0; desc.rows as usize * desc.cols as usize];
    let mut sink = Decode {
        cols: desc.cols as usize,
        matrix,
        out,
    };
    matrix.visit_any(&mut sink);
    sink.out
}
