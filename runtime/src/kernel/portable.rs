//! The vectors of the `wide` crate: eight lanes, whatever the target has.

use wide::f32x8;

use super::generic::Decode;
use super::generic::instance::*;
use super::vector::{Vector, load_first, load_within, store_first};

instantiate!(F32x8);

/// Eight lanes.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct F32x8(f32x8);

// SAFETY of every block here: the trait's contract gives the memory; there is
// no instruction set to promise.
impl Vector for F32x8 {
    const LANES: usize = 8;
    // Two of the target's registers each: SSE2 has 16.
    const SUMS: usize = 4;
    type Half = Self;
    const HALVES: bool = false;

    #[inline(always)]
    unsafe fn low(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(f32x8::splat(x))
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see the impl.
        Self(f32x8::from(unsafe { p.cast::<[f32; 8]>().read_unaligned() }))
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, count: usize) -> Self {
        // SAFETY: see the impl.
        Self(f32x8::from(unsafe { load_first(p, count) }))
    }

    #[inline(always)]
    unsafe fn load_within(p: *const f32, first: usize, end: usize, fill: Self, all: bool) -> Self {
        // SAFETY: see the impl.
        let lanes = unsafe {
            match all {
                true => p.cast::<[f32; 8]>().read_unaligned(),
                false => load_within(p, first, end),
            }
        };
        let index = f32x8::from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let within = index.simd_ge(f32x8::splat(first as f32)) & index.simd_lt(f32x8::splat(end as f32));
        Self(within.select(f32x8::from(lanes), fill.0))
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: see the impl.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(self.0.to_array()) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, count: usize) {
        // SAFETY: see the impl.
        unsafe { store_first(self.0.to_array(), p, count) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        Self(self.0.mul_add(factor.0, sum.0))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }

    #[inline(always)]
    unsafe fn scale_negative(self, slope: Self) -> Self {
        Self(self.0.simd_lt(f32x8::ZERO).select(self.0 * slope.0, self.0))
    }

    #[inline(always)]
    unsafe fn or_greater(self, other: Self) -> Self {
        let taken = other.0.simd_gt(self.0) | other.0.simd_ne(other.0);
        Self(taken.select(other.0, self.0))
    }

    #[inline(always)]
    unsafe fn even_odd(self, other: Self) -> (Self, Self) {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (self.0.to_array(), other.0.to_array());
        (
            Self(f32x8::from([a, c, e, g, i, k, m, o])),
            Self(f32x8::from([b, d, f, h, j, l, n, p])),
        )
    }

    #[inline(always)]
    unsafe fn move_down(self, next: Self) -> Self {
        let ([_, b, c, d, e, f, g, h], [i, ..]) = (self.0.to_array(), next.0.to_array());
        Self(f32x8::from([b, c, d, e, f, g, h, i]))
    }

    #[inline(always)]
    unsafe fn at_least(self, low: Self) -> Self {
        Self(self.0.simd_lt(low.0).select(low.0, self.0))
    }

    #[inline(always)]
    unsafe fn at_most(self, high: Self) -> Self {
        Self(self.0.simd_gt(high.0).select(high.0, self.0))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.reduce_add()
    }
}

impl Decode for F32x8 {}
