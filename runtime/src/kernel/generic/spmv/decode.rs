//! What SpMV asks of an instruction set beyond [`Vector`], each with a plain
//! form for those that have nothing better.

use secateur_format::encoding::{Bitmask, Value};

use super::entries;
use crate::kernel::Spmv;
#[cfg(all(target_arch = "x86_64", feature = "alloc"))]
use crate::kernel::slices::Packed;
use crate::kernel::vector::{MOST_LANES, Vector};

/// Registers that [`Decode::pick`] selects from, at most.
pub(in crate::kernel) const MOST_SOURCES: usize = 4;

/// Columns that [`Decode::columns`] widens: no vector has more lanes.
pub(in crate::kernel) const COLUMNS: usize = MOST_LANES;

/// Encoded weights, and the inputs they meet, as vectors.
///
/// # Safety
/// All methods: the CPU must have the implementor's instruction set; what is
/// said to be read must be readable.
#[allow(clippy::missing_safety_doc)]
pub(in crate::kernel) trait Decode: Vector {
    /// The `LANES` weights at `p`.
    #[inline(always)]
    unsafe fn widen<T: Value>(p: *const T) -> Self {
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: the caller's promise; the array has room for any vector.
        unsafe {
            for (i, lane) in lanes.iter_mut().enumerate().take(Self::LANES) {
                *lane = p.add(i).read().to_f32();
            }
            Self::load(lanes.as_ptr())
        }
    }

    /// The first `count <= LANES` weights at `p`, the other lanes 0.
    #[inline(always)]
    unsafe fn widen_first<T: Value>(p: *const T, count: usize) -> Self {
        let mut weights = [T::zeroed(); MOST_LANES];
        // SAFETY: the caller's promise; the array has room for any vector.
        unsafe {
            for (i, weight) in weights.iter_mut().enumerate().take(Self::LANES) {
                if i < count {
                    *weight = p.add(i).read();
                }
            }
            Self::widen(weights.as_ptr())
        }
    }

    /// The inputs of as many blocks of `R` rows by `C` columns as a vector
    /// holds, one at least, each where its weight is. `columns` are those of the blocks.
    #[inline(always)]
    unsafe fn inputs<const R: usize, const C: usize>(x: *const f32, columns: *const u16) -> Self {
        let mut lanes = [0.0; MOST_LANES];
        // Scalar loads, which the compiler joins to a vector: faster than the
        // gathers of the CPUs that have them.
        // SAFETY: the caller's promise; the array has room for any vector.
        unsafe {
            for (i, lane) in lanes.iter_mut().enumerate().take(Self::LANES) {
                *lane = *x.add(usize::from(*columns.add(i / (R * C))) * C + i % C);
            }
            Self::load(lanes.as_ptr())
        }
    }

    /// `base` plus each of [`COLUMNS`] columns, but `last` at most. The carry of a sum past 16 bits is lost.
    #[inline(always)]
    unsafe fn columns(columns: *const u8, base: u16, last: u16, sums: *mut u16) {
        // SAFETY: the caller's promise.
        unsafe {
            let columns = columns.cast::<[u8; COLUMNS]>().read();
            let sum = columns.map(|column| base.wrapping_add(column.into()).min(last));
            sums.cast::<[u16; COLUMNS]>().write(sum);
        }
    }

    /// The first `count <= LANES` lanes, 0 in the others.
    #[inline(always)]
    unsafe fn keep_first(self, count: usize) -> Self {
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: the caller's promise; the array has room for any vector.
        unsafe {
            self.store(lanes.as_mut_ptr());
            Self::load_first(lanes.as_ptr(), count)
        }
    }

    /// Whether all columns are less than `bound`.
    #[inline(always)]
    unsafe fn all_below(columns: &[u16], bound: usize) -> bool {
        // All of them, since a loop that may end early is not made one of vectors.
        let most = columns.iter().fold(0, |most, &column| column.max(most));
        columns.is_empty() || usize::from(most) < bound
    }

    /// `bitmask`: with the kernel of [`Expand`], where that is implemented.
    #[inline(always)]
    unsafe fn spmv_bitmask<T: Value>(view: &Bitmask<'_>, task: &mut Spmv<'_>) {
        // SAFETY: the caller's promise.
        unsafe { entries::spmv::<Self, _, T>(view, task) }
    }

    /// The inputs of groups of `M` columns with `N` weights each, one per lane:
    /// `M / N` registers of them in `x`. `positions` has `bits` for each lane.
    #[inline(always)]
    unsafe fn pick<const N: usize, const M: usize>(x: &[Self; MOST_SOURCES], positions: u64) -> Self {
        let (mut inputs, mut lanes) = ([0.0; MOST_SOURCES * MOST_LANES], [0.0; MOST_LANES]);
        // SAFETY: the caller's promise; the arrays have room for any vector.
        unsafe {
            for (i, x) in x.iter().enumerate() {
                x.store(inputs.as_mut_ptr().add(i * Self::LANES));
            }
            for (i, lane) in lanes.iter_mut().enumerate().take(Self::LANES) {
                let position = positions >> (i * position_bits(M)) & (M as u64 - 1);
                *lane = inputs.get(i / N * M + position as usize).copied().unwrap_or(0.0);
            }
            Self::load(lanes.as_ptr())
        }
    }
}

/// Inputs of a few columns, kept in registers.
///
/// # Safety
/// As [`Decode`].
#[cfg(all(target_arch = "x86_64", feature = "alloc"))]
#[allow(clippy::missing_safety_doc)]
pub(in crate::kernel) trait Near: Decode {
    /// Columns below 64, one for each lane.
    type Columns: Copy;

    /// `LANES` of them.
    unsafe fn bytes(columns: *const u8) -> Self::Columns;

    /// Those of a step. Four bytes behind them are readable.
    unsafe fn packed(columns: *const Packed) -> Self::Columns;

    /// Those of the 64 inputs at `x` that the columns are of.
    unsafe fn near(x: *const f32, columns: Self::Columns) -> Self;
}

/// Weights next to the inputs of the bits of a mask.
///
/// # Safety
/// As [`Decode`].
#[cfg(target_arch = "x86_64")]
#[allow(clippy::missing_safety_doc)]
pub(in crate::kernel) trait Expand: Decode {
    /// Adds weight times input to the lanes of `sum` whose bit is set in the mask, which is
    /// a bit per lane. The weights of these lanes are the first ones of `self`, in order.
    unsafe fn expand_mul_add(self, mask: *const u8, x: Self, sum: Self) -> Self;

    /// Whether [`Self::collect_mul_add`] is worth its while.
    const COLLECTS: bool;

    /// Adds, to any lanes of `sum`, the products of the weights at `weights` and
    /// those of the 64 inputs at `x` whose bits are set in the mask: `count` of either, in order.
    unsafe fn collect_mul_add<T: Value>(
        mask: *const u8,
        count: usize,
        x: *const f32,
        weights: *const T,
        sum: Self,
    ) -> Self;
}

/// Bits of a position in a group of `m` columns, a power of two.
pub(in crate::kernel) const fn position_bits(m: usize) -> usize {
    m.trailing_zeros() as usize
}
