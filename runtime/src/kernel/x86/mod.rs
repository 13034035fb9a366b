//! x86-64 instruction sets.

/// Whether the CPU has a feature: detected with `std`, known when compiled without.
#[cfg(feature = "std")]
macro_rules! has {
    ($feature:tt) => {
        std::arch::is_x86_feature_detected!($feature)
    };
}
#[cfg(not(feature = "std"))]
macro_rules! has {
    ($feature:tt) => {
        cfg!(target_feature = $feature)
    };
}

pub(super) mod avx2;
pub(super) mod avx512;
mod spmv_avx2;
mod spmv_avx512;

/// `height` higher after every `width` lanes, and from 0 again after `count` steps.
const fn steps<const LANES: usize>(width: usize, count: usize, height: usize) -> [i32; LANES] {
    let mut steps = [0; LANES];
    let mut lane = 0;
    while lane < LANES {
        steps[lane] = (lane / width % count * height) as i32;
        lane += 1;
    }
    steps
}
