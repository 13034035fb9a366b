//! Direct convolution kernels (see [`crate::kernel::panel::Taps`]).

use super::ends::{End, add_first, fetch_weights};
use super::panel::{by_vectors, multiply, multiply_rows};
use super::steps::{COUPLE, Steps};
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
    let vectors = planes.vectors_of(panel.columns.checked_div(planes.keep).unwrap_or(0));
    // SAFETY: the caller's promise.
    unsafe { by_vectors!(vectors, N <= MOST => tile::<V, R, N, MOST>(panel, y)) }
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize, const MOST: usize>(panel: &Panel<'_>, y: &Output<'_>) {
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
            let mut sums = [[V::splat(0.0); N]; R];
            for index in first..=last {
                if index > first {
                    sums.iter_mut().for_each(|sums| move_down(sums));
                }
                let end = steps.end(index);
                if R == 1 && const { 2 * N <= MOST } && strips.planes.folded > 1 {
                    // Few vectors: with one sum each, multiply-adds would wait for each other.
                    let mut more = [V::splat(0.0); N];
                    while steps.has_quad(end) {
                        let ([a, b, c, d], values) = steps.quad::<V>();
                        multiply::<V, N>(&mut sums[0], values[0], a);
                        multiply::<V, N>(&mut more, values[1], b);
                        multiply::<V, N>(&mut sums[0], values[2], c);
                        multiply::<V, N>(&mut more, values[3], d);
                    }
                    if steps.at() < end {
                        let ([a, b, ..], values) = steps.quad::<V>();
                        multiply::<V, N>(&mut sums[0], values[0], a);
                        multiply::<V, N>(&mut more, values[1], b);
                    }
                    for (sum, more) in sums[0].iter_mut().zip(more) {
                        *sum = sum.add(more);
                    }
                } else if R == 1 {
                    while steps.has_quad(end) {
                        let ([a, b, c, d], values) = steps.quad::<V>();
                        multiply::<V, N>(&mut sums[0], values[0], a);
                        multiply::<V, N>(&mut sums[0], values[1], b);
                        multiply::<V, N>(&mut sums[0], values[2], c);
                        multiply::<V, N>(&mut sums[0], values[3], d);
                    }
                    if steps.at() < end {
                        let ([a, b, ..], values) = steps.quad::<V>();
                        multiply::<V, N>(&mut sums[0], values[0], a);
                        multiply::<V, N>(&mut sums[0], values[1], b);
                    }
                } else {
                    while steps.at() < end {
                        let step = steps.next();
                        multiply_rows::<V, R, N>(&mut sums, step.add(1).cast(), x.byte_add(*step as usize));
                    }
                }
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                add_first(panel, row as usize + r, sums);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let row = row as usize + r;
                if row < strips.rows {
                    match end_of.finishes() {
                        true => end_of.store(&places, row, sums),
                        false => end_of.keep(row, sums),
                    }
                }
            }
        }
        end_of.activate::<V>();
    }
}

/// Moves all sums a lane down. What comes into a line's last lanes is not kept.
#[inline(always)]
unsafe fn move_down<V: Vector, const N: usize>(sums: &mut [V; N]) {
    let mut next = sums[0];
    for sum in sums.iter_mut().rev() {
        let this = *sum;
        // SAFETY: the caller's: the CPU has the instruction set.
        *sum = unsafe { this.move_down(next) };
        next = this;
    }
}

/// Where the sums of each vector go.
pub(super) struct Places<const N: usize> {
    /// First column and number of the first lanes.
    pub(super) first: [(usize, usize); N],
    /// If a vector has two lines: the lane where the second begins, and its columns.
    pub(super) second: Option<(usize, [(usize, usize); N])>,
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
        Self { first, second }
    }
}
