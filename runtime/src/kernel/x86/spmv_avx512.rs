//! Encoded weights in AVX-512 registers.

use core::arch::asm;
use core::arch::x86_64::*;

use secateur_format::encoding::{Bitmask, Value, ValueType};

use super::avx512::{F32x16, first};
use super::steps;
use crate::kernel::Spmv;
use crate::kernel::generic::{Decode, Expand, MOST_SOURCES, position_bits, spmv_expanded};
use crate::kernel::vector::Vector;

/// `vexpandps` between registers. The intrinsic does not do: the compiler joins
/// it with the load of the weights, and from memory the instruction is
/// microcode on AMD's cores, which takes two and a half times as long.
#[inline]
#[target_feature(enable = "avx512f")]
fn expand(bits: __mmask16, packed: __m512) -> __m512 {
    let expanded;
    // SAFETY: registers only.
    unsafe {
        asm!(
            "vexpandps {expanded} {{{bits}}} {{z}}, {packed}",
            expanded = out(zmm_reg) expanded,
            bits = in(kreg) bits,
            packed = in(zmm_reg) packed,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    expanded
}

// SAFETY of every block here: the trait's contract gives the instruction set
// and the memory; masked lanes are not touched.
impl Decode for F32x16 {
    #[inline(always)]
    unsafe fn widen<T: Value>(p: *const T) -> Self {
        // SAFETY: see the impl.
        unsafe {
            match T::TYPE {
                ValueType::F32 => Self::load(p.cast()),
                ValueType::F16 => Self(_mm512_cvtph_ps(_mm256_loadu_si256(p.cast()))),
                ValueType::Bf16 => Self(from_bf16(_mm256_loadu_si256(p.cast()))),
                _ => Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast())))),
            }
        }
    }

    #[inline(always)]
    unsafe fn widen_first<T: Value>(p: *const T, count: usize) -> Self {
        // SAFETY: see the impl.
        unsafe {
            match T::TYPE {
                ValueType::F32 => Self::load_first(p.cast(), count),
                ValueType::F16 => Self(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(count), p.cast()))),
                ValueType::Bf16 => Self(from_bf16(_mm256_maskz_loadu_epi16(first(count), p.cast()))),
                _ => {
                    let bytes = _mm_maskz_loadu_epi8(first(count), p.cast());
                    Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn all_below(columns: &[u16], bound: usize) -> bool {
        let Some(last) = bound.checked_sub(1) else {
            return columns.is_empty();
        };
        let last = last.min(u16::MAX.into()) as u16;
        // SAFETY: see the impl.
        unsafe {
            let mut most = _mm512_setzero_si512();
            for i in (0..columns.len()).step_by(32) {
                let left = u32::MAX >> (32 - (columns.len() - i).min(32));
                most = _mm512_max_epu16(most, _mm512_maskz_loadu_epi16(left, columns.as_ptr().add(i).cast()));
            }
            _mm512_cmpgt_epu16_mask(most, _mm512_set1_epi16(last.cast_signed())) == 0
        }
    }

    #[inline(always)]
    unsafe fn spmv_bitmask<T: Value>(view: &Bitmask<'_>, task: &mut Spmv<'_>) {
        // SAFETY: see the impl.
        unsafe { spmv_expanded::<Self, T>(view, task) }
    }

    #[inline(always)]
    unsafe fn pick<const N: usize, const M: usize>(x: &[Self; MOST_SOURCES], positions: u64) -> Self {
        let width = position_bits(M);
        // SAFETY: see the impl; the arrays are as long as a register.
        unsafe {
            // The positions of eight lanes fit a lane each.
            let (low, high) = (positions as i32, (positions >> (8 * width)) as i32);
            let words = _mm512_mask_set1_epi32(_mm512_set1_epi32(low), 0xff00, high);
            let shifts = const { steps::<16>(1, 8, position_bits(M)) };
            let groups = const { steps::<16>(N, 16, M) };
            let shifted = _mm512_srlv_epi32(words, _mm512_loadu_si512(shifts.as_ptr().cast()));
            let position = _mm512_and_si512(shifted, _mm512_set1_epi32(M as i32 - 1));
            let column = _mm512_or_si512(position, _mm512_loadu_si512(groups.as_ptr().cast()));
            let picked = _mm512_permutex2var_ps(x[0].0, column, x[1].0);
            if M / N == 2 {
                return Self(picked);
            }
            // The groups of the upper lanes are in the other two registers.
            let upper = _mm512_permutex2var_ps(x[2].0, column, x[3].0);
            Self(_mm512_mask_mov_ps(picked, 0xff00, upper))
        }
    }
}

// SAFETY of every block here: as above.
impl Expand for F32x16 {
    #[inline(always)]
    unsafe fn expand_mul_add(self, bits: u32, x: Self, sum: Self) -> Self {
        let bits = bits as __mmask16;
        // SAFETY: see the impl.
        Self(unsafe { _mm512_mask3_fmadd_ps(expand(bits, self.0), x.0, sum.0, bits) })
    }
}

/// # Safety
/// The CPU has AVX-512.
#[inline(always)]
unsafe fn from_bf16(weights: __m256i) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(weights))) }
}
