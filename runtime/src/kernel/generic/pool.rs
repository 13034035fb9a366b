//! Pooling: windows (see [`super::window`]), or the mean of a plane's first rows.

use secateur_format::op::PoolKind;

use super::window::{Fold, Window, slide};
use crate::kernel::planar::Pooling;
use crate::kernel::vector::{MOST_LANES, Vector};

/// Every plane on its own.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn pool<V: Vector>(task: &mut Pooling<'_>) {
    let Pooling {
        kernel,
        stride,
        pads,
        input,
        output,
        ..
    } = *task;
    let window = Window {
        input,
        output,
        kernel,
        stride,
        dilation: [1, 1],
        pads,
    };
    let [x_len, y_len] = [input, output].map(|[h, w]| h * w);
    if [kernel, stride].as_flattened().contains(&0) || x_len == 0 || y_len == 0 {
        return;
    }
    // One window of whole rows is a run.
    let run = kernel[1] == input[1] && kernel[0] <= input[0] && pads == [0, 0] && y_len == 1;
    let padded = task.kind == PoolKind::AverageWithPadding;
    // SAFETY: the caller's.
    unsafe {
        match task.kind {
            PoolKind::Max => planes::<V, _>(task, &window, &Max),
            _ if run => means::<V>(task, x_len, kernel[0] * kernel[1]),
            _ => planes::<V, _>(
                task,
                &window,
                &Mean {
                    padded,
                    window: &window,
                },
            ),
        }
    }
}

/// All planes.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn planes<V: Vector, F: Fold<V>>(task: &mut Pooling<'_>, window: &Window, fold: &F) {
    // SAFETY: the caller's; each is for the window's extents.
    unsafe {
        match (window.stride_of_3x3(), window.stride[1]) {
            (Some(2), _) => slide_all::<V, F, 3, 2>(task, window, fold),
            (_, 1) => slide_all::<V, F, 0, 1>(task, window, fold),
            (_, 2) => slide_all::<V, F, 0, 2>(task, window, fold),
            _ => slide_all::<V, F, 0, 0>(task, window, fold),
        }
    }
}

/// # Safety
/// As [`slide`], but for the planes.
#[inline(always)]
unsafe fn slide_all<V: Vector, F: Fold<V>, const K: usize, const S: usize>(
    task: &mut Pooling<'_>,
    window: &Window,
    fold: &F,
) {
    let [x_len, y_len] = [window.input, window.output].map(|[h, w]| h * w);
    let starts = (0..task.x.len() / x_len).map(|i| i * x_len);
    for (x, y) in starts.zip(task.y.chunks_exact_mut(y_len)) {
        // SAFETY: the caller's; the planes have the window's extents.
        unsafe { slide::<V, F, K, S>(window, fold, task.x, x, y.as_mut_ptr()) }
    }
}

/// The means of the first `count` numbers of each plane.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn means<V: Vector>(task: &mut Pooling<'_>, len: usize, count: usize) {
    for (x, y) in task.x.chunks_exact(len).zip(&mut *task.y) {
        // SAFETY: the caller's.
        *y = unsafe { sum::<V>(x.get(..count).unwrap_or(x)) } / count as f32;
    }
}

/// The sum of a run.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
unsafe fn sum<V: Vector>(x: &[f32]) -> f32 {
    // SAFETY: the caller's instruction set; chunks have the lanes that are loaded.
    unsafe {
        let mut sum = V::splat(0.0);
        for x in x.chunks(V::LANES) {
            sum = sum.add(V::load_first(x.as_ptr(), x.len()));
        }
        sum.sum()
    }
}

/// The greatest input; NaN if there is one.
struct Max;

impl<V: Vector> Fold<V> for Max {
    const PADDING: f32 = f32::NEG_INFINITY;

    #[inline(always)]
    unsafe fn start(&self) -> V {
        // SAFETY: the caller's.
        unsafe { V::splat(f32::NEG_INFINITY) }
    }

    #[inline(always)]
    unsafe fn step(&self, max: V, _: usize, x: V) -> V {
        // SAFETY: the caller's.
        unsafe { max.or_greater(x) }
    }

    #[inline(always)]
    unsafe fn finish(&self, max: V, _: [usize; 2], _: bool) -> V {
        max
    }
}

/// The mean of the inputs in the plane, or with the zeros in the padding.
struct Mean<'w> {
    padded: bool,
    window: &'w Window,
}

impl Mean<'_> {
    /// What the sums from row and column `at` on are divided by. Not inlined: it
    /// would be unrolled into every kernel.
    #[inline(never)]
    fn counts(&self, [row, column]: [usize; 2]) -> [f32; MOST_LANES] {
        let rows = self.window.inside(0, row);
        core::array::from_fn(|lane| (rows * self.window.inside(1, column + lane)).max(1) as f32)
    }
}

impl<V: Vector> Fold<V> for Mean<'_> {
    /// Added to any number, this is no change, not even of the sign of zero.
    const PADDING: f32 = -0.0;

    #[inline(always)]
    unsafe fn start(&self) -> V {
        // SAFETY: the caller's.
        unsafe { V::splat(-0.0) }
    }

    #[inline(always)]
    unsafe fn step(&self, sum: V, _: usize, x: V) -> V {
        // SAFETY: the caller's.
        unsafe { sum.add(x) }
    }

    #[inline(always)]
    unsafe fn finish(&self, sum: V, at: [usize; 2], inside: bool) -> V {
        let [kh, kw] = self.window.kernel;
        // SAFETY: the caller's; the array has room for any vector.
        unsafe {
            match (self.padded, inside) {
                (true, _) => sum.div(V::splat(kh as f32 * kw as f32)),
                (false, true) => sum.div(V::splat((self.window.inside(0, at[0]).max(1) * kw) as f32)),
                (false, false) => sum.div(V::load(self.counts(at).as_ptr())),
            }
        }
    }
}
