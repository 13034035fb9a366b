//! Where the sums of a strip come from and where they go, and fetching that ahead.
//!
//! All this is straight code without rare cases: else the compiler would keep a strip's sums in
//! memory to loop over them, which costs more than short strips.

use secateur_format::Activation;

use super::direct::Places;
use super::sums::{Sums, bias};
use crate::kernel::activation::activate;
use crate::kernel::panel::{Output, Panel, Residual, Shape};
use crate::kernel::vector::{MOST_LANES, Vector};

/// Bytes between what is multiplied and what is fetched.
pub(super) const AHEAD_BYTES: usize = 2048;
/// Strips between those that are summed and those whose output is fetched.
const AHEAD_STRIPS: usize = 2;
/// Outputs that have left the core's caches since they were last used.
const COLD_OUTPUTS: usize = 128 << 10;

/// Fetches weights [`AHEAD_BYTES`] behind those from `step` to `end`, if they come from beyond the core's caches.
#[inline(always)]
pub(super) unsafe fn fetch_weights<V: Vector>(panel: &Panel<'_>, step: *const u32, end: *const u32) {
    if panel.strips.streamed {
        let (mut line, end) = (step.wrapping_byte_add(AHEAD_BYTES), end.wrapping_byte_add(AHEAD_BYTES));
        while line < end {
            // SAFETY: the caller's: the CPU has the instruction set.
            unsafe { V::prefetch(line) };
            line = line.wrapping_byte_add(64);
        }
    }
}

/// [`Sums::first`] of the `R` rows from `row` on.
#[inline(always)]
pub(super) unsafe fn first_rows<V: Vector, const R: usize, const N: usize, const HALF: bool>(
    panel: &Panel<'_>,
    row: usize,
) -> [Sums<V, N, HALF>; R] {
    // SAFETY: the caller's.
    unsafe {
        let mut all = [Sums::splat(0.0); R];
        for (r, sums) in all.iter_mut().enumerate() {
            *sums = Sums::first(panel, row + r);
        }
        all
    }
}

/// The sums of one column in a lane per row, before the window.
#[inline(always)]
pub(super) unsafe fn extra_first<V: Vector, const R: usize>(panel: &Panel<'_>, row: usize, column: usize) -> [V; 2] {
    let mut lanes = [0.0; 2 * MOST_LANES];
    for (r, lane) in lanes.iter_mut().take(R).enumerate() {
        let row = (row + r).min(panel.strips.rows - 1);
        // SAFETY: the bias has a number per row, `partial` the panel's columns.
        *lane = unsafe {
            match panel.first {
                true => bias(panel, row),
                false => *panel.partial.at(row, column),
            }
        };
    }
    // SAFETY: the caller's; there is room for two vectors.
    unsafe { [V::load(lanes.as_ptr()), V::load(lanes.as_ptr().add(V::LANES))] }
}

/// Where the sums of a panel go.
pub(super) struct End<'t> {
    panel: &'t Panel<'t>,
    y: &'t Output<'t>,
    /// The panel's columns of the first row: of what is added, or null.
    residual: *const f32,
    /// Of what is not in the core's caches, or null.
    cold: *const f32,
    /// What sums are limited to: the usual activations.
    limits: [f32; 2],
    /// Any other.
    rare: Option<Activation>,
}

impl<'t> End<'t> {
    #[inline(always)]
    pub(super) fn new(panel: &'t Panel<'t>, y: &'t Output<'t>) -> Self {
        let mut end = Self {
            panel,
            y,
            residual: core::ptr::null(),
            cold: core::ptr::null(),
            limits: [f32::NEG_INFINITY, f32::INFINITY],
            rare: None,
        };
        if let Some(finish) = &panel.finish {
            let output = y.start().wrapping_add(panel.column);
            end.residual = match finish.residual {
                Residual::None => core::ptr::null(),
                Residual::At(residual) => residual.as_ptr().wrapping_add(panel.column),
                Residual::InOutput => output,
            };
            if y.rows() * y.row_len() > COLD_OUTPUTS {
                end.cold = if end.residual.is_null() { output } else { end.residual };
            }
            match finish.activation {
                Activation::Identity => {}
                Activation::Relu => end.limits[0] = 0.0,
                Activation::Relu6 => end.limits = [0.0, 6.0],
                rare => end.rare = Some(rare),
            }
        }
        end
    }

    /// Fetches the row that `of` gives for the strip [`AHEAD_STRIPS`] behind `strip`, if it is cold.
    #[inline(always)]
    pub(super) unsafe fn fetch<V: Vector, const N: usize>(&self, strip: usize, of: impl Fn([u32; 2]) -> u32) {
        if self.cold.is_null() {
            return;
        }
        if let Some(&rows) = self.panel.strips.order.get(strip + AHEAD_STRIPS) {
            let line = self.cold.wrapping_add(of(rows) as usize * self.y.row_len());
            for i in 0..N {
                // SAFETY: the caller's: the CPU has the instruction set. The line need not be readable.
                unsafe { V::prefetch(line.wrapping_add(i * V::LANES)) };
            }
        }
    }

    /// The same for all rows of that strip.
    #[inline(always)]
    pub(super) unsafe fn fetch_rows<V: Vector, const R: usize, const N: usize>(&self, strip: usize) {
        for r in 0..R as u32 {
            // SAFETY: the caller's.
            unsafe { self.fetch::<V, N>(strip, |rows| rows[0] + r) }
        }
    }

    /// Whether this is the last window: sums go to the output.
    #[inline(always)]
    pub(super) fn finishes(&self) -> bool {
        self.panel.finish.is_some()
    }

    /// Stores the sums of a row, in the output if the window is the last.
    #[inline(always)]
    pub(super) unsafe fn last<V: Vector, const N: usize, const HALF: bool>(
        &self,
        row: usize,
        mut sums: Sums<V, N, HALF>,
    ) {
        if row >= self.panel.strips.rows {
            return;
        }
        // SAFETY: the output and the residual have the panel's rows and columns.
        unsafe {
            if !self.finishes() {
                return sums.keep(self.panel, row);
            }
            let start = row * self.y.row_len();
            // Of the half, or of the last vector.
            let tail = match HALF {
                true => self.panel.columns - N * V::LANES,
                false => (self.panel.columns - (N - 1) * V::LANES).min(V::LANES),
            };
            let is_whole = |i: usize| HALF || i + 1 < N || tail == V::LANES;
            if !self.residual.is_null() {
                let residual = self.residual.add(start);
                for (i, sum) in sums.whole.iter_mut().enumerate() {
                    let place = residual.add(i * V::LANES);
                    let added = match is_whole(i) {
                        true => V::load(place),
                        false => V::load_first(place, tail),
                    };
                    *sum = sum.add(added);
                }
                if HALF {
                    sums.half = sums.half.add(V::Half::load_first(residual.add(N * V::LANES), tail));
                }
            }
            let line = self.y.at(row, self.panel.column);
            for (i, sum) in sums.whole.into_iter().enumerate() {
                let sum = self.limited(sum);
                match is_whole(i) {
                    true => sum.store(line.add(i * V::LANES)),
                    false => sum.store_first(line.add(i * V::LANES), tail),
                }
            }
            if HALF {
                self.limited(sums.half).store_first(line.add(N * V::LANES), tail);
            }
        }
    }

    /// Stores the sums of whole lines in the output.
    #[inline(always)]
    pub(super) unsafe fn store<V: Vector, const N: usize, const HALF: bool>(
        &self,
        places: &Places<N>,
        row: usize,
        mut sums: Sums<V, N, HALF>,
    ) {
        // SAFETY: the output and the residual have these columns.
        unsafe {
            let start = row * self.y.row_len();
            if !self.residual.is_null() {
                let residual = self.residual.add(start);
                for (sum, &(column, count)) in sums.whole.iter_mut().zip(&places.first) {
                    *sum = sum.add(V::load_first(residual.add(column), count));
                }
                if HALF {
                    let (column, count) = places.half;
                    sums.half = sums.half.add(V::Half::load_first(residual.add(column), count));
                }
                if let Some((lane, second)) = &places.second {
                    for (sum, &(column, count)) in sums.whole.iter_mut().zip(second) {
                        let place = residual.wrapping_add(column).wrapping_sub(*lane);
                        *sum = sum.add(V::load_within(place, *lane, lane + count, V::splat(0.0), false));
                    }
                }
            }
            let line = self.y.at(row, self.panel.column);
            // Straight code, not a loop.
            macro_rules! vectors {
                ($($i:literal)*) => {
                    $(if let (Some(&sum), Some(&(column, count))) = (sums.whole.get($i), places.first.get($i)) {
                        let (sum, place) = (self.limited(sum), line.add(column));
                        match count == V::LANES {
                            true => sum.store(place),
                            false => sum.store_first(place, count),
                        }
                        if let Some((lane, Some(&(column, count)))) = places.second.as_ref().map(|(l, s)| (l, s.get($i))) {
                            sum.store_within(line.wrapping_add(column).wrapping_sub(*lane), *lane, lane + count);
                        }
                    })*
                };
            }
            vectors!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
            if HALF {
                let (column, count) = places.half;
                self.limited(sums.half).store_first(line.add(column), count);
            }
        }
    }

    /// Stores the sums of one column of the panel, a lane per row.
    #[inline(always)]
    pub(super) unsafe fn last_extra<V: Vector, const R: usize>(&self, row: usize, column: usize, sums: [V; 2]) {
        let mut lanes = [0.0; 2 * MOST_LANES];
        // SAFETY: the caller's; `partial`, the output and the residual have these rows and the column.
        unsafe {
            for (i, sum) in sums.into_iter().enumerate() {
                sum.store(lanes.as_mut_ptr().add(i * V::LANES));
            }
            let rows = self.panel.strips.rows.saturating_sub(row).min(R);
            for (row, &sum) in (row..row + rows).zip(&lanes) {
                if !self.finishes() {
                    *self.panel.partial.at(row, column) = sum;
                    continue;
                }
                let residual = match self.residual.is_null() {
                    true => 0.0,
                    false => *self.residual.add(row * self.y.row_len() + column),
                };
                let [low, high] = self.limits;
                let sum = sum + residual;
                // Comparisons rather than `max`, which would turn NaN into a limit.
                let sum = if sum < low { low } else { sum };
                *self.y.at(row, self.panel.column + column) = if sum > high { high } else { sum };
            }
        }
    }

    #[inline(always)]
    unsafe fn limited<V: Vector>(&self, sum: V) -> V {
        // SAFETY: the caller's.
        unsafe { sum.at_least(V::splat(self.limits[0])).at_most(V::splat(self.limits[1])) }
    }

    /// Applies a rare activation to all that the strips have stored.
    #[inline(always)]
    pub(super) unsafe fn activate<V: Vector>(&self) {
        let Some(activation) = self.rare else { return };
        let shape = self.panel.strips.shape;
        for rows in self.panel.strips.order {
            for r in 0..shape.rows() {
                let row = match shape {
                    Shape::Pair => rows[r & 1] as usize,
                    _ => rows[0] as usize + r,
                };
                if row < self.panel.strips.rows {
                    // SAFETY: the output has the panel's columns of the row.
                    unsafe { self.activate_row::<V>(activation, row) }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn activate_row<V: Vector>(&self, activation: Activation, row: usize) {
        // SAFETY: the caller's.
        unsafe {
            let line = self.y.at(row, self.panel.column);
            let mut column = 0;
            while column < self.panel.columns {
                let (place, count) = (line.add(column), (self.panel.columns - column).min(V::LANES));
                activate(activation, V::load_first(place, count)).store_first(place, count);
                column += V::LANES;
            }
        }
    }
}

/// [`End::last`] of all rows of a strip.
#[inline(always)]
pub(super) unsafe fn last_rows<V: Vector, const R: usize, const N: usize, const HALF: bool>(
    end: &End<'_>,
    row: usize,
    sums: [Sums<V, N, HALF>; R],
) {
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { end.last(row + r, sums) }
    }
}
