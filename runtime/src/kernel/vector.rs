//! One register of f32 numbers: all that kernels need of an instruction set.
//!
//! Kernels are written once, generic over [`Vector`], in [`super::generic`]. An
//! instruction set implements the trait and instantiates the kernels inside
//! functions with its `#[target_feature]`. Methods carry `#[inline(always)]`
//! instead: they end up in such a function, where the intrinsics can be inlined.

/// Lanes of the widest vector: room for any.
pub(crate) const MOST_LANES: usize = 16;

/// A register of [`Vector::LANES`] numbers.
///
/// # Safety
/// All methods: the CPU must have the implementor's instruction set. Those that
/// take pointers: `LANES` (or `count`) elements from there must be readable or
/// writable; no alignment is needed.
#[allow(clippy::missing_safety_doc)]
pub(crate) trait Vector: Copy {
    /// Numbers in a register.
    const LANES: usize;
    /// Registers that the sums of a tile may take; the others are for operands.
    const SUMS: usize;
    /// The lower half of a register, or the whole one if [`Vector::HALVES`] does not hold.
    type Half: Vector;
    /// Whether there are cores on which operations of half a register take less time.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    const HALVES: bool;

    /// The lower half.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    unsafe fn low(self) -> Self::Half;

    /// The same number in all lanes.
    unsafe fn splat(x: f32) -> Self;

    /// Each of the four numbers at `p` in all lanes, with as few loads as the instruction set can.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    #[inline(always)]
    unsafe fn splat_four(p: *const f32) -> [Self; 4] {
        // SAFETY: the caller's promise.
        unsafe {
            [
                Self::splat(*p),
                Self::splat(*p.add(1)),
                Self::splat(*p.add(2)),
                Self::splat(*p.add(3)),
            ]
        }
    }

    /// The numbers at `p`.
    unsafe fn load(p: *const f32) -> Self;

    /// The first `count <= LANES` numbers at `p`, the other lanes 0.
    unsafe fn load_first(p: *const f32, count: usize) -> Self;

    /// The numbers of the lanes `first..end` from `p`, `fill` in the others. These
    /// lanes must be readable; `all` says that the others are, too.
    unsafe fn load_within(p: *const f32, first: usize, end: usize, fill: Self, all: bool) -> Self;

    /// Writes all lanes to `p`.
    unsafe fn store(self, p: *mut f32);

    /// Writes the first `count <= LANES` lanes to `p`.
    unsafe fn store_first(self, p: *mut f32, count: usize);

    /// Writes the lanes `first..end`, where `p` is the place of lane 0, which need not be writable.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    #[inline(always)]
    unsafe fn store_within(self, p: *mut f32, first: usize, end: usize) {
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: the caller's promise; the buffer has room for any vector.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for (i, &lane) in lanes.iter().enumerate().take(end).skip(first) {
                p.wrapping_add(i).write(lane);
            }
        }
    }

    /// `self · factor + sum`, with one rounding where the instruction set can.
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// Sum per lane.
    unsafe fn add(self, other: Self) -> Self;

    /// Product per lane.
    unsafe fn mul(self, other: Self) -> Self;

    /// Quotient per lane.
    unsafe fn div(self, other: Self) -> Self;

    /// `self · slope` where a lane is negative, the lane otherwise (also NaN).
    unsafe fn scale_negative(self, slope: Self) -> Self;

    /// The lane of `other` where that is greater or NaN, the lane otherwise.
    unsafe fn or_greater(self, other: Self) -> Self;

    /// The even lanes of `self`, then those of `other`; and the odd ones.
    unsafe fn even_odd(self, other: Self) -> (Self, Self);

    /// The lanes from the second on, then the first lane of `next`: for prepared models.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))]
    unsafe fn move_down(self, next: Self) -> Self;

    /// `low` where a lane is less, the lane otherwise (also NaN).
    unsafe fn at_least(self, low: Self) -> Self;

    /// `high` where a lane is greater, the lane otherwise (also NaN).
    unsafe fn at_most(self, high: Self) -> Self;

    /// Sum of all lanes.
    unsafe fn sum(self) -> f32;

    /// Asks for the cache line at `p`, which need not be readable.
    #[inline(always)]
    unsafe fn prefetch<T>(_p: *const T) {}
}

/// [`Vector::load_first`] for instruction sets without masks.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn load_first<const LANES: usize>(p: *const f32, count: usize) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        if i < count {
            // SAFETY: the caller's promise.
            *lane = unsafe { p.add(i).read() };
        }
    }
    lanes
}

/// The lanes of [`Vector::load_within`] for instruction sets without masks, 0 elsewhere.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn load_within<const LANES: usize>(p: *const f32, first: usize, end: usize) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        if first <= i && i < end {
            // SAFETY: the caller's promise; the lanes before may be out of bounds.
            *lane = unsafe { p.wrapping_add(i).read() };
        }
    }
    lanes
}

/// [`Vector::store_first`] for instruction sets without masks.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn store_first<const LANES: usize>(lanes: [f32; LANES], p: *mut f32, count: usize) {
    for (i, lane) in lanes.into_iter().enumerate() {
        if i < count {
            // SAFETY: the caller's promise.
            unsafe { p.add(i).write(lane) }
        }
    }
}
