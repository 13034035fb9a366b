//! Plain Rust kernels: what every problem means. One generic function per
//! problem serves all encodings, through their row iterators.

use core::marker::PhantomData;

use secateur_format::chunks::chunks_mut;
use secateur_format::encoding::{RowSink, Value, View};
use secateur_format::op::Conv2d;

use super::{DirectConv, Spmm, Spmv, apply};

/// `y[r] = act(b[r] + Σ w · x[c])`, in the order of the row's entries.
pub(super) fn spmv<'a, E: View<'a>, V: Value>(view: &E, task: &mut Spmv<'_>, _: PhantomData<V>) {
    view.visit::<V>(task);
}

impl RowSink for Spmv<'_> {
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let bias = self.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0);
        let sum = entries.fold(bias, |sum, (col, w)| sum + w * self.x.get(col).copied().unwrap_or(0.0));
        if let Some(slot) = self.y.get_mut(row) {
            *slot = apply(self.activation, sum);
        }
    }
}

/// Each weight times its run of the packed input, summed in the output row.
pub(super) fn spmm<'a, E: View<'a>, V: Value>(view: &E, task: &mut Spmm<'_>, _: PhantomData<V>) {
    view.visit::<V>(task);
}

impl RowSink for Spmm<'_> {
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let (lines, base, bias) = (self.lines(), self.base(row), self.bias(row));
        let row_len = lines * self.keep;
        let Some(y) = self.y.get_mut(row * row_len..(row + 1) * row_len) else {
            return;
        };
        y.fill(bias);
        for (col, w) in entries {
            let start = base.saturating_add(self.offsets.of(col));
            let Some(x) = self.x.get(start..start.saturating_add(self.span)) else {
                return;
            };
            for (i, y_line) in chunks_mut(y, self.keep).enumerate() {
                let x_line = x.get(i * self.line..).unwrap_or(&[]);
                y_line.iter_mut().zip(x_line).for_each(|(y, x)| *y += w * x);
            }
        }
        y.iter_mut().for_each(|y| *y = apply(self.activation, *y));
    }
}

/// Convolution on the unpacked input: padding is skipped, not stored.
pub(super) fn direct_conv<'a, E: View<'a>, V: Value>(view: &E, task: &mut DirectConv<'_>, _: PhantomData<V>) {
    view.visit::<V>(task);
}

/// The outputs that kernel position `k` reaches along one axis, and the input
/// index of the first: `out` in `first..end` reads input `from + (out - first) · stride`.
struct Reach {
    first: usize,
    end: usize,
    from: usize,
}

impl Reach {
    fn new(k: usize, stride: u16, dilation: u16, pad: u16, extent: u32, out_extent: u32) -> Self {
        let stride = usize::from(stride).max(1);
        // In padded coordinates, output `o` reads `o · stride + shift`, and the input is `pad..pad + extent`.
        let (shift, pad) = (k * usize::from(dilation), usize::from(pad));
        let first = pad.saturating_sub(shift).div_ceil(stride);
        let end = (pad + extent as usize)
            .saturating_sub(shift)
            .div_ceil(stride)
            .min(out_extent as usize);
        let from = (first * stride + shift).saturating_sub(pad);
        Self {
            first,
            end: end.max(first),
            from,
        }
    }
}

impl DirectConv<'_> {
    /// Adds `w` times the input plane, shifted to kernel position `(ky, kx)`, to an output plane.
    fn add_plane(&self, y: &mut [f32], plane: &[f32], w: f32, ky: usize, kx: usize) {
        let Conv2d {
            stride, dilation, pads, ..
        } = *self.conv;
        let ((_, h, width), (_, out_h, out_w)) = (self.geometry.input, self.geometry.output);
        let rows = Reach::new(ky, stride[0], dilation[0], pads[0], h, out_h);
        let cols = Reach::new(kx, stride[1], dilation[1], pads[1], width, out_w);
        let (vertical, horizontal) = (usize::from(stride[0]), usize::from(stride[1]).max(1));
        let y_lines = chunks_mut(y, out_w as usize).take(rows.end).skip(rows.first);
        for (i, y_line) in y_lines.enumerate() {
            let slots = y_line.get_mut(cols.first..cols.end).unwrap_or(&mut []);
            let start = (rows.from + i * vertical) * width as usize + cols.from;
            let x_line = plane.get(start..).unwrap_or(&[]);
            if horizontal == 1 {
                slots.iter_mut().zip(x_line).for_each(|(y, x)| *y += w * x);
            } else {
                let x = x_line.iter().step_by(horizontal);
                slots.iter_mut().zip(x).for_each(|(y, x)| *y += w * x);
            }
        }
    }
}

impl RowSink for DirectConv<'_> {
    fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
        let ((_, h, w), (channels, out_h, out_w)) = (self.geometry.input, self.geometry.output);
        let (plane, out_plane) = (h as usize * w as usize, out_h as usize * out_w as usize);
        let per_group = self.geometry.group_channels as usize;
        let group_rows = (channels as usize).checked_div(self.conv.groups as usize).unwrap_or(1);
        let first_channel = row.checked_div(group_rows).unwrap_or(0) * per_group;
        let kernel_width = usize::from(self.conv.kernel[1]);

        // The output row is taken out of `self` while `self` is read.
        let y_all = core::mem::take(&mut self.y);
        if let Some(y) = y_all.get_mut(row * out_plane..(row + 1) * out_plane) {
            y.fill(self.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0));
            for (col, weight) in entries {
                let (Some(position), Some(ci)) = (col.checked_div(per_group), col.checked_rem(per_group)) else {
                    continue;
                };
                let (Some(ky), Some(kx)) = (position.checked_div(kernel_width), position.checked_rem(kernel_width))
                else {
                    continue;
                };
                let start = (first_channel + ci) * plane;
                let Some(x) = self.x.get(start..start + plane) else {
                    continue;
                };
                self.add_plane(y, x, weight, ky, kx);
            }
            y.iter_mut().for_each(|y| *y = apply(self.conv.activation, *y));
        }
        self.y = y_all;
    }
}
