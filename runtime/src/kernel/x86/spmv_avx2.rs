//! Encoded weights in AVX2 registers.

use core::arch::x86_64::*;

use secateur_format::encoding::{Bitmask, Value, ValueType};

use super::avx2::F32x8;
use super::steps;
use crate::kernel::Spmv;
use crate::kernel::generic::{Decode, Expand, MOST_SOURCES, position_bits, spmv_expanded};
use crate::kernel::vector::Vector;

/// For eight bits, which weight a lane takes: byte `i` counts the bits below bit `i`.
static RANKS: [u64; 256] = {
    let mut ranks = [0; 256];
    let mut bits = 0;
    while bits < 256 {
        let mut lane = 0;
        while lane < 8 {
            let below = bits & ((1 << lane) - 1);
            ranks[bits] |= (below.count_ones() as u64) << (8 * lane);
            lane += 1;
        }
        bits += 1;
    }
    ranks
};

/// [`Decode::columns`], with AVX-512 as well.
///
/// # Safety
/// As there; the CPU has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn columns(columns: *const u8, base: u16, last: u16, sums: *mut u16) {
    // SAFETY: the caller's promise.
    unsafe {
        let columns = _mm256_cvtepu8_epi16(_mm_loadu_si128(columns.cast()));
        let sum = _mm256_add_epi16(columns, _mm256_set1_epi16(base.cast_signed()));
        let sum = _mm256_min_epu16(sum, _mm256_set1_epi16(last.cast_signed()));
        _mm256_storeu_si256(sums.cast(), sum);
    }
}

// SAFETY of every block here: the trait's contract gives the instruction set
// and the memory.
impl Decode for F32x8 {
    #[inline(always)]
    unsafe fn widen<T: Value>(p: *const T) -> Self {
        // SAFETY: see the impl.
        unsafe {
            match T::TYPE {
                ValueType::F32 => Self::load(p.cast()),
                ValueType::F16 => Self(_mm256_cvtph_ps(_mm_loadu_si128(p.cast()))),
                ValueType::Bf16 => {
                    let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
                    Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)))
                }
                _ => Self(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast())))),
            }
        }
    }

    #[inline(always)]
    unsafe fn columns(columns: *const u8, base: u16, last: u16, sums: *mut u16) {
        // SAFETY: see the impl.
        unsafe { self::columns(columns, base, last, sums) }
    }

    #[inline(always)]
    unsafe fn keep_first(self, count: usize) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let kept = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes);
            Self(_mm256_and_ps(self.0, _mm256_castsi256_ps(kept)))
        }
    }

    #[inline(always)]
    unsafe fn all_below(columns: &[u16], bound: usize) -> bool {
        let Some(last) = columns.len().checked_sub(16) else {
            return columns.iter().all(|&column| usize::from(column) < bound);
        };
        let most_allowed = bound.saturating_sub(1).min(u16::MAX.into()) as u16;
        // SAFETY: see the impl; 16 columns are read from `last` at most.
        unsafe {
            // The last step overlaps the one before.
            let mut most = _mm256_loadu_si256(columns.as_ptr().add(last).cast());
            for i in (0..last).step_by(16) {
                most = _mm256_max_epu16(most, _mm256_loadu_si256(columns.as_ptr().add(i).cast()));
            }
            let most_allowed = _mm256_set1_epi16(most_allowed.cast_signed());
            let above = _mm256_subs_epu16(most, most_allowed);
            bound > 0 && _mm256_testz_si256(above, above) == 1
        }
    }

    #[inline(always)]
    unsafe fn spmv_bitmask<T: Value>(view: &Bitmask<'_>, task: &mut Spmv<'_>) {
        // SAFETY: see the impl.
        unsafe { spmv_expanded::<Self, T>(view, task) }
    }

    #[inline(always)]
    unsafe fn pick<const N: usize, const M: usize>(x: &[Self; MOST_SOURCES], positions: u64) -> Self {
        // SAFETY: see the impl; the arrays are as long as a register.
        unsafe {
            let shifts = const { steps::<8>(1, 8, position_bits(M)) };
            // Counted from the first group of a register.
            let groups = const { steps::<8>(N, 8 / M, M) };
            let words = _mm256_set1_epi32(positions as i32);
            let shifted = _mm256_srlv_epi32(words, _mm256_loadu_si256(shifts.as_ptr().cast()));
            let position = _mm256_and_si256(shifted, _mm256_set1_epi32(M as i32 - 1));
            let column = _mm256_or_si256(position, _mm256_loadu_si256(groups.as_ptr().cast()));
            let (a, b) = (
                _mm256_permutevar8x32_ps(x[0].0, column),
                _mm256_permutevar8x32_ps(x[1].0, column),
            );
            if M / N == 2 {
                return Self(_mm256_blend_ps::<0b1111_0000>(a, b));
            }
            let (c, d) = (
                _mm256_permutevar8x32_ps(x[2].0, column),
                _mm256_permutevar8x32_ps(x[3].0, column),
            );
            let (low, high) = (
                _mm256_blend_ps::<0b0000_1100>(a, b),
                _mm256_blend_ps::<0b1100_0000>(c, d),
            );
            Self(_mm256_blend_ps::<0b1111_0000>(low, high))
        }
    }
}

// SAFETY of every block here: as above.
impl Expand for F32x8 {
    #[inline(always)]
    unsafe fn expand_mul_add(self, mask: *const u8, x: Self, sum: Self) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let bits = mask.read();
            let ranks = RANKS.get(usize::from(bits)).copied().unwrap_or(0);
            let ranks = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(ranks.cast_signed()));
            let bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits.into()), bit), bit);
            // Neither an input nor a weight of another lane may turn into NaN times 0.
            let weights = _mm256_and_ps(_mm256_permutevar8x32_ps(self.0, ranks), _mm256_castsi256_ps(set));
            let x = _mm256_and_ps(x.0, _mm256_castsi256_ps(set));
            Self(_mm256_fmadd_ps(weights, x, sum.0))
        }
    }

    const COLLECTS: bool = false;

    unsafe fn collect_mul_add<T: Value>(_: *const u8, _: usize, _: *const f32, _: *const T, sum: Self) -> Self {
        sum
    }
}
