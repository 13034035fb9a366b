//! Padding: channels of the input into phase planes (see
//! [`secateur_format::geometry::ConvGeometry`]).

use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

use crate::kernel::vector::Vector;

/// Copies as many channels as `packed` has room for; strides of 1 and 2.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn pad<V: Vector>(conv: &Conv2d, geometry: &ConvGeometry, x: &[f32], packed: &mut [f32]) {
    let (height, width) = (geometry.input.1 as usize, geometry.input.2 as usize);
    let row = geometry.row as usize;
    let [top, left, ..] = conv.pads.map(usize::from);
    let stride = conv.stride.map(usize::from);
    let phase_len = geometry.plane_rows as usize * row;
    let phases = geometry.channel_stride().checked_div(phase_len).unwrap_or(1);
    packed.fill(0.0);
    for (plane, target) in x
        .chunks_exact((height * width).max(1))
        .zip(packed.chunks_exact_mut(phase_len * phases))
    {
        for (phase, target) in target.chunks_exact_mut(phase_len).enumerate() {
            let (phase_y, phase_x) = geometry.phase_origin(conv, phase);
            // Element `i` of a line holds padded column `i · stride + phase_x`.
            let skipped = left.saturating_sub(phase_x).div_ceil(stride[1]).min(row);
            let first = (skipped * stride[1] + phase_x).saturating_sub(left);
            let count = width.saturating_sub(first).div_ceil(stride[1]).min(row - skipped);
            for (i, line) in target.chunks_exact_mut(row).enumerate() {
                let y = (i * stride[0] + phase_y).checked_sub(top).filter(|&y| y < height);
                if let Some(y) = y {
                    let source = &plane[y * width + first.min(width)..(y + 1) * width];
                    // SAFETY: `count` elements of the line, and as many of the source at that stride.
                    unsafe { copy_line::<V>(source, line[skipped..].as_mut_ptr(), count, stride[1]) }
                }
            }
        }
    }
}

/// Every `stride`-th number of `source`, `count` of them.
#[inline(always)]
unsafe fn copy_line<V: Vector>(source: &[f32], to: *mut f32, count: usize, stride: usize) {
    let from = source.as_ptr();
    let mut i = 0;
    // SAFETY: the caller's: element `(count - 1) · stride` is the last one read.
    unsafe {
        while i + V::LANES <= count && (i + V::LANES) * stride <= source.len() {
            let vector = match stride {
                1 => V::load(from.add(i)),
                _ => V::load(from.add(2 * i)).even_odd(V::load(from.add(2 * i + V::LANES))).0,
            };
            vector.store(to.add(i));
            i += V::LANES;
        }
        while i < count {
            let n = (count - i).min(V::LANES);
            let vector = if stride == 1 {
                V::load_first(from.add(i), n)
            } else {
                let left = source.len() - 2 * i;
                let low = V::load_first(from.add(2 * i), left.min(V::LANES));
                let high = V::load_first(
                    from.wrapping_add(2 * i + V::LANES),
                    left.saturating_sub(V::LANES).min(V::LANES),
                );
                low.even_odd(high).0
            };
            vector.store_first(to.add(i), n);
            i += V::LANES;
        }
    }
}
