//! Where a convolution's numbers lie once its input is packed for direct sparse
//! convolution (no im2col).
//!
//! The padded input is split into phase planes, one for each remainder modulo the
//! stride that a kernel position hits. Then every
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
        let [(phases_y, reach_y), (phases_x, reach_x)] = [0, 1].map(|axis| {
            let axis = Axis::new(conv, axis);
            (axis.phases(), axis.last() / axis.stride)
        });
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
    pub fn span(&self) -> usize {
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
        let [(phase_y, y), (phase_x, x)] = [(0, ky), (1, kx)].map(|(axis, k)| {
            let axis = Axis::new(conv, axis);
            let phase = k.checked_rem(axis.phases()).unwrap_or(0);
            (phase as usize, (k * axis.dilation / axis.stride) as usize)
        });
        let plane = phase_y * self.phases[1] as usize + phase_x;
        (plane * self.plane_rows as usize + y) * self.row as usize + x
    }

    /// The padded row and column of the input that phase plane `phase` starts with.
    pub fn phase_origin(&self, conv: &Conv2d, phase: usize) -> (usize, usize) {
        let [_, across] = self.phases.map(|phases| phases as usize);
        let origin = |axis: usize, phase: Option<usize>| {
            let axis = Axis::new(conv, axis);
            (phase.unwrap_or(0) * axis.dilation as usize)
                .checked_rem(axis.stride as usize)
                .unwrap_or(0)
        };
        (
            origin(0, phase.checked_div(across)),
            origin(1, phase.checked_rem(across)),
        )
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

/// One direction of a convolution, stride and dilation at least 1.
struct Axis {
    kernel: u32,
    stride: u32,
    dilation: u32,
}

impl Axis {
    fn new(conv: &Conv2d, axis: usize) -> Self {
        let at = |pair: [u16; 2]| u32::from(if axis == 0 { pair[0] } else { pair[1] });
        Self {
            kernel: at(conv.kernel),
            stride: at(conv.stride).max(1),
            dilation: at(conv.dilation).max(1),
        }
    }

    /// Padded distance of the last kernel position from the first.
    fn last(&self) -> u32 {
        self.kernel.saturating_sub(1) * self.dilation
    }

    /// Phases that kernel positions hit: position `k` hits `k · dilation mod
    /// stride`, which repeats after `stride / gcd(stride, dilation)` positions.
    fn phases(&self) -> u32 {
        let (mut a, mut b) = (self.stride, self.dilation);
        while let Some(rest) = a.checked_rem(b) {
            (a, b) = (b, rest);
        }
        self.kernel.min(self.stride.checked_div(a).unwrap_or(1)).max(1)
    }
}
