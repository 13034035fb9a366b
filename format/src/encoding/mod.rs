//! Weight encodings: one file each, with its byte layout, size, validated
//! zero-copy view, row iterator and packer.
//!
//! A weight matrix has `rows` outputs and `cols` inputs. Every encoding stores
//! its rows in order and the columns of a row in strictly ascending order, so
//! that the order of accumulation is the same whatever the encoding.
//! Arrays follow each other in the payload, each padded with zero bytes to a
//! multiple of four; with `i8` values the row scales come first.

mod bitmask;
mod block;
mod csr16;
mod dense;
mod nm;
mod payload;
mod value;
mod win8;

pub use bitmask::Bitmask;
pub use block::{Block, BlockIndex, BlockPositions, BlockSink};
pub use csr16::Csr16;
pub use dense::Dense;
pub use nm::Nm;
pub use value::{Value, ValueType, Values};
pub use win8::Win8;

pub(crate) use payload::Payload;

use crate::{FormatError, Place, Problem};

/// Columns of one window of the `win8` index.
pub const WINDOW: u32 = 256;

/// How the non-zeros of a matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// All weights, row by row.
    Dense,
    /// Compressed sparse rows with 16-bit column indices.
    Csr16,
    /// 8-bit columns in windows of [`WINDOW`] columns, a count per row and window.
    Win8,
    /// One bit per weight.
    Bitmask,
    /// At most `n` non-zeros in each `m` consecutive columns.
    Nm {
        /// Values stored per group.
        n: u8,
        /// Columns of a group.
        m: u8,
    },
    /// Blocks of `r` rows by `c` columns.
    Block {
        /// Rows of a block: 1, 2, 4, 8 or 16.
        r: u8,
        /// Columns of a block: 1, 2, 4, 8 or 16.
        c: u8,
        /// How the positions of the blocks are stored.
        index: BlockIndex,
    },
}

/// The description of an encoded matrix: all that its payload's length follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixDesc {
    /// The encoding.
    pub encoding: Encoding,
    /// Type of the stored values.
    pub values: ValueType,
    /// Outputs.
    pub rows: u32,
    /// Inputs.
    pub cols: u32,
    /// Values stored: non-zeros, and whatever else the encoding has to store
    /// (zeros inside blocks, padding of N:M groups, all weights if dense).
    pub stored: u32,
}

/// A validated, zero-copy view of an encoded matrix.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Matrix<'a> {
    /// [`Encoding::Dense`]
    Dense(Dense<'a>),
    /// [`Encoding::Csr16`]
    Csr16(Csr16<'a>),
    /// [`Encoding::Win8`]
    Win8(Win8<'a>),
    /// [`Encoding::Bitmask`]
    Bitmask(Bitmask<'a>),
    /// [`Encoding::Nm`]
    Nm(Nm<'a>),
    /// [`Encoding::Block`]
    Block(Block<'a>),
}

/// Visits the rows of a matrix in order. Rows are consumed through
/// [`RowSink::row`], because the iterator type differs per encoding.
pub trait RowSink {
    /// Called once per row with the row's describe `(column, value)` pairs,
    /// columns strictly ascending. For `i8`, values are not yet scaled.
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone);
}

/// A view of one encoding: what kernels are generic over.
pub trait View<'a>: Copy {
    /// The view, if that is the matrix' encoding.
    fn of(matrix: &Matrix<'a>) -> Option<Self>;
    /// Visits all rows, in order; none if `V` is not the stored type.
    fn visit<V: Value>(&self, sink: &mut impl RowSink);
}

macro_rules! views {
    ($($view:ident),*) => {$(
        impl<'a> View<'a> for $view<'a> {
            fn of(matrix: &Matrix<'a>) -> Option<Self> {
                match matrix {
                    Matrix::$view(view) => Some(*view),
                    _ => None,
                }
            }

            #[inline(always)]
            fn visit<V: Value>(&self, sink: &mut impl RowSink) {
                self.visit_rows::<V>(sink);
            }
        }
    )*};
}

views!(Dense, Csr16, Win8, Bitmask, Nm, Block);

impl MatrixDesc {
    /// The payload's length in bytes; `None` if the description contradicts
    /// itself (parameters that do not divide the matrix, too many columns).
    pub fn payload_len(&self) -> Option<u64> {
        let (rows, cols) = (u64::from(self.rows), u64::from(self.cols));
        let stored = u64::from(self.stored);
        if rows == 0 || cols == 0 || stored > rows.checked_mul(cols)? {
            return None;
        }
        let pad = |len: u64| len.next_multiple_of(4);
        let scales = if self.values == ValueType::I8 { 4 * rows } else { 0 };
        let values = pad(stored * self.values.size());
        let index = match self.encoding {
            Encoding::Dense => (stored == rows * cols).then_some(0),
            Encoding::Csr16 => (cols <= 1 << 16).then(|| 4 * (rows + 1) + pad(2 * stored)),
            Encoding::Win8 => Some(pad(2 * rows * cols.div_ceil(u64::from(WINDOW))) + pad(stored)),
            Encoding::Bitmask => Some(4 * (rows + 1) + pad(rows * cols.div_ceil(8))),
            Encoding::Nm { n, m } => nm::index_len(self, n, m),
            Encoding::Block { r, c, index } => block::index_len(self, r, c, index),
        }?;
        Some(scales + index + values)
    }

    /// Number of weights, stored or not.
    pub fn weights(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.cols)
    }
}

impl<'a> Matrix<'a> {
    /// Validates `payload` against its description, in O(stored + index bytes).
    ///
    /// # Errors
    /// A [`FormatError`] at [`Place::Tensor`] or [`Place::TensorRow`] of `tensor`.
    pub fn read(desc: &MatrixDesc, payload: &'a [u8], tensor: u32) -> Result<Self, FormatError> {
        let matrix = Self::view(desc, payload, tensor)?;
        match &matrix {
            Self::Dense(_) => Ok(()),
            Self::Csr16(m) => m.validate(),
            Self::Win8(m) => m.validate(),
            Self::Bitmask(m) => m.validate(),
            Self::Nm(m) => m.validate(),
            Self::Block(m) => m.validate(),
        }
        .map_err(|(row, problem)| FormatError::new(Place::TensorRow { tensor, row }, problem))?;
        Ok(matrix)
    }

    /// The view without the O(stored) part of validation, for payloads that
    /// were validated before. Wrong indices give wrong results, never a panic
    /// or an access outside the arena.
    ///
    /// # Errors
    /// As [`Matrix::read`], for lengths and parameters only.
    pub fn view(desc: &MatrixDesc, payload: &'a [u8], tensor: u32) -> Result<Self, FormatError> {
        let fail = |problem| FormatError::new(Place::Tensor(tensor), problem);
        let expected = desc.payload_len().ok_or(fail(Problem::Encoding))?;
        let found = payload.len() as u64;
        if expected != found {
            return Err(fail(Problem::Length { expected, found }));
        }
        let mut payload = Payload::new(payload);
        let read = Self::split(desc, &mut payload);
        // All lengths were accounted for above: what is left to go wrong is alignment and padding.
        match read {
            Some(matrix) if payload.is_clean() => Ok(matrix),
            Some(_) => Err(fail(Problem::NotZero {
                offset: payload.dirty_offset(),
            })),
            None => Err(fail(Problem::Misaligned)),
        }
    }

    fn split(desc: &MatrixDesc, payload: &mut Payload<'a>) -> Option<Self> {
        let scales = match desc.values {
            ValueType::I8 => payload.array::<f32>(desc.rows as usize)?,
            _ => &[],
        };
        Some(match desc.encoding {
            Encoding::Dense => Self::Dense(Dense::split(desc, scales, payload)?),
            Encoding::Csr16 => Self::Csr16(Csr16::split(desc, scales, payload)?),
            Encoding::Win8 => Self::Win8(Win8::split(desc, scales, payload)?),
            Encoding::Bitmask => Self::Bitmask(Bitmask::split(desc, scales, payload)?),
            Encoding::Nm { n, m } => Self::Nm(Nm::split(desc, n, m, scales, payload)?),
            Encoding::Block { r, c, index } => Self::Block(Block::split(desc, r, c, index, scales, payload)?),
        })
    }

    /// The stored values.
    pub fn values(&self) -> Values<'a> {
        match self {
            Self::Dense(m) => m.values,
            Self::Csr16(m) => m.values,
            Self::Win8(m) => m.values,
            Self::Bitmask(m) => m.values,
            Self::Nm(m) => m.values,
            Self::Block(m) => m.values,
        }
    }

    /// Visits all rows, in order. Generic over the value type so that kernels
    /// specialise; [`Matrix::values`] says which one it is. Visits nothing if
    /// `V` is not the stored type.
    pub fn visit<V: Value>(&self, sink: &mut impl RowSink) {
        match self {
            Self::Dense(m) => m.visit::<V>(sink),
            Self::Csr16(m) => m.visit::<V>(sink),
            Self::Win8(m) => m.visit::<V>(sink),
            Self::Bitmask(m) => m.visit::<V>(sink),
            Self::Nm(m) => m.visit::<V>(sink),
            Self::Block(m) => m.visit::<V>(sink),
        }
    }

    /// Calls `sink` for all rows, whatever the value type.
    pub fn visit_any(&self, sink: &mut impl RowSink) {
        match self.values() {
            Values::F32(_) => self.visit::<f32>(sink),
            Values::F16(_) => self.visit::<half::f16>(sink),
            Values::Bf16(_) => self.visit::<half::bf16>(sink),
            Values::I8 { .. } => self.visit::<i8>(sink),
        }
    }

    /// Number of stored values that are not zero.
    pub fn count_nonzero(&self) -> u64 {
        self.values().count_nonzero()
    }
}

#[cfg(feature = "alloc")]
mod pack;
#[cfg(feature = "alloc")]
pub use pack::{PackError, Packed, Quantized, decode, describe, pack};

impl core::fmt::Display for Encoding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Dense => f.write_str("dense"),
            Self::Csr16 => f.write_str("csr16"),
            Self::Win8 => f.write_str("win8"),
            Self::Bitmask => f.write_str("bitmask"),
            Self::Nm { n, m } => write!(f, "nm{n}:{m}"),
            Self::Block { r, c, index } => write!(f, "block{r}x{c}/{index}"),
        }
    }
}
