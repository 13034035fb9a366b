//! Packing (see [`crate::kernel::panel::Pack`]).

use super::panel::by_vectors;
use super::planes::planes;
use crate::kernel::panel::{Pack, Segment};
use crate::kernel::vector::Vector;

/// Copies the segments of each weight column of the window, then a line of zeros.
///
/// Where segments follow each other, whole vectors are copied, segment after segment: what a segment writes too
/// much is overwritten by the next one.
///
/// # Safety
/// The CPU has the instruction set of `V`; `panel` has
/// [`crate::kernel::panel::PanelKernel::panel_len`] numbers; each segment
/// lies in a line, with all its vectors unless it is one of planes. Runs that are not in the source are left out, or
/// zeros in planes.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack<V: Vector>(pack: &Pack<'_>, panel: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match (pack.line, pack.step) {
            (None, 1) => lines::<V, 1>(pack, panel),
            (None, _) => lines::<V, 2>(pack, panel),
            (Some(line), 1) => planes::<V, 1>(pack, line, panel),
            (Some(line), _) => planes::<V, 2>(pack, line, panel),
        }
    }
    let zeros = panel.get_mut(pack.cols * pack.stride..(pack.cols + 1) * pack.stride);
    zeros.unwrap_or(&mut []).fill(0.0);
}

#[inline(always)]
unsafe fn lines<V: Vector, const STEP: usize>(pack: &Pack<'_>, panel: &mut [f32]) {
    // What a run, and what its vectors may read, counted from its start.
    let exact = |s: &Segment| (s.from as usize) + (s.len as usize).saturating_sub(1) * STEP + 1;
    let exact = pack.segments.iter().map(exact).max().unwrap_or(0);
    let starts = || (pack.first..pack.first + pack.cols).map(|col| pack.base.saturating_add(pack.offsets.of(col)));
    let farthest = starts().max().unwrap_or(0);
    if farthest.saturating_add(exact + V::LANES * STEP) <= pack.x.len() {
        for segment in pack.segments {
            let vectors = (segment.len as usize).div_ceil(V::LANES);
            // SAFETY: the caller's; all that whole vectors read is there.
            unsafe {
                match vectors {
                    0..=8 => by_vectors!(vectors, N if N <= 8 => run::<V, STEP, N>(pack, segment, panel.as_mut_ptr())),
                    _ => run::<V, STEP, 0>(pack, segment, panel.as_mut_ptr()),
                }
            }
        }
        return;
    }
    for (start, line) in starts().zip(panel.chunks_mut(pack.stride.max(1))) {
        // Near the end of the source only what is there is read.
        if start.saturating_add(exact) <= pack.x.len() {
            for segment in pack.segments {
                let from = pack.x.as_ptr().wrapping_add(start + segment.from as usize);
                // SAFETY: the segment lies in the line, and what is read in the source.
                unsafe {
                    let to = line.as_mut_ptr().add(segment.at as usize);
                    move_exactly::<V, STEP>(from, to, segment.len as usize);
                }
            }
        }
    }
}

/// Copies one segment, `N` vectors of it or, if that is 0, as many as it has, of all weight columns.
#[inline(always)]
unsafe fn run<V: Vector, const STEP: usize, const N: usize>(pack: &Pack<'_>, segment: &Segment, panel: *mut f32) {
    let (at, len) = (segment.at as usize, segment.len as usize);
    let whole = (len - 1) / V::LANES;
    let rest = len - whole * V::LANES;
    let cut = at + (whole + 1) * V::LANES > pack.stride;
    let x = pack.x.as_ptr();
    for (i, col) in (pack.first..pack.first + pack.cols).enumerate() {
        // SAFETY: the caller's.
        unsafe {
            let from = x.add(pack.base + pack.offsets.of(col) + segment.from as usize);
            let to = panel.add(i * pack.stride + at);
            // Straight code: the compiler would make a call of `memcpy` from a loop, which costs more
            // than a few vectors.
            macro_rules! vectors {
                ($($v:literal)*) => {
                    $(if $v + 1 < N {
                        load::<V, STEP>(from.add(STEP * $v * V::LANES)).store(to.add($v * V::LANES));
                    })*
                };
            }
            vectors!(0 1 2 3 4 5 6);
            if N == 0 {
                for v in 0..whole {
                    load::<V, STEP>(from.add(STEP * v * V::LANES)).store(to.add(v * V::LANES));
                }
            }
            let last = load::<V, STEP>(from.add(STEP * whole * V::LANES));
            let to = to.add(whole * V::LANES);
            match cut {
                true => last.store_first(to, rest),
                false => last.store(to),
            }
        }
    }
}

/// The numbers at `p`, `STEP` apart. All vectors that they lie in are read.
#[inline(always)]
unsafe fn load<V: Vector, const STEP: usize>(p: *const f32) -> V {
    // SAFETY: the caller's.
    unsafe {
        match STEP {
            1 => V::load(p),
            _ => V::load(p).even_odd(V::load(p.add(V::LANES))).0,
        }
    }
}

/// The first `count` numbers at `p`, `STEP` apart. No others are read, but between them.
#[inline(always)]
unsafe fn load_first<V: Vector, const STEP: usize>(p: *const f32, count: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        if STEP == 1 {
            return V::load_first(p, count);
        }
        let left = (count * STEP).saturating_sub(1);
        let low = V::load_first(p, left.min(V::LANES));
        let high = V::load_first(p.wrapping_add(V::LANES), left.saturating_sub(V::LANES).min(V::LANES));
        low.even_odd(high).0
    }
}

/// Reads and writes no more than `len` numbers.
#[inline(always)]
unsafe fn move_exactly<V: Vector, const STEP: usize>(from: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    // The vectors of all but the last number end before it.
    while i + V::LANES < len + usize::from(STEP == 1) {
        // SAFETY: the caller's.
        unsafe { load::<V, STEP>(from.add(STEP * i)).store(to.add(i)) };
        i += V::LANES;
    }
    if i < len {
        // SAFETY: the caller's.
        unsafe { load_first::<V, STEP>(from.add(STEP * i), len - i).store_first(to.add(i), len - i) };
    }
}
