//! AVX2 with FMA: Haswell and later.

use core::arch::asm;
use core::arch::x86_64::*;

use crate::kernel::generic::instance::*;
use crate::kernel::vector::Vector;

instantiate!(F32x8, "avx2,fma,f16c,bmi2,popcnt": "avx2" "fma" "f16c" "bmi2" "popcnt");

/// Eight lanes.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct F32x8(pub(super) __m256);

/// All bits of the lanes below `count`.
#[inline(always)]
unsafe fn first(count: usize) -> __m256i {
    // SAFETY: the caller's CPU has AVX2.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }
}

/// The four numbers at `p`, twice: by one load, see AVX-512.
///
/// # Safety
/// The numbers are there.
#[cfg_attr(not(feature = "alloc"), allow(dead_code))]
#[inline]
#[target_feature(enable = "avx")]
unsafe fn repeat_four(p: *const f32) -> __m256 {
    let all;
    // SAFETY: the caller's promise; nothing but the register is changed.
    unsafe {
        asm!("vbroadcastf128 {}, xmmword ptr [{}]", lateout(ymm_reg) all, in(reg) p, options(pure, readonly, nostack, preserves_flags));
    }
    all
}

// SAFETY of every block here: the trait's contract gives the instruction set
// and the memory; masked lanes are not touched.
impl Vector for F32x8 {
    const LANES: usize = 8;
    const SUMS: usize = 12;
    type Half = Self;
    const HALVES: bool = false;

    #[inline(always)]
    unsafe fn low(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_set1_ps(x) })
    }

    #[inline(always)]
    unsafe fn splat_four(p: *const f32) -> [Self; 4] {
        // SAFETY: see the impl.
        unsafe {
            let all = repeat_four(p);
            [
                Self(_mm256_permute_ps::<0b00_00_00_00>(all)),
                Self(_mm256_permute_ps::<0b01_01_01_01>(all)),
                Self(_mm256_permute_ps::<0b10_10_10_10>(all)),
                Self(_mm256_permute_ps::<0b11_11_11_11>(all)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_loadu_ps(p) })
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, count: usize) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_maskload_ps(p, first(count)) })
    }

    #[inline(always)]
    unsafe fn load_within(p: *const f32, first: usize, end: usize, fill: Self, _: bool) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let within = _mm256_andnot_si256(self::first(first), self::first(end));
            let lanes = _mm256_maskload_ps(p, within);
            Self(_mm256_blendv_ps(fill.0, lanes, _mm256_castsi256_ps(within)))
        }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: see the impl.
        unsafe { _mm256_storeu_ps(p, self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, count: usize) {
        // SAFETY: see the impl.
        unsafe { _mm256_maskstore_ps(p, first(count), self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn scale_negative(self, slope: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let negative = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, _mm256_setzero_ps());
            Self(_mm256_blendv_ps(self.0, _mm256_mul_ps(self.0, slope.0), negative))
        }
    }

    #[inline(always)]
    unsafe fn or_greater(self, other: Self) -> Self {
        // The maximum is its second operand if one is NaN.
        // SAFETY: see the impl.
        unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(other.0, other.0);
            Self(_mm256_blendv_ps(_mm256_max_ps(other.0, self.0), other.0, nan))
        }
    }

    #[inline(always)]
    unsafe fn even_odd(self, other: Self) -> (Self, Self) {
        // Picked within halves of a register, then the halves are put in order.
        // SAFETY: see the impl.
        unsafe {
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(self.0, other.0);
            let odd = _mm256_shuffle_ps::<0b11_01_11_01>(self.0, other.0);
            let in_order = |x| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(x)));
            (Self(in_order(even)), Self(in_order(odd)))
        }
    }

    #[inline(always)]
    unsafe fn move_down(self, next: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe {
            let (low, high) = (_mm256_castps_si256(self.0), _mm256_castps_si256(next.0));
            // The upper half of this vector, then the lower half of the next one.
            let middle = _mm256_permute2x128_si256::<0x21>(low, high);
            _mm256_castsi256_ps(_mm256_alignr_epi8::<4>(middle, low))
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
        Self(unsafe { _mm256_max_ps(low.0, self.0) })
    }

    #[inline(always)]
    unsafe fn at_most(self, high: Self) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm256_min_ps(high.0, self.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
        }
    }
}
