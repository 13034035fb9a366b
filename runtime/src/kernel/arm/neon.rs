//! NEON on AArch64, which always has it.

use core::arch::aarch64::*;

use crate::kernel::generic::Decode;
use crate::kernel::generic::instance::*;
use crate::kernel::vector::{Vector, load_first, load_within, store_first};

instantiate!(F32x4);

/// Four lanes.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct F32x4(float32x4_t);

// SAFETY of every block here: the target has NEON, and the trait's contract
// gives the memory.
impl Vector for F32x4 {
    const LANES: usize = 4;
    const SUMS: usize = 24;
    type Half = Self;
    const HALVES: bool = false;

    #[inline(always)]
    unsafe fn low(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vdupq_n_f32(x) })
    }

    #[inline(always)]
    unsafe fn splat_four(p: *const f32) -> [Self; 4] {
        // Multiply-adds take a lane as it is.
        // SAFETY: see the impl.
        unsafe {
            let four = vld1q_f32(p);
            [
                Self(vdupq_laneq_f32::<0>(four)),
                Self(vdupq_laneq_f32::<1>(four)),
                Self(vdupq_laneq_f32::<2>(four)),
                Self(vdupq_laneq_f32::<3>(four)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vld1q_f32(p) })
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, count: usize) -> Self {
        // SAFETY: see the impl.
        unsafe { Self::load(load_first::<4>(p, count).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load_within(p: *const f32, first: usize, end: usize, fill: Self, all: bool) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let lanes = match all {
                true => vld1q_f32(p),
                false => vld1q_f32(load_within::<4>(p, first, end).as_ptr()),
            };
            let index = vld1q_u32([0, 1, 2, 3].as_ptr());
            let within = vandq_u32(
                vcgeq_u32(index, vdupq_n_u32(first as u32)),
                vcltq_u32(index, vdupq_n_u32(end as u32)),
            );
            Self(vbslq_f32(within, lanes, fill.0))
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: see the impl.
        unsafe { vst1q_f32(p, self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, count: usize) {
        let mut lanes = [0.0; 4];
        // SAFETY: see the impl.
        unsafe {
            self.store(lanes.as_mut_ptr());
            store_first(lanes, p, count);
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vfmaq_f32(sum.0, self.0, factor.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vdivq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn scale_negative(self, slope: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vbslq_f32(vcltzq_f32(self.0), vmulq_f32(self.0, slope.0), self.0) })
    }

    #[inline(always)]
    unsafe fn or_greater(self, other: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let number = vceqq_f32(other.0, other.0);
            Self(vbslq_f32(
                vornq_u32(vcgtq_f32(other.0, self.0), number),
                other.0,
                self.0,
            ))
        }
    }

    #[inline(always)]
    unsafe fn even_odd(self, other: Self) -> (Self, Self) {
        // SAFETY: see the impl.
        unsafe { (Self(vuzp1q_f32(self.0, other.0)), Self(vuzp2q_f32(self.0, other.0))) }
    }

    #[inline(always)]
    unsafe fn move_down(self, next: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vextq_f32::<1>(self.0, next.0) })
    }

    #[inline(always)]
    unsafe fn at_least(self, low: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vbslq_f32(vcltq_f32(self.0, low.0), low.0, self.0) })
    }

    #[inline(always)]
    unsafe fn at_most(self, high: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { vbslq_f32(vcgtq_f32(self.0, high.0), high.0, self.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see the impl.
        unsafe { vaddvq_f32(self.0) }
    }
}

impl Decode for F32x4 {}
