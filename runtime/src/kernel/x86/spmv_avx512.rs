//! Encoded weights in AVX-512 registers.

use core::arch::asm;
use core::arch::x86_64::*;

use secateur_format::encoding::{Bitmask, Value, ValueType};

use super::avx512::{F32x16, first};
use super::steps;
use crate::kernel::Spmv;
#[cfg(feature = "alloc")]
use crate::kernel::generic::Near;
use crate::kernel::generic::{Decode, Expand, MOST_SOURCES, position_bits, spmv_expanded};
#[cfg(feature = "alloc")]
use crate::kernel::slices::Packed;
use crate::kernel::vector::Vector;

/// 0, 1, 2 and so on, with a bit that no column needs, so that none is 0.
static COLUMNS_SET: [u8; 64] = {
    let mut columns = [0; 64];
    let mut i = 0;
    while i < 64 {
        columns[i] = 64 | i as u8;
        i += 1;
    }
    columns
};

/// For each lane the four bytes that a packed column starts in, and by how many bits it is moved down.
#[cfg(feature = "alloc")]
static PLACES: ([[u8; 4]; 16], [u32; 16]) = {
    let mut places = ([[0; 4]; 16], [0; 16]);
    let mut lane = 0;
    while lane < 16 {
        let (byte, shift) = Packed::place(lane);
        let byte = byte as u8;
        places.0[lane] = [byte, byte + 1, byte + 2, byte + 3];
        places.1[lane] = shift as u32;
        lane += 1;
    }
    places
};

/// `vexpandps` between registers. The intrinsic does not do: the compiler joins
/// it with the load of the weights, and from memory the instruction is
/// microcode on AMD's cores, which takes two and a half times as long. It also waits for the register that
/// it overwrites, unless that was cleared: several would go one after the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn expand(bits: __mmask16, packed: __m512) -> __m512 {
    let mut expanded = _mm512_setzero_ps();
    // SAFETY: registers only.
    unsafe {
        asm!(
            "vexpandps {expanded} {{{bits}}} {{z}}, {packed}",
            expanded = inout(zmm_reg) expanded,
            bits = in(kreg) bits,
            packed = in(zmm_reg) packed,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    expanded
}

/// The numbers of eight columns.
///
/// # Safety
/// Eight columns are readable, and inside `x`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn eight(x: *const f32, columns: *const u16) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(four(x, columns)), four(x, columns.add(4))) }
}

/// The numbers of four columns.
///
/// # Safety
/// As [`eight`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn four(x: *const f32, columns: *const u16) -> __m128 {
    // SAFETY: the caller's promise. The columns are read at once, because loads are what there are too few of.
    unsafe {
        let columns = columns.cast::<u64>().read_unaligned();
        let number = |i: u64| _mm_load_ss(x.add(usize::from((columns >> (16 * i)) as u16)));
        let one = number(0);
        let two = _mm_insert_ps::<0x10>(one, number(1));
        let three = _mm_insert_ps::<0x20>(two, number(2));
        _mm_insert_ps::<0x30>(three, number(3))
    }
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
        unsafe { Self::widen_masked(p, first(count)) }
    }

    /// Broadcasts, each into the lanes of a block: a load per block, and no shuffle. Small blocks
    /// have more masks than there are registers for, and are put together from single numbers.
    #[inline(always)]
    unsafe fn inputs<const R: usize, const C: usize>(x: *const f32, columns: *const u16) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let start = |block: usize| x.add(usize::from(*columns.add(block)) * C);
            if R * C == 1 {
                let high = eight(x, columns.add(8));
                return Self(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(eight(x, columns)), high));
            }
            if (R, C) == (2, 1) {
                let twice = const { steps::<16>(2, 8, 1) };
                let lanes = _mm512_loadu_si512(twice.as_ptr().cast());
                return Self(_mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(eight(x, columns))));
            }
            let mut inputs = match C {
                4 => _mm512_broadcast_f32x4(_mm_loadu_ps(start(0))),
                _ => _mm512_set1_ps(*start(0)),
            };
            for block in 1..16 / (R * C) {
                let lanes = first(R * C) << (block * R * C);
                inputs = match C {
                    4 => _mm512_mask_broadcast_f32x4(inputs, lanes, _mm_loadu_ps(start(block))),
                    _ => _mm512_mask_broadcastss_ps(inputs, lanes, _mm_load_ss(start(block))),
                };
            }
            Self(inputs)
        }
    }

    #[inline(always)]
    unsafe fn columns(columns: *const u8, base: u16, last: u16, sums: *mut u16) {
        // SAFETY: see the impl.
        unsafe { super::spmv_avx2::columns(columns, base, last, sums) }
    }

    #[inline(always)]
    unsafe fn keep_first(self, count: usize) -> Self {
        // SAFETY: see the impl.
        Self(unsafe { _mm512_maskz_mov_ps(first(count), self.0) })
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

impl F32x16 {
    /// The weights of the lanes at `p`, 0 in the others.
    ///
    /// # Safety
    /// As [`Decode`].
    #[inline(always)]
    unsafe fn widen_masked<T: Value>(p: *const T, lanes: __mmask16) -> Self {
        // SAFETY: the caller's promise; masked lanes are not touched.
        unsafe {
            match T::TYPE {
                ValueType::F32 => Self(_mm512_maskz_loadu_ps(lanes, p.cast())),
                ValueType::F16 => Self(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, p.cast()))),
                ValueType::Bf16 => Self(from_bf16(_mm256_maskz_loadu_epi16(lanes, p.cast()))),
                _ => {
                    let bytes = _mm_maskz_loadu_epi8(lanes, p.cast());
                    Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
                }
            }
        }
    }
}

// SAFETY of every block here: as of `Decode`.
#[cfg(feature = "alloc")]
impl Near for F32x16 {
    /// Indices, of which an instruction sees the lower five bits, and the sixth: of which half of the inputs they are.
    type Columns = (__m512i, __mmask16);

    #[inline(always)]
    unsafe fn bytes(columns: *const u8) -> Self::Columns {
        // SAFETY: see the impl.
        unsafe {
            let columns = _mm512_cvtepu8_epi32(_mm_loadu_si128(columns.cast()));
            (columns, _mm512_test_epi32_mask(columns, _mm512_set1_epi32(32)))
        }
    }

    #[inline(always)]
    unsafe fn packed(columns: *const Packed) -> Self::Columns {
        // SAFETY: see the impl.
        unsafe {
            let bytes: *const u8 = (&raw const (*columns).0).cast();
            let packed = _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.cast()));
            let places = _mm512_loadu_si512(PLACES.0.as_ptr().cast());
            let shifts = _mm512_loadu_si512(PLACES.1.as_ptr().cast());
            let upper = bytes.add(Packed::UPPER).cast::<__mmask16>();
            (
                _mm512_srlv_epi32(_mm512_shuffle_epi8(packed, places), shifts),
                upper.read_unaligned(),
            )
        }
    }

    #[inline(always)]
    unsafe fn near(x: *const f32, (columns, upper): Self::Columns) -> Self {
        // SAFETY: see the impl.
        unsafe {
            let x = |i: usize| _mm512_loadu_ps(x.add(16 * i));
            let low = _mm512_permutex2var_ps(x(0), columns, x(1));
            let high = _mm512_permutex2var_ps(x(2), columns, x(3));
            Self(_mm512_mask_blend_ps(upper, low, high))
        }
    }
}

// SAFETY of every block here: as above.
impl Expand for F32x16 {
    #[inline(always)]
    unsafe fn expand_mul_add(self, mask: *const u8, x: Self, sum: Self) -> Self {
        // SAFETY: see the impl; from memory, because moves between registers keep a shuffle unit busy.
        unsafe {
            let bits = mask.cast::<__mmask16>().read_unaligned();
            Self(_mm512_mask3_fmadd_ps(expand(bits, self.0), x.0, sum.0, bits))
        }
    }

    const COLLECTS: bool = true;

    #[inline(always)]
    unsafe fn collect_mul_add<T: Value>(
        mask: *const u8,
        count: usize,
        x: *const f32,
        weights: *const T,
        sum: Self,
    ) -> Self {
        let mut sum = sum.0;
        // SAFETY: see the impl; as many weights are read as bits are set.
        unsafe {
            let bits = mask.cast::<__mmask64>().read_unaligned();
            let (low, high) = (
                (_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))),
                (_mm512_loadu_ps(x.add(32)), _mm512_loadu_ps(x.add(48))),
            );
            let mut columns = _mm512_maskz_compress_epi8(bits, _mm512_loadu_si512(COLUMNS_SET.as_ptr().cast()));
            let mut done = 0;
            loop {
                let column = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(columns));
                let low = _mm512_permutex2var_ps(low.0, column, low.1);
                let high = _mm512_permutex2var_ps(high.0, column, high.1);
                // Of bytes, which are a quarter of the work.
                let first = _mm512_castsi512_si128(columns);
                let upper = _mm_test_epi8_mask(first, _mm_set1_epi8(32));
                let inputs = _mm512_mask_mov_ps(low, upper, high);
                let lanes = _mm_test_epi8_mask(first, first);
                let weights = Self::widen_masked(weights.add(done), lanes);
                sum = _mm512_mask3_fmadd_ps(weights.0, inputs, sum, lanes);
                done += 16;
                if done >= count {
                    return Self(sum);
                }
                columns = _mm512_alignr_epi64::<2>(columns, columns);
            }
        }
    }
}

/// # Safety
/// The CPU has AVX-512.
#[inline(always)]
unsafe fn from_bf16(weights: __m256i) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(weights))) }
}
