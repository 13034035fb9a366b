//! `block`: blocks of r × c weights, r and c in {1, 2, 4, 8, 16}, not both 1,
//! dividing the matrix. The blocks form a matrix of `rows / r` by `cols / c`,
//! indexed as in `csr16` or `win8`.
//! Payload: `row_start: u32[rows / r + 1]` or `counts: u16[rows / r · windows]`,
//! then `values[stored]`, block after block, each row-major, then the block
//! columns `u16[blocks]` or `u8[blocks]`.

use super::csr16::{self, check_columns, check_row_starts};
use super::win8::{self, RowColumns, windows};
use super::{MatrixDesc, Payload, RowSink, Value, Values, WINDOW};
use crate::Problem;
use crate::chunks::chunks;

/// How the positions of blocks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockIndex {
    /// Row starts and 16-bit block columns.
    Csr16,
    /// Counts per window of 256 block columns, and 8-bit block columns.
    Win8,
}

impl core::fmt::Display for BlockIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Csr16 => "csr16",
            Self::Win8 => "win8",
        })
    }
}

/// View of a `block` matrix.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Rows of a block.
    pub r: u8,
    /// Columns of a block.
    pub c: u8,
    /// Block columns of the matrix.
    pub block_cols: u32,
    /// Values, block after block.
    pub values: Values<'a>,
    /// Positions of the blocks.
    pub index: BlockPositions<'a>,
}

/// Positions of the blocks of a matrix.
#[derive(Clone, Copy, Debug)]
pub enum BlockPositions<'a> {
    /// As in `csr16`.
    Csr16 {
        /// Index of the first block of each block row, and the number of blocks.
        row_start: &'a [u32],
        /// Block columns, strictly ascending in a block row.
        columns: &'a [u16],
    },
    /// As in `win8`.
    Win8 {
        /// Blocks per block row and window.
        counts: &'a [u16],
        /// Block column of each block inside its window.
        columns: &'a [u8],
    },
}

fn valid_extent(extent: u8) -> bool {
    matches!(extent, 1 | 2 | 4 | 8 | 16)
}

/// Length of the index arrays, if the parameters fit the matrix.
pub(super) fn index_len(desc: &MatrixDesc, r: u8, c: u8, index: BlockIndex) -> Option<u64> {
    let size = u32::from(r) * u32::from(c);
    let fits = valid_extent(r)
        && valid_extent(c)
        && size > 1
        && desc.rows.is_multiple_of(u32::from(r))
        && desc.cols.is_multiple_of(u32::from(c))
        && desc.stored.is_multiple_of(size);
    if !fits {
        return None;
    }
    let block_rows = u64::from(desc.rows / u32::from(r));
    let block_cols = u64::from(desc.cols / u32::from(c));
    let blocks = u64::from(desc.stored / size);
    match index {
        BlockIndex::Csr16 => (block_cols <= 1 << 16).then(|| 4 * (block_rows + 1) + (2 * blocks).next_multiple_of(4)),
        BlockIndex::Win8 => {
            let counts = 2 * block_rows * block_cols.div_ceil(u64::from(WINDOW));
            Some(counts.next_multiple_of(4) + blocks.next_multiple_of(4))
        }
    }
}

impl<'a> Block<'a> {
    pub(super) fn split(
        desc: &MatrixDesc,
        r: u8,
        c: u8,
        index: BlockIndex,
        scales: &'a [f32],
        payload: &mut Payload<'a>,
    ) -> Option<Self> {
        let block_rows = desc.rows.checked_div(u32::from(r))? as usize;
        let block_cols = desc.cols.checked_div(u32::from(c))?;
        let blocks = desc.stored.checked_div(u32::from(r) * u32::from(c))? as usize;
        let (values, index) = match index {
            BlockIndex::Csr16 => {
                let row_start = payload.array(block_rows + 1)?;
                let values = Values::split(desc, scales, payload)?;
                (
                    values,
                    BlockPositions::Csr16 {
                        row_start,
                        columns: payload.array(blocks)?,
                    },
                )
            }
            BlockIndex::Win8 => {
                let counts = payload.array(block_rows.checked_mul(windows(block_cols))?)?;
                let values = Values::split(desc, scales, payload)?;
                (
                    values,
                    BlockPositions::Win8 {
                        counts,
                        columns: payload.array(blocks)?,
                    },
                )
            }
        };
        Some(Self {
            r,
            c,
            block_cols,
            values,
            index,
        })
    }

    pub(super) fn validate(&self) -> Result<(), (u32, Problem)> {
        match self.index {
            BlockPositions::Csr16 { row_start, columns } => {
                check_row_starts(row_start, columns.len() as u32)?;
                for (row, columns) in csr16::rows_of(row_start, columns).enumerate() {
                    check_columns(columns, self.block_cols).map_err(|problem| (row as u32, problem))?;
                }
                Ok(())
            }
            BlockPositions::Win8 { counts, columns } => win8::check(counts, columns, self.block_cols),
        }
    }

    /// Visits the block rows in order: index of the first row, the block
    /// columns (strictly ascending), and the values, block after block.
    #[inline(always)]
    pub fn visit_blocks<V: Value>(&self, sink: &mut impl BlockSink<V>) {
        let Some(mut rest) = V::slice(&self.values) else { return };
        let size = usize::from(self.r) * usize::from(self.c);
        let mut take = |blocks: usize| {
            let (row, tail) = rest.split_at_checked(blocks * size).unwrap_or((&[], &[]));
            rest = tail;
            row
        };
        match self.index {
            BlockPositions::Csr16 { row_start, columns } => {
                for (i, columns) in csr16::rows_of(row_start, columns).enumerate() {
                    let columns_of = columns.iter().map(|&c| usize::from(c));
                    sink.block_row(i * usize::from(self.r), columns_of, take(columns.len()));
                }
            }
            BlockPositions::Win8 { counts, columns } => {
                let rows = win8::rows_of(counts, windows(self.block_cols), columns);
                for (i, (counts, columns)) in rows.enumerate() {
                    let columns_of = RowColumns::new(counts, columns);
                    sink.block_row(i * usize::from(self.r), columns_of, take(columns.len()));
                }
            }
        }
    }

    #[inline(always)]
    pub(super) fn visit_rows<V: Value>(&self, sink: &mut impl RowSink) {
        self.visit_blocks::<V>(&mut ByRow {
            r: usize::from(self.r),
            c: usize::from(self.c),
            sink,
        });
    }
}

/// Receives the block rows of a [`Block`] matrix.
pub trait BlockSink<V: Value> {
    /// One row of blocks, whose first matrix row is `row`.
    fn block_row(&mut self, row: usize, columns: impl Iterator<Item = usize> + Clone, values: &[V]);
}

/// Hands out each matrix row of a block row.
struct ByRow<'s, S> {
    r: usize,
    c: usize,
    sink: &'s mut S,
}

impl<V: Value, S: RowSink> BlockSink<V> for ByRow<'_, S> {
    #[inline(always)]
    fn block_row(&mut self, row: usize, columns: impl Iterator<Item = usize> + Clone, values: &[V]) {
        let (r, c) = (self.r, self.c);
        for i in 0..r {
            let blocks = columns.clone().zip(chunks(values, r * c));
            let entries = blocks.flat_map(|(column, block)| {
                let line = block.get(i * c..(i + 1) * c).unwrap_or(&[]);
                line.iter().enumerate().map(move |(j, v)| (column * c + j, v.to_f32()))
            });
            self.sink.row(row + i, entries);
        }
    }
}
