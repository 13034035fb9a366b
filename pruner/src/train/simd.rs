//! Element-wise passes with the widest vectors of the machine, in safe Rust.

use pulp::Arch;

/// Partial sums of a reduction: enough to keep the adders busy, and always as many, so that a
/// sum has the same bits on every machine.
const LANES: usize = 32;

/// Runs `work`, compiled for the vector instructions that this machine has. The closure must be
/// `#[inline(always)]`: one that is called instead is compiled for the least machine.
#[inline(always)]
pub(super) fn simd<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Σ f(a, b) over two slices of one length.
#[inline(always)]
fn reduce(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += f(a, b);
    }
    // In halves: the error grows with the logarithm of the lanes.
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// Σ x.
pub(super) fn sum(x: &[f32]) -> f32 {
    simd(
        #[inline(always)]
        || {
            reduce(
                x,
                x,
                #[inline(always)]
                |x, _| x,
            )
        },
    )
}

/// Σ (x − mean)².
pub(super) fn sum_squares_around(x: &[f32], mean: f32) -> f32 {
    simd(
        #[inline(always)]
        || {
            reduce(
                x,
                x,
                #[inline(always)]
                |x, _| (x - mean) * (x - mean),
            )
        },
    )
}

/// Σ a · (b − mean).
pub(super) fn dot_around(a: &[f32], b: &[f32], mean: f32) -> f32 {
    simd(
        #[inline(always)]
        || {
            reduce(
                a,
                b,
                #[inline(always)]
                |a, b| a * (b - mean),
            )
        },
    )
}

/// y += x.
pub(super) fn add(y: &mut [f32], x: &[f32]) {
    simd(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
    );
}

/// y += factor · x.
pub(super) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    simd(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x),
    );
}
