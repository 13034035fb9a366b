//! Where a convolution's numbers lie once its input is packed for direct sparse
//! convolution (no im2col).
//!
//! The padded input is split into stride × stride phase planes. Then every
//! weight (co, ky, kx, ci) multiplies one contiguous run of the packed input,
//! and output pixel (y, x) sits at run position `y · row + x` for all weights.
//! `row` is wider than the output, so a run computes a few pixels too many per
//! row; they are dropped when the row is stored.

use crate::op::Conv2d;
use crate::{Shape, ShapeError};

/// Packed geometry of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Input `(C, H, W)`.
    pub input: (u32, u32, u32),
    /// Output `(C, H, W)`.
    pub output: (u32, u32, u32),
    /// Input channels per group.
    pub group_channels: u32,
    /// Phase planes per channel, vertical and horizontal.
    pub phases: [u32; 2],
    /// Rows of a phase plane.
    pub plane_rows: u32,
    /// Columns of a phase plane: the distance of two rows of a run.
    pub row: u32,
    /// Whether the input must be copied; otherwise it already is one phase plane per channel.
    pub packs: bool,
}

impl ConvGeometry {
    /// The geometry of `conv` on `input`.
    ///
    /// # Errors
    /// A [`ShapeError`] when the convolution does not fit the input, or the
    /// packed input would have 2³⁰ elements or more.
    pub fn new(conv: &Conv2d, input: Shape) -> Result<Self, ShapeError> {
        let output = crate::Op::Conv2d(*conv).infer(&[input])?;
        let (Some(input), Some(output)) = (input.chw(), output.chw()) else {
            return Err(ShapeError::Rank { found: 0 });
        };
        let group_channels = input.0.checked_div(conv.groups).ok_or(ShapeError::Groups)?;
        let reach = |axis: usize| {
            let (kernel, stride, dilation) = match axis {
                0 => (conv.kernel[0], conv.stride[0], conv.dilation[0]),
                _ => (conv.kernel[1], conv.stride[1], conv.dilation[1]),
            };
            let last = u32::from(kernel).saturating_sub(1) * u32::from(dilation);
            let stride = u32::from(stride).max(1);
            (last / stride, if kernel == 1 { 1 } else { stride })
        };
        let ((reach_y, phases_y), (reach_x, phases_x)) = (reach(0), reach(1));
        let geometry = Self {
            input,
            output,
            group_channels,
            phases: [phases_y, phases_x],
            plane_rows: output.1.checked_add(reach_y).ok_or(ShapeError::TooLarge)?,
            row: output.2.checked_add(reach_x).ok_or(ShapeError::TooLarge)?,
            packs: conv.pads != [0; 4] || conv.stride != [1, 1],
        };
        let elems = u64::from(input.0)
            .saturating_mul(u64::from(phases_y) * u64::from(phases_x))
            .saturating_mul(u64::from(geometry.plane_rows) * u64::from(geometry.row));
        if elems >= 1 << 30 {
            return Err(ShapeError::TooLarge);
        }
        Ok(geometry)
    }

    /// Elements between two channels of the packed input.
    pub fn channel_stride(&self) -> usize {
        self.phases[0] as usize * self.phases[1] as usize * self.plane_rows as usize * self.row as usize
    }

    /// Length of a run: all output rows at distance `row`, the last one cut at
    /// the output width.
    pub fn run(&self) -> usize {
        (self.output.1 as usize).saturating_sub(1) * self.row as usize + self.output.2 as usize
    }

    /// Elements of the packed input, 0 where the input is used as it is.
    pub fn packed_elems(&self) -> usize {
        if self.packs {
            self.input.0 as usize * self.channel_stride()
        } else {
            0
        }
    }

    /// Offset in the packed input of kernel position `(ky, kx)` in a group's first channel.
    pub fn position_offset(&self, conv: &Conv2d, ky: u32, kx: u32) -> usize {
        let split = |k: u32, stride: u16, dilation: u16| {
            let at = k * u32::from(dilation);
            let stride = u32::from(stride).max(1);
            ((at % stride) as usize, (at / stride) as usize)
        };
        let (phase_y, y) = split(ky, conv.stride[0], conv.dilation[0]);
        let (phase_x, x) = split(kx, conv.stride[1], conv.dilation[1]);
        let plane = phase_y * self.phases[1] as usize + phase_x;
        (plane * self.plane_rows as usize + y) * self.row as usize + x
    }

    /// Entries of the table that gives the offset of each weight column in a
    /// group; none for 1×1 kernels, whose columns are `channel_stride` apart.
    pub fn table_len(&self, conv: &Conv2d) -> usize {
        if conv.kernel == [1, 1] {
            0
        } else {
            conv.cols(self.input.0).unwrap_or(0) as usize
        }
    }

    /// Scratch bytes for running on a packed input: the packed input and the
    /// table of 32-bit column offsets.
    pub fn scratch_bytes(&self, conv: &Conv2d) -> u32 {
        (self.packed_elems() as u32)
            .saturating_add(self.table_len(conv) as u32)
            .saturating_mul(4)
    }
}
