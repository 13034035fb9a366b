//! Panel kernels (see [`crate::kernel::panel`]).
//!
//! Sums of a strip stay in registers for a whole window: rows times vectors of
//! them, so many that the latency of the multiply-add is hidden.

use crate::kernel::activation::activate;
use crate::kernel::panel::{Finish, Output, Panel, Residual};
use crate::kernel::vector::Vector;

/// Evaluates `$call` with `$n` the number of vectors.
macro_rules! by_vectors {
    ($vectors:expr, $n:ident: $($count:literal)* => $call:expr) => {
        match $vectors {
            $($count => {
                const $n: usize = $count;
                $call
            })*
            _ => {}
        }
    };
}
pub(super) use by_vectors;

/// Pairs of rows with columns of their own.
///
/// # Safety
/// The CPU has the instruction set of `V`; strips, panel and output fit
/// together (as [`crate::kernel::panel::PanelKernel::run`] checks).
#[inline(always)]
pub(in crate::kernel) unsafe fn pair<V: Vector>(panel: &Panel<'_>, y: &Output<'_>) {
    // SAFETY: the caller's promise.
    unsafe { by_vectors!(panel.columns.div_ceil(V::LANES), N: 1 2 3 4 5 6 7 8 => pair_tile::<V, N>(panel, y)) }
}

/// Blocks of `R` rows that share their columns.
///
/// # Safety
/// As [`pair`].
#[inline(always)]
pub(in crate::kernel) unsafe fn block<V: Vector, const R: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match R {
            2 => by_vectors!(panel.columns.div_ceil(V::LANES), N: 1 2 3 4 5 6 7 8 => block_tile::<V, R, N>(panel, y)),
            4 => by_vectors!(panel.columns.div_ceil(V::LANES), N: 1 2 3 4 5 6 => block_tile::<V, R, N>(panel, y)),
            _ => by_vectors!(panel.columns.div_ceil(V::LANES), N: 1 2 3 => block_tile::<V, R, N>(panel, y)),
        }
    }
}

/// All columns of `R` rows.
///
/// # Safety
/// As [`pair`].
#[inline(always)]
pub(in crate::kernel) unsafe fn dense<V: Vector, const R: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match R {
            6 => by_vectors!(panel.columns.div_ceil(V::LANES), N: 1 2 3 4 => dense_tile::<V, R, N>(panel, y)),
            _ => by_vectors!(panel.columns.div_ceil(V::LANES), N: 1 2 3 => dense_tile::<V, R, N>(panel, y)),
        }
    }
}

#[inline(always)]
unsafe fn pair_tile<V: Vector, const N: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    let x = panel.x.as_ptr();
    // SAFETY: starts are ascending and inside `words`, offsets inside the panel.
    unsafe {
        for (strip, &rows) in strips.order.iter().enumerate() {
            let rows = rows.map(|row| row as usize);
            let mut sums: [[V; N]; 2] = [first::<V, N>(panel, rows[0]), first::<V, N>(panel, rows[1])];
            let mut step = strips
                .words
                .as_ptr()
                .add(4 * *strips.starts.get_unchecked(strip) as usize);
            let end = strips
                .words
                .as_ptr()
                .add(4 * *strips.starts.get_unchecked(strip + 1) as usize);
            while step < end {
                let (w, offset) = V::entry(step);
                multiply::<V, N>(&mut sums[0], w, x.byte_add(offset));
                let (w, offset) = V::entry(step.add(2));
                multiply::<V, N>(&mut sums[1], w, x.byte_add(offset));
                step = step.add(4);
            }
            last::<V, N>(panel, y, rows[0], sums[0]);
            last::<V, N>(panel, y, rows[1], sums[1]);
        }
    }
}

#[inline(always)]
unsafe fn block_tile<V: Vector, const R: usize, const N: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    // SAFETY: starts are ascending and inside `words`, offsets inside the panel.
    unsafe {
        for (strip, &[row, _]) in strips.order.iter().enumerate() {
            let mut sums = first_rows::<V, R, N>(panel, row as usize);
            let mut step = strips
                .words
                .as_ptr()
                .add((R + 1) * *strips.starts.get_unchecked(strip) as usize);
            let end = strips
                .words
                .as_ptr()
                .add((R + 1) * *strips.starts.get_unchecked(strip + 1) as usize);
            while step < end {
                let line = panel.x.as_ptr().byte_add(*step as usize);
                multiply_rows::<V, R, N>(&mut sums, step.add(1).cast(), line);
                step = step.add(R + 1);
            }
            last_rows::<V, R, N>(panel, y, row as usize, sums);
        }
    }
}

#[inline(always)]
unsafe fn dense_tile<V: Vector, const R: usize, const N: usize>(panel: &Panel<'_>, y: &Output<'_>) {
    let strips = &panel.strips;
    // SAFETY: `words` has `R` weights per strip and column, the panel a line per column.
    unsafe {
        let mut weights: *const f32 = strips.words.as_ptr().cast();
        for &[row, _] in strips.order {
            let mut sums = first_rows::<V, R, N>(panel, row as usize);
            let mut line = panel.x.as_ptr();
            for _ in 0..strips.cols {
                multiply_rows::<V, R, N>(&mut sums, weights, line);
                weights = weights.add(R);
                line = line.add(strips.stride);
            }
            last_rows::<V, R, N>(panel, y, row as usize, sums);
        }
    }
}

/// `sums += w · line`, the line read from memory by the multiply-add itself.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const N: usize>(sums: &mut [V; N], w: V, line: *const f32) {
    for (i, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's: `N` vectors at `line`.
        *sum = unsafe { V::load(line.add(i * V::LANES)).mul_add(w, *sum) };
    }
}

/// `sums[r] += weights[r] · line`: the line is loaded once for all rows.
#[inline(always)]
unsafe fn multiply_rows<V: Vector, const R: usize, const N: usize>(
    sums: &mut [[V; N]; R],
    weights: *const f32,
    line: *const f32,
) {
    // SAFETY: the caller's: `N` vectors at `line`, `R` weights.
    unsafe {
        let mut x = [V::splat(0.0); N];
        for (i, x) in x.iter_mut().enumerate() {
            *x = V::load(line.add(i * V::LANES));
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let w = V::splat(*weights.add(r));
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = x.mul_add(w, *sum);
            }
        }
    }
}

#[inline(always)]
unsafe fn first_rows<V: Vector, const R: usize, const N: usize>(panel: &Panel<'_>, row: usize) -> [[V; N]; R] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            *sums = first::<V, N>(panel, row + r);
        }
        sums
    }
}

#[inline(always)]
unsafe fn last_rows<V: Vector, const R: usize, const N: usize>(
    panel: &Panel<'_>,
    y: &Output<'_>,
    row: usize,
    sums: [[V; N]; R],
) {
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { last::<V, N>(panel, y, row + r, sums) }
    }
}

/// The sums of a row before the window; zeros for a row that is not there.
#[inline(always)]
pub(super) unsafe fn first<V: Vector, const N: usize>(panel: &Panel<'_>, row: usize) -> [V; N] {
    // SAFETY: the bias has a number per row, `partial` `N` vectors.
    unsafe {
        if row >= panel.strips.rows {
            return [V::splat(0.0); N];
        }
        if panel.first {
            return [V::splat(panel.bias.map_or(0.0, |bias| *bias.get_unchecked(row))); N];
        }
        let mut sums = [V::splat(0.0); N];
        let line = panel.partial.at(row, 0);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = V::load(line.add(i * V::LANES));
        }
        sums
    }
}

/// Keeps the sums of a row for the next window.
#[inline(always)]
pub(super) unsafe fn keep<V: Vector, const N: usize>(panel: &Panel<'_>, row: usize, sums: [V; N]) {
    // SAFETY: `partial` has `N` vectors for each row.
    unsafe {
        let line = panel.partial.at(row, 0);
        for (i, sum) in sums.into_iter().enumerate() {
            sum.store(line.add(i * V::LANES));
        }
    }
}

/// Stores the sums of a row, in the output if the window is the last.
#[inline(always)]
unsafe fn last<V: Vector, const N: usize>(panel: &Panel<'_>, y: &Output<'_>, row: usize, sums: [V; N]) {
    if row >= panel.strips.rows {
        return;
    }
    // SAFETY: the output has the panel's rows and columns.
    unsafe {
        let Some(finish) = &panel.finish else {
            return keep(panel, row, sums);
        };
        for (i, sum) in sums.into_iter().enumerate() {
            let (column, left) = (i * V::LANES, panel.columns - i * V::LANES);
            let count = if i + 1 < N { V::LANES } else { left };
            store(finish, y, row, panel.column + column, count, sum);
        }
    }
}

/// Stores the first `count` sums of a vector in the output.
#[inline(always)]
pub(super) unsafe fn store<V: Vector>(
    finish: &Finish<'_>,
    y: &Output<'_>,
    row: usize,
    column: usize,
    count: usize,
    mut sum: V,
) {
    // SAFETY: the output and the residual have these columns.
    unsafe {
        let place = y.at(row, column);
        let residual: Option<*const f32> = match finish.residual {
            Residual::None => None,
            Residual::At(residual) => Some(residual.as_ptr().add(row * y.row_len() + column)),
            Residual::InOutput => Some(place),
        };
        let whole = count == V::LANES;
        if let Some(residual) = residual {
            sum = sum.add(if whole {
                V::load(residual)
            } else {
                V::load_first(residual, count)
            });
        }
        sum = activate(finish.activation, sum);
        if whole {
            sum.store(place);
        } else {
            sum.store_first(place, count);
        }
    }
}
