//! Windows that slide over a plane: what depthwise convolution and pooling share.
//!
//! A plane is walked in tiles of a few output rows and a vector of columns. Tiles
//! whose windows lie between the left and right border load whole vectors, the
//! others the lanes that are there. So nothing is padded, and nothing copied.

use core::ops::Range;

use crate::kernel::vector::{MOST_LANES, Vector};

/// Output rows of a tile: they share the input rows between them.
const ROWS: usize = 2;

/// What is made of the inputs of a window, one vector of windows at a time.
pub(super) trait Fold<V: Vector> {
    /// What padding counts as.
    const PADDING: f32;

    /// The result of no inputs.
    unsafe fn start(&self) -> V;

    /// `sum` and the input `x` of a kernel position, counted row by row.
    unsafe fn step(&self, sum: V, position: usize, x: V) -> V;

    /// The outputs from row and column `at` on; whether all columns of their windows are in the plane.
    unsafe fn finish(&self, sum: V, at: [usize; 2], inside: bool) -> V;
}

/// How windows lie on a plane; all `[vertical, horizontal]`.
#[derive(Clone, Copy)]
pub(super) struct Window {
    /// Extents of the input plane.
    pub(super) input: [usize; 2],
    /// Extents of the output plane.
    pub(super) output: [usize; 2],
    /// Extents of the window, in kernel positions.
    pub(super) kernel: [usize; 2],
    /// Distance of two windows.
    pub(super) stride: [usize; 2],
    /// Distance of two kernel positions.
    pub(super) dilation: [usize; 2],
    /// Padding at the top and the left.
    pub(super) pads: [usize; 2],
}

impl Window {
    /// The stride, if this is a 3×3 window: the most frequent ones have code of their own.
    pub(super) fn stride_of_3x3(&self) -> Option<usize> {
        let [stride, across] = self.stride;
        (self.kernel == [3, 3] && self.dilation == [1, 1] && stride == across).then_some(stride)
    }

    /// First input row or column of output `out`: negative in the padding.
    #[inline(always)]
    fn origin(&self, axis: usize, out: usize) -> isize {
        (out * self.stride[axis]) as isize - self.pads[axis] as isize
    }

    /// The output columns of the tiles whose inputs are all in the row.
    #[inline(always)]
    fn inner_columns<V: Vector, const S: usize>(&self) -> (usize, usize) {
        let reach = (self.kernel[1] - 1) * self.dilation[1] + 1;
        // Where columns are dropped, a tile reads pairs of vectors.
        let wide = match S {
            1 => reach - 1 + V::LANES,
            _ => reach + V::LANES * self.stride[1],
        };
        let mut first = 0;
        while self.origin(1, first) < 0 {
            first += V::LANES;
        }
        let mut end = first;
        while end + V::LANES <= self.output[1] && self.origin(1, end) + wide as isize <= self.input[1] as isize {
            end += V::LANES;
        }
        (first, end)
    }

    /// How many positions of the window of output `out` lie in the plane, undilated.
    pub(super) fn inside(&self, axis: usize, out: usize) -> usize {
        let start = self.origin(axis, out);
        let end = (start + self.kernel[axis] as isize).min(self.input[axis] as isize);
        (end - start.max(0)).max(0) as usize
    }
}

/// Folds all windows of the plane at `x`, which is one of `planes`, into the one at `y`.
///
/// `K` is the extent of a square, undilated window, and `S` the stride in both
/// directions. If `K` is 0, windows are any, and `S` is the horizontal stride;
/// if that is 0, so is the stride.
///
/// # Safety
/// The CPU has the instruction set of `V`; from number `x` of `planes` and from
/// `y` on there are planes of the window's extents; `K` and `S` are as above.
#[inline(always)]
pub(super) unsafe fn slide<V: Vector, F: Fold<V>, const K: usize, const S: usize>(
    window: &Window,
    fold: &F,
    planes: &[f32],
    x: usize,
    y: *mut f32,
) {
    let [rows, columns] = window.output;
    let (first, end) = window.inner_columns::<V, S>();
    let tile = |row: usize, column: usize| Tile {
        window,
        x: planes.as_ptr().wrapping_add(x),
        readable: planes.as_ptr_range(),
        y,
        at: [row, column],
        top: window.origin(0, row),
        left: window.origin(1, column),
    };
    // Row by row first, which is how memory is fetched ahead.
    let mut row = if first < end { 0 } else { rows };
    while row < rows {
        let mut column = first;
        while column < end {
            // SAFETY: the caller's; these columns are inside.
            unsafe { tile(row, column).fold::<V, F, K, S, true>(fold) }
            column += V::LANES;
        }
        row += ROWS;
    }
    // Then the borders column by column: their lanes are counted once.
    let mut column = if first == 0 { end } else { 0 };
    while column < columns {
        let mut row = 0;
        while row < rows {
            // SAFETY: the caller's.
            unsafe { tile(row, column).fold::<V, F, K, S, false>(fold) }
            row += ROWS;
        }
        column += V::LANES;
        if column == first {
            column = end;
        }
    }
}

/// [`ROWS`] rows and a vector of columns of an output plane.
struct Tile<'w> {
    window: &'w Window,
    x: *const f32,
    /// What may be read: lanes that are dropped need not be of this plane.
    readable: Range<*const f32>,
    y: *mut f32,
    /// First output row and column.
    at: [usize; 2],
    /// First input row.
    top: isize,
    /// First input column.
    left: isize,
}

// SAFETY of every block here: `slide` promises the instruction set and the
// planes. `INSIDE` says that whole vectors are in the rows; otherwise no lanes
// are loaded or stored that are not. Rows are always checked.
impl Tile<'_> {
    #[inline(always)]
    unsafe fn fold<V: Vector, F: Fold<V>, const K: usize, const S: usize, const INSIDE: bool>(&self, fold: &F) {
        // SAFETY: see the impl.
        let sums = unsafe {
            match K {
                0 => self.fold_any::<V, F, S, INSIDE>(fold),
                _ => self.fold_square::<V, F, K, S, INSIDE>(fold),
            }
        };
        let ([row, column], [rows, columns]) = (self.at, self.window.output);
        for (i, sum) in sums.into_iter().enumerate() {
            // SAFETY: see the impl.
            unsafe {
                let result = fold.finish(sum, [row + i, column], INSIDE);
                let y = self.y.wrapping_add((row + i) * columns + column);
                if row + i >= rows {
                    break;
                } else if INSIDE {
                    result.store(y);
                } else {
                    result.store_first(y, (columns - column).min(V::LANES));
                }
            }
        }
    }

    /// Every vector is loaded once for all rows that need it, and all loops are unrolled.
    #[inline(always)]
    unsafe fn fold_square<V: Vector, F: Fold<V>, const K: usize, const S: usize, const INSIDE: bool>(
        &self,
        fold: &F,
    ) -> [V; ROWS] {
        // SAFETY: see the impl.
        unsafe {
            let mut sums = [fold.start(); ROWS];
            for line in 0..(ROWS - 1) * S + K {
                let inputs: [V; K] = self.line::<V, F, K, S, INSIDE>(line);
                for (i, sum) in sums.iter_mut().enumerate() {
                    if line >= i * S && line < i * S + K {
                        for (kx, &x) in inputs.iter().enumerate() {
                            *sum = fold.step(*sum, (line - i * S) * K + kx, x);
                        }
                    }
                }
            }
            sums
        }
    }

    /// The inputs of `K` neighbouring kernel positions from input row `line` of the tile.
    #[inline(always)]
    unsafe fn line<V: Vector, F: Fold<V>, const K: usize, const S: usize, const INSIDE: bool>(
        &self,
        line: usize,
    ) -> [V; K] {
        // SAFETY: see the impl.
        unsafe {
            let mut inputs = [V::splat(F::PADDING); K];
            let Some(x) = self.row::<INSIDE>(self.top + line as isize) else {
                return inputs;
            };
            for kx in 0..K {
                let left = self.left + kx as isize;
                if S == 2 && kx % 2 == 0 {
                    let (even, odd) = self.pair::<V, F, INSIDE>(x, left);
                    inputs[kx] = even;
                    if kx + 1 < K {
                        inputs[kx + 1] = odd;
                    }
                } else if S != 2 {
                    inputs[kx] = self.load::<V, F, S, INSIDE>(x, left);
                }
            }
            inputs
        }
    }

    #[inline(always)]
    unsafe fn fold_any<V: Vector, F: Fold<V>, const S: usize, const INSIDE: bool>(&self, fold: &F) -> [V; ROWS] {
        let Window {
            kernel,
            stride,
            dilation,
            ..
        } = *self.window;
        // SAFETY: see the impl.
        unsafe {
            let mut sums = [fold.start(); ROWS];
            for ky in 0..kernel[0] {
                for kx in 0..kernel[1] {
                    let left = self.left + (kx * dilation[1]) as isize;
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let row = self.top + (i * stride[0] + ky * dilation[0]) as isize;
                        let x = match self.row::<INSIDE>(row) {
                            Some(x) => self.load::<V, F, S, INSIDE>(x, left),
                            None => V::splat(F::PADDING),
                        };
                        *sum = fold.step(*sum, ky * kernel[1] + kx, x);
                    }
                }
            }
            sums
        }
    }

    /// An input row, if it is not padding.
    #[inline(always)]
    unsafe fn row<const INSIDE: bool>(&self, row: isize) -> Option<*const f32> {
        let [height, width] = self.window.input;
        // A negative row is a large number.
        ((row as usize) < height).then(|| self.x.wrapping_offset(row * width as isize))
    }

    /// One input per output column, the first from column `left` of the row.
    #[inline(always)]
    unsafe fn load<V: Vector, F: Fold<V>, const S: usize, const INSIDE: bool>(
        &self,
        row: *const f32,
        left: isize,
    ) -> V {
        // SAFETY: see the impl.
        unsafe {
            match S {
                1 => self.load_next::<V, F, INSIDE>(row, left),
                2 => self.pair::<V, F, INSIDE>(row, left).0,
                _ => {
                    let Window { input, stride, .. } = self.window;
                    let lanes = every(stride[1], row, left, input[1], F::PADDING);
                    V::load(lanes.as_ptr())
                }
            }
        }
    }

    /// Every other number from column `left`, and those between.
    #[inline(always)]
    unsafe fn pair<V: Vector, F: Fold<V>, const INSIDE: bool>(&self, row: *const f32, left: isize) -> (V, V) {
        // SAFETY: see the impl.
        unsafe {
            let low = self.load_next::<V, F, INSIDE>(row, left);
            low.even_odd(self.load_next::<V, F, INSIDE>(row, left + V::LANES as isize))
        }
    }

    /// Neighbours from column `left`.
    #[inline(always)]
    unsafe fn load_next<V: Vector, F: Fold<V>, const INSIDE: bool>(&self, row: *const f32, left: isize) -> V {
        let p = row.wrapping_offset(left);
        // SAFETY: see the impl.
        unsafe {
            if INSIDE {
                return V::load(p);
            }
            let lane = |column: isize| (column - left).clamp(0, V::LANES as isize) as usize;
            let (first, end) = (lane(0), lane(self.window.input[1] as isize));
            let all = self.readable.start <= p && p.wrapping_add(V::LANES) <= self.readable.end;
            V::load_within(p, first, end, V::splat(F::PADDING), all)
        }
    }
}

/// Every `step`-th number from column `left` of a row of `width`; `padding`
/// where there is none. Not inlined: it would be unrolled into every kernel.
///
/// # Safety
/// `row` has `width` numbers.
#[inline(never)]
unsafe fn every(step: usize, row: *const f32, left: isize, width: usize, padding: f32) -> [f32; MOST_LANES] {
    core::array::from_fn(|lane| {
        let column = (left + (lane * step) as isize) as usize;
        match column < width {
            // SAFETY: the caller's.
            true => unsafe { *row.add(column) },
            false => padding,
        }
    })
}
