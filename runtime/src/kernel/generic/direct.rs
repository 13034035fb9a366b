//! Direct convolution kernels (see [`crate::kernel::panel::Taps`]).

use super::panel::{by_vectors, first, keep, multiply, store};
use crate::kernel::panel::{Finish, Output, Panel};
use crate::kernel::vector::Vector;

/// One output channel at a time, all lines of the panel.
///
/// # Safety
/// The CPU has the instruction set of `V`; strips, panel and output fit
/// together (as [`crate::kernel::panel::PanelKernel::run`] checks).
#[inline(always)]
pub(in crate::kernel) unsafe fn direct<V: Vector>(panel: &Panel<'_>, y: &Output<'_>) {
    let planes = &panel.strips.planes;
    let vectors = panel.columns.checked_div(planes.keep).unwrap_or(0) * planes.vectors;
    // SAFETY: the caller's promise.
    unsafe { by_vectors!(vectors, N: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 => tile::<V, N>(panel, y)) }
}

#[inline(always)]
unsafe fn tile<V: Vector, const N: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    // SAFETY: starts are ascending and inside `words`, offsets inside the panel.
    unsafe {
        for (strip, &[row, _]) in strips.order.iter().enumerate() {
            let mut step = strips.words.as_ptr().add(*strips.starts.get_unchecked(strip) as usize);
            let end = strips
                .words
                .as_ptr()
                .add(*strips.starts.get_unchecked(strip + 1) as usize);
            let mut sums = [V::splat(0.0); N];
            loop {
                let group_end = step.add(1 + 2 * *step as usize);
                step = step.add(1);
                while step < group_end {
                    let (w, offset) = V::entry(step);
                    multiply::<V, N>(&mut sums, w, panel.x.as_ptr().byte_add(offset));
                    step = step.add(2);
                }
                if step >= end {
                    break;
                }
                // What comes into a line's last lanes is not kept.
                let mut next = sums[0];
                for sum in sums.iter_mut().rev() {
                    let this = *sum;
                    *sum = this.move_down(next);
                    next = this;
                }
            }
            for (sum, before) in sums.iter_mut().zip(first::<V, N>(panel, row as usize)) {
                *sum = sum.add(before);
            }
            match &panel.finish {
                Some(finish) => store_lines(panel, finish, y, row as usize, sums),
                None => keep(panel, row as usize, sums),
            }
        }
    }
}

/// Stores what is kept of each line. (Sums are passed by value: the loop's own copy may lie in
/// memory, while the caller's stay in registers.)
#[inline(always)]
unsafe fn store_lines<V: Vector, const N: usize>(
    panel: &Panel<'_>,
    finish: &Finish<'_>,
    y: &Output<'_>,
    row: usize,
    sums: [V; N],
) {
    let planes = &panel.strips.planes;
    let (mut vector, mut column) = (0, panel.column);
    for sum in sums {
        let at = vector * V::LANES;
        let count = planes.keep.saturating_sub(at).min(V::LANES);
        if count > 0 {
            // SAFETY: the caller's: the output has the columns that are kept.
            unsafe { store(finish, y, row, column + at, count, sum) }
        }
        vector += 1;
        if vector == planes.vectors {
            (vector, column) = (0, column + planes.keep);
        }
    }
}
