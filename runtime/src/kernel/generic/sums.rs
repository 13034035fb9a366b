//! The sums of a row of a panel: in registers while a strip is multiplied.

use crate::kernel::panel::Panel;
use crate::kernel::vector::Vector;

/// `N` vectors, and half a one if `HALF`: of 49 columns, multiply-adds of 256 bits for the last one take half the time
/// of those of 512 bits, on cores that are built of 256-bit units.
#[derive(Clone, Copy)]
pub(super) struct Sums<V: Vector, const N: usize, const HALF: bool> {
    pub(super) whole: [V; N],
    /// Not used unless `HALF`.
    pub(super) half: V::Half,
}

/// Whether columns end within the first half of a vector, and half a one is worth its own code.
pub(super) fn ends_in_half<V: Vector>(columns: usize) -> bool {
    let rest = columns % V::LANES;
    V::HALVES && columns > V::LANES && rest > 0 && rest <= V::Half::LANES
}

// SAFETY of every block here: the caller's CPU has the instruction set; lines of the panel and of `partial` have
// all vectors of the sums, and the bias has a number per row.
impl<V: Vector, const N: usize, const HALF: bool> Sums<V, N, HALF> {
    /// The same number in all lanes.
    #[inline(always)]
    pub(super) unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        unsafe {
            Self {
                whole: [V::splat(x); N],
                half: V::Half::splat(x),
            }
        }
    }

    /// The sums of a row before the window; those of another row for one that is not there.
    #[inline(always)]
    pub(super) unsafe fn first(panel: &Panel<'_>, row: usize) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let row = row.min(panel.strips.rows - 1);
            if panel.first {
                return Self::splat(bias(panel, row));
            }
            let mut sums = Self::splat(0.0);
            let line = panel.partial.at(row, 0);
            for (i, sum) in sums.whole.iter_mut().enumerate() {
                *sum = V::load(line.add(i * V::LANES));
            }
            if HALF {
                sums.half = V::Half::load(line.add(N * V::LANES));
            }
            sums
        }
    }

    /// Adds [`Sums::first`], without holding both in registers.
    #[inline(always)]
    pub(super) unsafe fn add_first(&mut self, panel: &Panel<'_>, row: usize) {
        // SAFETY: see the impl.
        unsafe {
            let row = row.min(panel.strips.rows - 1);
            if panel.first {
                return self.add(&Self::splat(bias(panel, row)));
            }
            let line = panel.partial.at(row, 0);
            for (i, sum) in self.whole.iter_mut().enumerate() {
                *sum = sum.add(V::load(line.add(i * V::LANES)));
            }
            if HALF {
                self.half = self.half.add(V::Half::load(line.add(N * V::LANES)));
            }
        }
    }

    /// Adds other sums.
    #[inline(always)]
    pub(super) unsafe fn add(&mut self, other: &Self) {
        // SAFETY: see the impl.
        unsafe {
            for (sum, other) in self.whole.iter_mut().zip(other.whole) {
                *sum = sum.add(other);
            }
            if HALF {
                self.half = self.half.add(other.half);
            }
        }
    }

    /// Adds `w · line`, the line read from memory by the multiply-add itself.
    #[inline(always)]
    pub(super) unsafe fn multiply(&mut self, w: V, line: *const f32) {
        // SAFETY: see the impl.
        unsafe {
            for (i, sum) in self.whole.iter_mut().enumerate() {
                *sum = V::load(line.add(i * V::LANES)).mul_add(w, *sum);
            }
            if HALF {
                self.half = V::Half::load(line.add(N * V::LANES)).mul_add(w.low(), self.half);
            }
        }
    }

    /// Adds `w[0] · line` to `one` and `w[1] · line` to `two`, the line read once for both.
    #[inline(always)]
    pub(super) unsafe fn multiply_both(one: &mut Self, two: &mut Self, w: [V; 2], line: *const f32) {
        // SAFETY: see the impl.
        unsafe {
            for (i, (one, two)) in one.whole.iter_mut().zip(&mut two.whole).enumerate() {
                let x = V::load(line.add(i * V::LANES));
                *one = x.mul_add(w[0], *one);
                *two = x.mul_add(w[1], *two);
            }
            if HALF {
                let x = V::Half::load(line.add(N * V::LANES));
                one.half = x.mul_add(w[0].low(), one.half);
                two.half = x.mul_add(w[1].low(), two.half);
            }
        }
    }

    /// Adds `w[0] · line` and `w[1]` times what lies `D <= N` vectors behind it: what the two have in common is read
    /// once for both. There is no half.
    #[inline(always)]
    pub(super) unsafe fn multiply_stacked<const D: usize>(&mut self, w: [V; 2], line: *const f32) {
        // SAFETY: see the impl; the line has `D` vectors more.
        unsafe {
            for i in 0..D {
                let x = V::load(line.add(i * V::LANES));
                self.whole[i] = x.mul_add(w[0], self.whole[i]);
            }
            for i in D..N {
                let x = V::load(line.add(i * V::LANES));
                self.whole[i] = x.mul_add(w[0], self.whole[i]);
                self.whole[i - D] = x.mul_add(w[1], self.whole[i - D]);
            }
            for i in N..N + D {
                let x = V::load(line.add(i * V::LANES));
                self.whole[i - D] = x.mul_add(w[1], self.whole[i - D]);
            }
        }
    }

    /// Moves all sums a lane down. What comes into a line's last lanes is not kept.
    #[inline(always)]
    pub(super) unsafe fn move_down(&mut self) {
        let mut next = self.whole[0];
        // SAFETY: see the impl.
        unsafe {
            for sum in self.whole.iter_mut().rev() {
                let this = *sum;
                *sum = this.move_down(next);
                next = this;
            }
            if HALF {
                self.half = self.half.move_down(self.half);
            }
        }
    }

    /// Keeps the sums of a row for the next window.
    #[inline(always)]
    pub(super) unsafe fn keep(self, panel: &Panel<'_>, row: usize) {
        // SAFETY: see the impl.
        unsafe {
            let line = panel.partial.at(row, 0);
            for (i, sum) in self.whole.into_iter().enumerate() {
                sum.store(line.add(i * V::LANES));
            }
            if HALF {
                self.half.store(line.add(N * V::LANES));
            }
        }
    }
}

/// What the sums of a row start with.
///
/// # Safety
/// The row is below the number of rows.
#[inline(always)]
pub(super) unsafe fn bias(panel: &Panel<'_>, row: usize) -> f32 {
    // SAFETY: the bias has a number per row.
    panel.bias.map_or(0.0, |bias| unsafe { *bias.get_unchecked(row) })
}
