//! Packing (see [`crate::kernel::panel::Pack`]).

use crate::kernel::panel::{Pack, Segment};
use crate::kernel::vector::Vector;

/// Copies the segments of each weight column of the window, then a line of zeros.
///
/// Whole vectors are copied: what a segment writes too much is overwritten by
/// the next one, and in the end by the zeros.
///
/// # Safety
/// The CPU has the instruction set of `V`; `panel` has
/// [`crate::kernel::panel::PanelKernel::panel_len`] numbers; each segment
/// lies in a line with all its vectors. Runs that are not in the source are left out.
#[inline(always)]
pub(in crate::kernel) unsafe fn pack<V: Vector>(pack: &Pack<'_>, panel: &mut [f32]) {
    // What a run, and what its vectors may read, counted from its start.
    let exact = |s: &Segment| (s.from + s.len) as usize;
    let exact = pack.segments.iter().map(exact).max().unwrap_or(0);
    let reach = exact + V::LANES;
    let mut line = panel.as_mut_ptr();
    for col in pack.first..pack.first + pack.cols {
        let start = pack.base.saturating_add(pack.offsets.of(col));
        let source = pack.x.as_ptr().wrapping_add(start);
        // SAFETY: the caller's; near the end of the source only what is there is read.
        unsafe {
            if pack.exact {
                if start.saturating_add(exact) <= pack.x.len() {
                    for segment in pack.segments {
                        let (from, to) = (source.add(segment.from as usize), line.add(segment.at as usize));
                        move_exactly::<V>(from, to, segment.len as usize);
                    }
                }
            } else if start.saturating_add(reach) <= pack.x.len() {
                for segment in pack.segments {
                    copy::<V>(
                        source.add(segment.from as usize),
                        line.add(segment.at as usize),
                        segment.len as usize,
                    );
                }
            } else if start.saturating_add(exact) <= pack.x.len() {
                for segment in pack.segments {
                    copy_exactly::<V>(
                        source.add(segment.from as usize),
                        line.add(segment.at as usize),
                        segment.len as usize,
                    );
                }
            }
            line = line.add(pack.stride);
        }
    }
    if pack.exact {
        return;
    }
    let zeros = panel.get_mut(pack.cols * pack.stride..(pack.cols + 1) * pack.stride);
    zeros.unwrap_or(&mut []).fill(0.0);
}

/// Copies `len` numbers, and what fills the last vector.
#[inline(always)]
unsafe fn copy<V: Vector>(from: *const f32, to: *mut f32, len: usize) {
    // Straight code for eight vectors: the compiler would make a call of `memcpy` from a
    // loop over each, which costs more than these few vectors. Only wide lines of planes have more.
    macro_rules! vectors {
        ($done:ident: $($i:literal)*) => {
            // SAFETY: the caller's.
            unsafe {
                $(if $done + $i * V::LANES < len {
                    V::load(from.add($done + $i * V::LANES)).store(to.add($done + $i * V::LANES));
                })*
            }
        };
    }
    let mut done = 0;
    while done < len {
        vectors!(done: 0 1 2 3 4 5 6 7);
        done += 8 * V::LANES;
    }
}

/// Reads no more than `len` numbers.
#[inline(always)]
unsafe fn copy_exactly<V: Vector>(from: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    while i < len {
        // SAFETY: the caller's.
        unsafe { V::load_first(from.add(i), (len - i).min(V::LANES)).store(to.add(i)) };
        i += V::LANES;
    }
}

/// Reads and writes no more than `len` numbers.
#[inline(always)]
unsafe fn move_exactly<V: Vector>(from: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    while i + V::LANES <= len {
        // SAFETY: the caller's.
        unsafe { V::load(from.add(i)).store(to.add(i)) };
        i += V::LANES;
    }
    if i < len {
        // SAFETY: the caller's.
        unsafe { V::load_first(from.add(i), len - i).store_first(to.add(i), len - i) };
    }
}
