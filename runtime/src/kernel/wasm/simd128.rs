//! The 128-bit vectors of WebAssembly.

use core::arch::wasm32::*;

use crate::kernel::generic::Decode;
use crate::kernel::generic::instance::*;
use crate::kernel::vector::{Vector, load_first, load_within, store_first};

instantiate!(F32x4);

/// Four lanes.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct F32x4(v128);

// SAFETY of every block here: the module is only built with `simd128`, and the
// trait's contract gives the memory.
impl Vector for F32x4 {
    const LANES: usize = 4;
    const SUMS: usize = 8;
    type Half = Self;
    const HALVES: bool = false;

    #[inline(always)]
    unsafe fn low(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(f32x4_splat(x))
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { v128_load(p.cast()) })
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
                true => v128_load(p.cast()),
                false => v128_load(load_within::<4>(p, first, end).as_ptr().cast()),
            };
            let index = u32x4(0, 1, 2, 3);
            let within = v128_and(
                u32x4_ge(index, u32x4_splat(first as u32)),
                u32x4_lt(index, u32x4_splat(end as u32)),
            );
            Self(v128_bitselect(lanes, fill.0, within))
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: see the impl.
        unsafe { v128_store(p.cast(), self.0) }
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
        Self(f32x4_add(f32x4_mul(self.0, factor.0), sum.0))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn scale_negative(self, slope: Self) -> Self {
        let negative = f32x4_lt(self.0, f32x4_splat(0.0));
        Self(v128_bitselect(f32x4_mul(self.0, slope.0), self.0, negative))
    }

    #[inline(always)]
    unsafe fn or_greater(self, other: Self) -> Self {
        let taken = v128_or(f32x4_gt(other.0, self.0), f32x4_ne(other.0, other.0));
        Self(v128_bitselect(other.0, self.0, taken))
    }

    #[inline(always)]
    unsafe fn even_odd(self, other: Self) -> (Self, Self) {
        (
            Self(i32x4_shuffle::<0, 2, 4, 6>(self.0, other.0)),
            Self(i32x4_shuffle::<1, 3, 5, 7>(self.0, other.0)),
        )
    }

    #[inline(always)]
    unsafe fn move_down(self, next: Self) -> Self {
        Self(i32x4_shuffle::<1, 2, 3, 4>(self.0, next.0))
    }

    #[inline(always)]
    unsafe fn at_least(self, low: Self) -> Self {
        Self(f32x4_pmax(self.0, low.0))
    }

    #[inline(always)]
    unsafe fn at_most(self, high: Self) -> Self {
        Self(f32x4_pmin(self.0, high.0))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let lanes = |a: f32, b: f32| a + b;
        lanes(
            lanes(f32x4_extract_lane::<0>(self.0), f32x4_extract_lane::<1>(self.0)),
            lanes(f32x4_extract_lane::<2>(self.0), f32x4_extract_lane::<3>(self.0)),
        )
    }
}

impl Decode for F32x4 {}
