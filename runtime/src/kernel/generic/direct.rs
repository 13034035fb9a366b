//! Direct convolution kernels (see [`crate::kernel::panel::Taps`]).

use super::ends::{End, add_first, fetch_weights};
use super::panel::{by_vectors, multiply, multiply_rows};
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
    let vectors = panel.columns.checked_div(planes.keep).unwrap_or(0) * planes.vectors;
    // SAFETY: the caller's promise.
    unsafe { by_vectors!(vectors, N <= MOST => tile::<V, R, N>(panel, y)) }
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    let end_of = End::new(panel, y);
    let places = places::<V, N>(&strips.planes);
    // Words of a step.
    let words = R + 1;
    // SAFETY: starts are ascending and inside `words`, offsets inside the panel.
    unsafe {
        for (strip, &[row, _]) in strips.order.iter().enumerate() {
            let mut step = strips.words.as_ptr().add(*strips.starts.get_unchecked(strip) as usize);
            let end = strips
                .words
                .as_ptr()
                .add(*strips.starts.get_unchecked(strip + 1) as usize);
            fetch_weights::<V>(panel, step, end);
            end_of.fetch_rows::<V, R, N>(strip);
            let mut sums = [[V::splat(0.0); N]; R];
            loop {
                let group_end = step.add(1 + words * *step as usize);
                step = step.add(1);
                while step < group_end {
                    if R == 1 {
                        let (w, offset) = V::entry(step);
                        multiply::<V, N>(&mut sums[0], w, panel.x.as_ptr().byte_add(offset));
                    } else {
                        let line = panel.x.as_ptr().byte_add(*step as usize);
                        multiply_rows::<V, R, N>(&mut sums, step.add(1).cast(), line);
                    }
                    step = step.add(words);
                }
                if step >= end {
                    break;
                }
                for sums in &mut sums {
                    // What comes into a line's last lanes is not kept.
                    let mut next = sums[0];
                    for sum in sums.iter_mut().rev() {
                        let this = *sum;
                        *sum = this.move_down(next);
                        next = this;
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

/// First column and number of the columns that each vector keeps.
#[inline(always)]
fn places<V: Vector, const N: usize>(planes: &Planes) -> [(usize, usize); N] {
    let (mut line, mut vector) = (0, 0);
    let mut places = [(0, 0); N];
    for place in &mut places {
        let at = (vector * V::LANES).min(planes.keep);
        *place = (line + at, (planes.keep - at).min(V::LANES));
        vector += 1;
        if vector == planes.vectors {
            (line, vector) = (line + planes.keep, 0);
        }
    }
    places
}
