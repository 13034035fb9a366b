//! Direct convolution kernels (see [`crate::kernel::panel::Taps`]).

use super::ends::{End, fetch_weights};
use super::panel::{by_vectors, multiply_rows};
use super::steps::{ENTRY_BYTES, Steps};
use super::sums::Sums;
use crate::kernel::panel::{Output, Panel, Planes};
use crate::kernel::vector::Vector;

/// `R` output channels at a time, all lines of the panel.
///
/// # Safety
/// The CPU has the instruction set of `V`; strips, panel and output fit
/// together (as [`crate::kernel::panel::PanelKernel::run`] checks).
#[inline(always)]
pub(in crate::kernel) unsafe fn direct<V: Vector, const R: usize, const MOST: usize>(
    panel: &Panel<'_>,
    y: &Output<'_>,
) {
    let planes = &panel.strips.planes;
    let lines = panel.columns.checked_div(planes.keep).unwrap_or(0);
    let vectors = planes.vectors_of(lines);
    // SAFETY: the caller's promise.
    unsafe {
        if R > 1 || planes.folded == 1 {
            by_vectors!(vectors, N if N <= MOST => tile::<V, R, N, 0, false, false>(panel, y));
        } else if V::HALVES && lines % 2 == 1 && vectors > 1 {
            // The last of an odd number of lines, two of which share a vector, by itself.
            by_vectors!(vectors - 1, N if V::HALVES && 2 * N < MOST => tile::<V, R, N, 0, true, true>(panel, y));
        } else {
            by_vectors!(vectors, N if 2 * N <= MOST => tile::<V, R, N, 0, true, false>(panel, y));
        }
    }
}

/// One output channel at a time, whose entries are stacked unless lines share vectors.
///
/// # Safety
/// As [`direct`].
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
#[inline(always)]
pub(in crate::kernel) unsafe fn stacked<V: Vector, const MOST: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    let planes = &panel.strips.planes;
    let lines = panel.columns.checked_div(planes.keep).unwrap_or(0);
    // SAFETY: the caller's promise.
    unsafe {
        match panel.strips.shape.is_stacked(planes) {
            true => by_vectors!(planes.vectors_of(lines), N if N <= MOST => {
                by_vectors!(planes.vectors, D if N.is_multiple_of(D) => tile::<V, 1, N, D, false, false>(panel, y))
            }),
            false => direct::<V, 1, MOST>(panel, y),
        }
    }
}

/// `N` vectors of sums of each row, and half a one if `HALF`. If entries are stacked, lines have `D` vectors, else
/// that is 0. If `TWO`, each sum of one row is two until its group ends.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize, const D: usize, const TWO: bool, const HALF: bool>(
    panel: &Panel<'_>,
    y: &Output<'_>,
) {
    let strips = &panel.strips;
    let end_of = End::new(panel, y);
    let places = Places::<N>::new::<V>(&strips.planes, panel.columns);
    let loops = const { if D > 0 { 2 } else { 1 } };
    // SAFETY: the steps are those of the shape, offsets inside the panel.
    unsafe {
        let mut steps = Steps::new(panel, if R == 1 { ENTRY_BYTES } else { 4 * (R + 1) });
        for (strip, &[row, _]) in strips.order.iter().enumerate() {
            let (first, last) = (strip * strips.loops, (strip + 1) * strips.loops);
            fetch_weights::<V>(panel, steps.at(), steps.end(last));
            end_of.fetch_rows::<V, R, N>(strip);
            let mut sums = [Sums::<V, N, HALF>::splat(0.0); R];
            for index in (first..last).step_by(loops) {
                if index > first {
                    sums.iter_mut().for_each(|sums| sums.move_down());
                }
                let end = steps.end(index + loops);
                if R > 1 {
                    while steps.at() < end {
                        let step = steps.next();
                        let line = panel.x.as_ptr().byte_add(*step as usize);
                        multiply_rows(&mut sums, step.add(1).cast(), line);
                    }
                } else if D > 0 {
                    let mixed = steps.end(index + 1);
                    add_stacked::<V, N, D, HALF>(&mut sums[0], &mut steps, mixed, end);
                } else {
                    add_even::<V, N, TWO, HALF>(&mut sums[0], &mut steps, end);
                }
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                sums.add_first(panel, row as usize + r);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let row = row as usize + r;
                if row < strips.rows {
                    match end_of.finishes() {
                        true => end_of.store(&places, row, sums),
                        false => sums.keep(panel, row),
                    }
                }
            }
        }
        end_of.activate::<V>();
    }
}

/// A group of entries of one row, mixed quads up to `mixed`.
#[inline(always)]
unsafe fn add_stacked<V: Vector, const N: usize, const D: usize, const HALF: bool>(
    sums: &mut Sums<V, N, HALF>,
    steps: &mut Steps<'_>,
    mixed: *const u32,
    end: *const u32,
) {
    // SAFETY: the caller's.
    unsafe {
        while steps.at() < mixed {
            let ([a, _, c, d], [w, x, y, z]) = steps.quad::<V>();
            sums.multiply_stacked::<D>([w, x], a);
            sums.multiply(y, c);
            sums.multiply(z, d);
        }
        while steps.has_quad(end) {
            let ([a, b, c, d], [w, x, y, z]) = steps.quad::<V>();
            sums.multiply(w, a);
            sums.multiply(x, b);
            sums.multiply(y, c);
            sums.multiply(z, d);
        }
        let left = steps.left(end);
        if left > 0 {
            let ([a, b, c, _], [w, x, y, _]) = steps.quad::<V>();
            sums.multiply(w, a);
            if left > 1 {
                sums.multiply(x, b);
            }
            if left > 2 {
                sums.multiply(y, c);
            }
        }
    }
}

/// An even number of entries of one row. With one sum of each of few vectors, multiply-adds would wait for each other.
#[inline(always)]
unsafe fn add_even<V: Vector, const N: usize, const TWO: bool, const HALF: bool>(
    sums: &mut Sums<V, N, HALF>,
    steps: &mut Steps<'_>,
    end: *const u32,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut second = Sums::<V, N, HALF>::splat(0.0);
        let mut add = |w, a, x, b| {
            sums.multiply(w, a);
            match TWO {
                true => second.multiply(x, b),
                false => sums.multiply(x, b),
            }
        };
        while steps.has_quad(end) {
            let ([a, b, c, d], [w, x, y, z]) = steps.quad::<V>();
            add(w, a, x, b);
            add(y, c, z, d);
        }
        if steps.at() < end {
            let ([a, b, ..], [w, x, ..]) = steps.quad::<V>();
            add(w, a, x, b);
        }
        if TWO {
            sums.add(&second);
        }
    }
}

/// Where the sums of each vector go.
pub(super) struct Places<const N: usize> {
    /// First column and number of the first lanes.
    pub(super) first: [(usize, usize); N],
    /// If a vector has two lines: the lane where the second begins, and its columns.
    pub(super) second: Option<(usize, [(usize, usize); N])>,
    /// First column and number of the lanes of half a vector behind them.
    pub(super) half: (usize, usize),
}

impl<const N: usize> Places<N> {
    #[inline(always)]
    fn new<V: Vector>(planes: &Planes, columns: usize) -> Self {
        let (mut line, mut vector) = (0, 0);
        let (mut first, mut second) = ([(0, 0); N], [(0, 0); N]);
        for (first, second) in first.iter_mut().zip(&mut second) {
            let at = (vector * V::LANES).min(planes.keep);
            *first = (line + at, (planes.keep - at).min(V::LANES));
            vector += 1;
            if planes.folded > 1 {
                let next = line + planes.keep;
                *second = (next, columns.saturating_sub(next).min(planes.keep));
            }
            if vector == planes.vectors {
                (line, vector) = (line + planes.folded * planes.keep, 0);
            }
        }
        let second = (planes.folded > 1).then_some((planes.line, second));
        let half = (line, columns.saturating_sub(line).min(planes.keep));
        Self { first, second, half }
    }
}
