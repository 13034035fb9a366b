//! Packing the planes of a direct convolution: line after line, with the padding around.
//!
//! Stores are aligned, and loads are not: of the two, that is what costs less.

use core::ops::Range;

use super::panel::by_vectors;
use crate::kernel::panel::{Pack, Segment};
use crate::kernel::vector::Vector;

/// Writes all segments, which are lines of planes, of each channel of the window.
///
/// # Safety
/// As [`super::pack::pack`].
#[inline(always)]
pub(super) unsafe fn planes<V: Vector, const STEP: usize>(pack: &Pack<'_>, line: usize, panel: &mut [f32]) {
    let vectors = line.div_ceil(V::LANES);
    for segment in pack.segments {
        // SAFETY: the caller's.
        unsafe {
            match vectors {
                0..=8 => by_vectors!(vectors, N if N <= 8 => plane_line::<V, STEP, N>(pack, segment, line, 0, panel)),
                _ => (0..vectors).for_each(|v| plane_line::<V, STEP, 1>(pack, segment, line, v * V::LANES, panel)),
            }
        }
    }
}

/// Writes `N` vectors of a line, from column `at` on, of all channels. Those that are not in the source are zeros.
#[inline(always)]
unsafe fn plane_line<V: Vector, const STEP: usize, const N: usize>(
    pack: &Pack<'_>,
    segment: &Segment,
    line: usize,
    at: usize,
    panel: &mut [f32],
) {
    let readable = pack.x.as_ptr_range();
    let [zeros, len] = [segment.zeros, segment.len].map(|n| n as usize);
    let lanes: [[usize; 2]; N] = core::array::from_fn(|v| {
        [zeros, zeros + len].map(|column| column.saturating_sub(at + v * V::LANES).min(V::LANES))
    });
    for i in 0..pack.cols {
        let start = pack
            .base
            .saturating_add(pack.offsets.of(pack.first + i))
            .saturating_add(segment.from as usize);
        let is_there = start.saturating_add(len.saturating_sub(1) * STEP) < pack.x.len();
        let from = readable
            .start
            .wrapping_add(start)
            .wrapping_sub(zeros * STEP)
            .wrapping_add(at * STEP);
        let to = i * pack.stride + segment.at as usize + at;
        if !is_there {
            let to = panel.get_mut(to..to + (line - at).min(N * V::LANES));
            to.unwrap_or(&mut []).fill(0.0);
            continue;
        }
        // SAFETY: the line is in the panel, and the lanes that are loaded in the source.
        unsafe {
            let to = panel.as_mut_ptr().add(to);
            macro_rules! vectors {
                ($($v:literal)*) => {
                    $(if let Some(&lanes) = lanes.get($v) {
                        let x = load_within::<V, STEP>(from.wrapping_add(STEP * $v * V::LANES), lanes, &readable);
                        let to = to.add($v * V::LANES);
                        match line - at >= ($v + 1) * V::LANES {
                            true => x.store(to),
                            false => x.store_first(to, line - at - $v * V::LANES),
                        }
                    })*
                };
            }
            vectors!(0 1 2 3 4 5 6 7);
        }
    }
}

/// The numbers `STEP` apart from `p` on, in the lanes `first..end`; 0 in the others. No others are read, but between
/// them, unless they are `readable`.
#[inline(always)]
unsafe fn load_within<V: Vector, const STEP: usize>(
    p: *const f32,
    [first, end]: [usize; 2],
    readable: &Range<*const f32>,
) -> V {
    let is_readable = |p: *const f32| readable.start <= p && p.wrapping_add(V::LANES) <= readable.end;
    // SAFETY: the caller's.
    unsafe {
        let zero = V::splat(0.0);
        if STEP == 1 {
            return V::load_within(p, first, end, zero, is_readable(p));
        }
        let half = |p: *const f32, before: usize| {
            let lane = |column: usize| column.saturating_sub(before).min(V::LANES);
            V::load_within(
                p,
                lane(first * STEP),
                lane((end * STEP).saturating_sub(1)),
                zero,
                is_readable(p),
            )
        };
        half(p, 0).even_odd(half(p.wrapping_add(V::LANES), V::LANES)).0
    }
}
