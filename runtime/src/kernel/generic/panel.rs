//! Panel kernels (see [`crate::kernel::panel`]).
//!
//! Sums of a strip stay in registers for a whole window: rows times vectors of
//! them, so many that the latency of the multiply-add is hidden.

use super::ends::{AHEAD_BYTES, End, extra_first, fetch_weights, first_rows, last_rows};
use super::steps::{ENTRY_BYTES, Steps};
use super::sums::{Sums, ends_in_half};
use crate::kernel::panel::{Output, Panel, has_extra};
use crate::kernel::vector::Vector;

/// Evaluates `$call` with `$n` the number of vectors, for which `$fits` holds: a kernel has no code for others.
macro_rules! by_vectors {
    ($vectors:expr, $n:ident if $fits:expr => $call:expr) => {
        by_vectors!($vectors, $n if $fits; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 => $call)
    };
    ($vectors:expr, $n:ident if $fits:expr; $($count:literal)* => $call:expr) => {
        match $vectors {
            $($count => {
                const $n: usize = $count;
                if const { $fits } {
                    $call
                }
            })*
            _ => {}
        }
    };
}
pub(super) use by_vectors;

/// Pairs of rows with columns of their own; at most `MOST` vectors.
///
/// # Safety
/// The CPU has the instruction set of `V`; strips, panel and output fit
/// together (as [`crate::kernel::panel::PanelKernel::run`] checks).
#[inline(always)]
pub(in crate::kernel) unsafe fn pair<V: Vector, const MOST: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match ends_in_half::<V>(panel.columns) {
            true => {
                by_vectors!(panel.columns / V::LANES, N if V::HALVES && N < MOST => pair_tile::<V, N, true>(panel, y))
            }
            false => {
                by_vectors!(panel.columns.div_ceil(V::LANES), N if N <= MOST => pair_tile::<V, N, false>(panel, y))
            }
        }
    }
}

/// Blocks of `R` rows that share their columns.
///
/// # Safety
/// As [`pair`].
#[inline(always)]
pub(in crate::kernel) unsafe fn block<V: Vector, const R: usize, const MOST: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match ends_in_half::<V>(panel.columns) {
            true => {
                by_vectors!(panel.columns / V::LANES, N if V::HALVES && N < MOST => block_tile::<V, R, N, true>(panel, y))
            }
            false => {
                by_vectors!(panel.columns.div_ceil(V::LANES), N if N <= MOST => block_tile::<V, R, N, false>(panel, y))
            }
        }
    }
}

/// All columns of `R` rows. One column more than whole vectors is no vector of its own: its weights
/// are multiplied as vectors, so that 49 columns cost little more than 48.
///
/// # Safety
/// As [`pair`].
#[inline(always)]
pub(in crate::kernel) unsafe fn dense<V: Vector, const R: usize, const MOST: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match has_extra(panel.columns, V::LANES) {
            true => by_vectors!(panel.columns / V::LANES, N if N <= MOST => dense_tile::<V, R, N, true>(panel, y)),
            false => {
                by_vectors!(panel.columns.div_ceil(V::LANES), N if N <= MOST => dense_tile::<V, R, N, false>(panel, y))
            }
        }
    }
}

#[inline(always)]
unsafe fn pair_tile<V: Vector, const N: usize, const HALF: bool>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    let end_of = End::new(panel, y);
    // SAFETY: the steps are entries of quads, offsets inside the panel.
    unsafe {
        let mut steps = Steps::new(panel, ENTRY_BYTES);
        for (strip, &rows) in strips.order.iter().enumerate() {
            let rows = rows.map(|row| row as usize);
            let [mut one, mut two]: [Sums<V, N, HALF>; 2] = [Sums::first(panel, rows[0]), Sums::first(panel, rows[1])];
            let [mixed, end] = [steps.end(2 * strip + 1), steps.end(2 * strip + 2)];
            fetch_weights::<V>(panel, steps.at(), end);
            end_of.fetch::<V, N>(strip, |rows| rows[0]);
            end_of.fetch::<V, N>(strip, |rows| rows[1]);
            while steps.at() < mixed {
                let ([a, _, c, d], [w, x, y, z]) = steps.quad::<V>();
                Sums::multiply_both(&mut one, &mut two, [w, x], a);
                one.multiply(y, c);
                two.multiply(z, d);
            }
            while steps.has_quad(end) {
                let ([a, b, c, d], values) = steps.quad::<V>();
                one.multiply(values[0], a);
                two.multiply(values[1], b);
                one.multiply(values[2], c);
                two.multiply(values[3], d);
            }
            if steps.at() < end {
                let ([a, b, ..], values) = steps.quad::<V>();
                one.multiply(values[0], a);
                two.multiply(values[1], b);
            }
            end_of.last(rows[0], one);
            end_of.last(rows[1], two);
        }
        end_of.activate::<V>();
    }
}

#[inline(always)]
unsafe fn block_tile<V: Vector, const R: usize, const N: usize, const HALF: bool>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    let end_of = End::new(panel, y);
    // SAFETY: the steps are those of the shape, offsets inside the panel.
    unsafe {
        let mut steps = Steps::new(panel, 4 * (R + 1));
        for (strip, &[row, _]) in strips.order.iter().enumerate() {
            let mut sums = first_rows::<V, R, N, HALF>(panel, row as usize);
            let end = steps.end(strip + 1);
            fetch_weights::<V>(panel, steps.at(), end);
            end_of.fetch_rows::<V, R, N>(strip);
            while steps.at() < end {
                let step = steps.next();
                let line = panel.x.as_ptr().byte_add(*step as usize);
                multiply_rows(&mut sums, step.add(1).cast(), line);
            }
            last_rows(&end_of, row as usize, sums);
        }
        end_of.activate::<V>();
    }
}

#[inline(always)]
unsafe fn dense_tile<V: Vector, const R: usize, const N: usize, const EXTRA: bool>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    let end_of = End::new(panel, y);
    // SAFETY: `words` has `R` weights per strip and column and a vector more, the panel a line per column.
    unsafe {
        let mut weights: *const f32 = strips.words.as_ptr().cast();
        for &[row, _] in strips.order {
            let mut sums = first_rows::<V, R, N, false>(panel, row as usize);
            let mut extra = if EXTRA {
                extra_first::<V, R>(panel, row as usize, N * V::LANES)
            } else {
                [V::splat(0.0); 2]
            };
            let mut line = panel.x.as_ptr();
            for _ in 0..strips.cols {
                V::prefetch(weights.wrapping_byte_add(AHEAD_BYTES));
                multiply_rows(&mut sums, weights, line);
                if EXTRA {
                    let x = V::splat(*line.add(N * V::LANES));
                    for (i, sum) in extra.iter_mut().enumerate() {
                        if i * V::LANES < R {
                            *sum = V::load(weights.add(i * V::LANES)).mul_add(x, *sum);
                        }
                    }
                }
                weights = weights.add(R);
                line = line.add(strips.stride);
            }
            last_rows(&end_of, row as usize, sums);
            if EXTRA {
                end_of.last_extra::<V, R>(row as usize, N * V::LANES, extra);
            }
        }
        end_of.activate::<V>();
    }
}

/// `sums[r] += weights[r] · line`: the line is loaded once for all rows. The shorter side of the
/// tile stays in registers.
#[inline(always)]
pub(super) unsafe fn multiply_rows<V: Vector, const R: usize, const N: usize, const HALF: bool>(
    sums: &mut [Sums<V, N, HALF>; R],
    weights: *const f32,
    line: *const f32,
) {
    // SAFETY: the caller's: all vectors of the sums at `line`, `R` weights.
    unsafe {
        if R < N {
            let mut w = [V::splat(0.0); R];
            for (r, w) in w.iter_mut().enumerate() {
                *w = V::splat(*weights.add(r));
            }
            // Straight code: sums that are indexed in a loop end up in memory.
            macro_rules! columns {
                ($($i:literal)*) => {
                    $(if $i < N {
                        let x = V::load(line.add($i * V::LANES));
                        for (sums, w) in sums.iter_mut().zip(w) {
                            if let Some(sum) = sums.whole.get_mut($i) {
                                *sum = x.mul_add(w, *sum);
                            }
                        }
                    })*
                };
            }
            columns!(0 1 2 3 4 5 6 7 8 9 10 11);
            if HALF {
                let x = V::Half::load(line.add(N * V::LANES));
                for (sums, w) in sums.iter_mut().zip(w) {
                    sums.half = x.mul_add(w.low(), sums.half);
                }
            }
        } else {
            let mut x = [V::splat(0.0); N];
            for (i, x) in x.iter_mut().enumerate() {
                *x = V::load(line.add(i * V::LANES));
            }
            let half = match HALF {
                true => V::Half::load(line.add(N * V::LANES)),
                false => V::Half::splat(0.0),
            };
            for (r, sums) in sums.iter_mut().enumerate() {
                let w = V::splat(*weights.add(r));
                for (sum, x) in sums.whole.iter_mut().zip(x) {
                    *sum = x.mul_add(w, *sum);
                }
                if HALF {
                    sums.half = half.mul_add(w.low(), sums.half);
                }
            }
        }
    }
}
