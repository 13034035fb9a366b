//! Direct convolution kernels (see [`crate::kernel::panel::Taps`]).

use super::ends::{End, fetch_weights};
use super::panel::{by_vectors, multiply_rows};
use super::steps::{COUPLE, Steps};
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
        // The last of an odd number of lines, two of which share a vector, by itself.
        match V::HALVES && R == 1 && planes.folded == 2 && lines % 2 == 1 && vectors > 1 {
            true => {
                by_vectors!(vectors - 1, N if V::HALVES && R == 1 && N < MOST / 2 => tile::<V, R, N, MOST, true>(panel, y))
            }
            false => by_vectors!(vectors, N if N <= MOST => tile::<V, R, N, MOST, false>(panel, y)),
        }
    }
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize, const MOST: usize, const HALF: bool>(
    panel: &Panel<'_>,
    y: &Output<'_>,
) {
    let strips = &panel.strips;
    let end_of = End::new(panel, y);
    let places = Places::<N>::new::<V>(&strips.planes, panel.columns);
    // SAFETY: the steps are those of the shape, offsets inside the panel.
    unsafe {
        let x = panel.x.as_ptr();
        let mut steps = Steps::new(panel, if R == 1 { COUPLE } else { R + 1 });
        for (strip, &[row, _]) in strips.order.iter().enumerate() {
            let (first, last) = (strip * strips.loops + 1, (strip + 1) * strips.loops);
            fetch_weights::<V>(panel, steps.at(), steps.end(last));
            end_of.fetch_rows::<V, R, N>(strip);
            let mut sums = [Sums::<V, N, HALF>::splat(0.0); R];
            for index in first..=last {
                if index > first {
                    sums.iter_mut().for_each(|sums| sums.move_down());
                }
                let end = steps.end(index);
                if R == 1 && const { 2 * N <= MOST } && strips.planes.folded > 1 {
                    // Few vectors: with one sum each, multiply-adds would wait for each other.
                    let mut more = Sums::<V, N, HALF>::splat(0.0);
                    while steps.has_quad(end) {
                        let ([a, b, c, d], values) = steps.quad::<V>();
                        sums[0].multiply(values[0], a);
                        more.multiply(values[1], b);
                        sums[0].multiply(values[2], c);
                        more.multiply(values[3], d);
                    }
                    if steps.at() < end {
                        let ([a, b, ..], values) = steps.quad::<V>();
                        sums[0].multiply(values[0], a);
                        more.multiply(values[1], b);
                    }
                    sums[0].add(&more);
                } else if R == 1 {
                    while steps.has_quad(end) {
                        let ([a, b, c, d], values) = steps.quad::<V>();
                        sums[0].multiply(values[0], a);
                        sums[0].multiply(values[1], b);
                        sums[0].multiply(values[2], c);
                        sums[0].multiply(values[3], d);
                    }
                    if steps.at() < end {
                        let ([a, b, ..], values) = steps.quad::<V>();
                        sums[0].multiply(values[0], a);
                        sums[0].multiply(values[1], b);
                    }
                } else {
                    while steps.at() < end {
                        let step = steps.next();
                        multiply_rows(&mut sums, step.add(1).cast(), x.byte_add(*step as usize));
                    }
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
