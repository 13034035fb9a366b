//! AVX-512 as of Ice Lake and Zen 4.

use core::arch::asm;
use core::arch::x86_64::*;

use super::avx2::F32x8;
use crate::kernel::generic::instance::*;
use crate::kernel::vector::Vector;

instantiate!(F32x16, "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx2,fma,f16c,bmi2,popcnt": "avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vbmi2" "avx2" "fma" "f16c" "bmi2" "popcnt");
#[cfg(feature = "alloc")]
instantiate!(F32x16, [#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx2,fma,f16c,bmi2,popcnt")]], spmv_narrow[V: Value][V](Slices, Spmv));

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct F32x16(pub(super) __m512);

/// The lanes below `count`.
#[inline(always)]
pub(super) fn first(count: usize) -> __mmask16 {
    // Wider than a mask, so that all 16 lanes are no overflow.
    ((1u32 << (count as u32 & 31)) - 1) as __mmask16
}

/// The four numbers at `p`, again and again.
///
/// The compiler would read each of them by itself where it is spread over all lanes; loads are what
/// panel kernels have too few of.
///
/// # Safety
/// The numbers are there.
#[cfg_attr(not(feature = "alloc"), allow(dead_code))]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn repeat_four(p: *const f32) -> __m512 {
    let all;
    // SAFETY: the caller's promise; nothing but the register is changed.
    unsafe {
        asm!("vbroadcastf32x4 {}, xmmword ptr [{}]", lateout(zmm_reg) all, in(reg) p, options(pure, readonly, nostack, preserves_flags));
    }
    all
}

// SAFETY of every block here: the trait's contract gives the instruction set
// and the memory; masked lanes are not touched.
impl Vector for F32x16 {
    const LANES: usize = 16;
    const SUMS: usize = 24;
    type Half = F32x8;
    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn low(self) -> F32x8 {
        // SAFETY: see the impl.
        F32x8(unsafe { _mm512_castps512_ps256(self.0) })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn splat_four(p: *const f32) -> [Self; 4] {
        // SAFETY: see the impl.
        unsafe {
            let all = repeat_four(p);
            [
                Self(_mm512_permute_ps::<0b00_00_00_00>(all)),
                Self(_mm512_permute_ps::<0b01_01_01_01>(all)),
                Self(_mm512_permute_ps::<0b10_10_10_10>(all)),
                Self(_mm512_permute_ps::<0b11_11_11_11>(all)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, count: usize) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_maskz_loadu_ps(first(count), p) })
    }

    #[inline(always)]
    unsafe fn load_within(p: *const f32, first: usize, end: usize, fill: Self, _: bool) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_mask_loadu_ps(fill.0, self::first(end) & !self::first(first), p) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: see the impl.
        unsafe { _mm512_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, count: usize) {
        // SAFETY: see the impl.
        unsafe { _mm512_mask_storeu_ps(p, first(count), self.0) }
    }

    #[inline(always)]
    unsafe fn store_within(self, p: *mut f32, first: usize, end: usize) {
        // SAFETY: see the impl.
        unsafe { _mm512_mask_storeu_ps(p, self::first(end) & !self::first(first), self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn scale_negative(self, slope: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, _mm512_setzero_ps());
            Self(_mm512_mask_mul_ps(self.0, negative, self.0, slope.0))
        }
    }

    #[inline(always)]
    unsafe fn or_greater(self, other: Self) -> Self {
        // The maximum is its second operand if one is NaN.
        // SAFETY: see the impl.
        unsafe {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(other.0, other.0);
            Self(_mm512_mask_mov_ps(_mm512_max_ps(other.0, self.0), nan, other.0))
        }
    }

    #[inline(always)]
    unsafe fn even_odd(self, other: Self) -> (Self, Self) {
        // SAFETY: see the impl.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
            (
                Self(_mm512_permutex2var_ps(self.0, even, other.0)),
                Self(_mm512_permutex2var_ps(self.0, odd, other.0)),
            )
        }
    }

    #[inline(always)]
    unsafe fn move_down(self, next: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe {
            let (low, high) = (_mm512_castps_si512(self.0), _mm512_castps_si512(next.0));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(high, low))
        })
    }

    #[inline(always)]
    unsafe fn prefetch<T>(p: *const T) {
        // SAFETY: a hint; it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }

    #[inline(always)]
    unsafe fn at_least(self, low: Self) -> Self {
        // The instruction gives its second operand if one is NaN.
        // SAFETY: see the impl.
        Self(unsafe { _mm512_max_ps(low.0, self.0) })
    }

    #[inline(always)]
    unsafe fn at_most(self, high: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_min_ps(high.0, self.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see the impl.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
}
