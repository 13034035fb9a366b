//! Columns of a `win8` index, widened piece by piece.

use core::mem::MaybeUninit;
use core::ops::Range;

use secateur_format::encoding::WINDOW;

use super::ahead::Ahead;
use super::decode::COLUMNS;
use super::{AHEAD_BYTES, Decode};

/// Rows of blocks that go through the windows together, at most.
pub(super) const MOST_ROWS: usize = 16;
/// Bytes of the weights of such rows: no further row joins them then.
const GROUP_BYTES: usize = 256 << 10;
/// Inputs of a piece: they stay in the first-level cache while other rows use them.
const TILE_INPUTS: usize = 4096;
/// Columns of a window.
const WIDTH: usize = WINDOW as usize;

/// Columns of a row of blocks, or of a part of it, counted from a window on.
pub(super) struct Piece {
    columns: [MaybeUninit<u16>; Piece::CAPACITY],
    /// Blocks, counted through all rows.
    pub(super) blocks: Range<usize>,
    pub(super) row: usize,
    /// The row's place among those that go together.
    pub(super) slot: usize,
    pub(super) first_window: usize,
    pub(super) ends_row: bool,
    /// How far ahead of these rows' blocks memory is asked for, in blocks.
    pub(super) ahead: usize,
}

impl Piece {
    /// More is widened than a piece has columns, and zeros follow.
    const CAPACITY: usize = TILE_INPUTS + WIDTH + COLUMNS;

    pub(super) const EMPTY: Self = Self {
        columns: [MaybeUninit::uninit(); Self::CAPACITY],
        blocks: 0..0,
        row: 0,
        slot: 0,
        first_window: 0,
        ends_row: false,
        ahead: 0,
    };

    /// The columns: one for each block, and zeros for a vector.
    pub(super) fn columns(&self) -> *const u16 {
        self.columns.as_ptr().cast()
    }
}

/// Cuts the blocks of a `win8` index into pieces: the first windows of some rows, then the next
/// windows of the same rows, and so on. Where a row is cut depends on no other.
pub(super) struct Pieces<'a> {
    counts: &'a [u16],
    columns: &'a [u8],
    /// Block columns.
    cols: usize,
    /// Bytes of the weights of a block.
    block_bytes: usize,
    /// As many blocks ahead, at least, is memory asked for.
    least_ahead: usize,
    /// Windows of a row.
    windows: usize,
    /// Windows of a piece.
    tile: usize,
    /// Rows that go together.
    rows: Range<usize>,
    /// The next piece's row and first window.
    row: usize,
    window: usize,
    /// Where each of the rows goes on, and where they all end.
    at: [usize; MOST_ROWS],
    end: usize,
    ahead: usize,
    /// Columns and counts of later rows, if they are far.
    later: Option<(Ahead, Ahead)>,
    /// The last columns, with zeros behind them.
    last: [u8; WIDTH],
}

impl<'a> Pieces<'a> {
    /// Pieces of a matrix of `cols` block columns, each of `C` columns and `R` rows of `T`.
    #[inline(always)]
    pub(super) fn new<T, const R: usize, const C: usize>(
        counts: &'a [u16],
        columns: &'a [u8],
        cols: usize,
        far: bool,
    ) -> Self {
        let block_bytes = R * C * size_of::<T>();
        let windows = cols.div_ceil(WIDTH);
        let tile = const { TILE_INPUTS / (WIDTH * C) };
        let counts_later = Ahead::of(counts, 2 * MOST_ROWS * windows);
        Self {
            counts,
            columns,
            cols,
            block_bytes,
            least_ahead: const { AHEAD_BYTES / (R * C * size_of::<T>()) },
            windows,
            tile,
            rows: 0..0,
            row: 0,
            window: windows,
            at: [0; MOST_ROWS],
            end: 0,
            ahead: 0,
            // Several rows are read in turns too short for the processor to see what follows.
            later: (far || windows > tile).then_some((Ahead::of(columns, 0), counts_later)),
            last: [0; WIDTH],
        }
    }

    /// Whether memory is to be asked for ahead of time.
    pub(super) fn are_far(&self) -> bool {
        self.later.is_some()
    }

    /// The next piece; `false` if all rows are done.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn next<V: Decode>(&mut self, piece: &mut Piece) -> bool {
        if self.row == self.rows.end {
            self.row = self.rows.start;
            self.window += self.tile;
            // SAFETY: the caller's promise.
            if self.window >= self.windows && !unsafe { self.next_rows::<V>() } {
                return false;
            }
        }
        let (first, row) = (self.window, self.row * self.windows);
        let end = (first + self.tile).min(self.windows);
        let slot = self.row - self.rows.start;
        let (Some(counts), Some(at)) = (self.counts.get(row + first..row + end), self.at.get_mut(slot)) else {
            return false;
        };
        // Wrong counts lead behind the columns, but not so far that sums overflow.
        let start = (*at).min(self.columns.len());
        // SAFETY: the caller's promise.
        let len = unsafe {
            let last = (self.cols - first * WIDTH).saturating_sub(1);
            widen::<V>(
                counts,
                self.columns,
                start,
                last,
                &mut self.last,
                piece.columns.as_mut_ptr().cast(),
            )
        };
        *at = start + len;
        if let Some((columns, _)) = &mut self.later {
            // SAFETY: the caller's promise.
            unsafe { columns.pass::<V>(len) }
        }
        piece.blocks = start..start + len;
        (piece.row, piece.slot, piece.first_window) = (self.row, slot, first);
        piece.ends_row = end == self.windows;
        piece.ahead = self.ahead;
        self.row += 1;
        if self.rows.len() == 1 {
            self.end = start + len;
        }
        true
    }

    /// Turns to the next rows: several, if their inputs do not stay in the cache from row to row;
    /// `false` if there are none.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    unsafe fn next_rows<V: Decode>(&mut self) -> bool {
        let start = self.end;
        let mut rows = 0;
        for at in &mut self.at {
            let first = (self.rows.end + rows) * self.windows;
            let Some(counts) = self.counts.get(first..first + self.windows) else {
                break;
            };
            *at = self.end;
            rows += 1;
            if self.windows <= self.tile {
                break;
            }
            let own = counts.iter().map(|&count| u64::from(count)).sum::<u64>();
            self.end += usize::try_from(own)
                .unwrap_or(usize::MAX)
                .min(self.columns.len().saturating_sub(self.end));
            if (self.end - start).saturating_mul(self.block_bytes) >= GROUP_BYTES {
                break;
            }
        }
        self.rows = self.rows.end..self.rows.end + rows;
        (self.row, self.window) = (self.rows.start, 0);
        self.ahead = (self.end - start).max(self.least_ahead);
        if let Some((columns, counts)) = &mut self.later {
            *columns = Ahead::of(self.columns, start + self.ahead);
            // SAFETY: the caller's promise.
            unsafe { counts.pass::<V>(rows * self.windows * size_of::<u16>()) }
        }
        rows > 0 && self.windows > 0
    }
}

/// Widens the columns of some windows from `start` on, `last` at most, so that no column is outside
/// the row and none needs be checked later; returns their number, which is 0 if a window has more than
/// it can. Zeros follow.
///
/// # Safety
/// The CPU must have the instruction set of `V`; `slots` are those of a piece, which has as many windows at most.
#[inline(always)]
unsafe fn widen<V: Decode>(
    counts: &[u16],
    columns: &[u8],
    start: usize,
    last: usize,
    end: &mut [u8; WIDTH],
    slots: *mut u16,
) -> usize {
    let last = last.min(u16::MAX.into()) as u16;
    // As many steps for each window: one loop more or less costs as much as several.
    let most = usize::from(counts.iter().fold(0, |most, &count| count.max(most)));
    let (mut len, mut base) = (0, 0u16);
    if most <= WIDTH {
        let reach = most.next_multiple_of(COLUMNS);
        // Behind the first column of a window are as many, if no more are before it.
        let before = columns.len().checked_sub(start + reach);
        for &count in counts {
            let own = match before {
                Some(before) if len <= before => columns.as_ptr().wrapping_add(start + len),
                _ => {
                    *end = [0; WIDTH];
                    let rest = columns.get(start + len..).unwrap_or(&[]);
                    end.iter_mut().zip(rest).for_each(|(slot, column)| *slot = *column);
                    end.as_ptr()
                }
            };
            // SAFETY: the caller's promise; `own` has `reach` columns, and there is room for as many, because
            // a piece has room for all columns of its windows and those of another one.
            unsafe {
                for at in (0..reach).step_by(COLUMNS) {
                    V::columns(own.add(at), base, last, slots.add(len + at));
                }
            }
            len += usize::from(count);
            base = base.wrapping_add(WINDOW as u16);
        }
    }
    // SAFETY: there is room for as many columns behind those.
    unsafe { slots.add(len).cast::<[u16; COLUMNS]>().write([0; COLUMNS]) }
    len
}
