//! What the kernels of each problem are given.

use secateur_format::Activation;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

/// One column: `y = act(W · x + b)`.
#[derive(Debug)]
pub struct Spmv<'t> {
    /// One number per row, or none.
    pub bias: Option<&'t [f32]>,
    /// Applied to the sum and bias.
    pub activation: Activation,
    /// `cols` inputs.
    pub x: &'t [f32],
    /// `rows` outputs.
    pub y: &'t mut [f32],
}

/// Where the run of a weight column starts in the packed input.
#[derive(Clone, Copy, Debug)]
pub enum Offsets<'t> {
    /// Column `c` starts at `c · stride`.
    Stride(usize),
    /// Column `c` starts at `table[c]`.
    Table(&'t [u32]),
}

impl Offsets<'_> {
    /// The start of column `col`. A column outside the table (impossible for a
    /// validated model) gives an offset outside the input.
    #[inline(always)]
    pub(crate) fn of(&self, col: usize) -> usize {
        match self {
            Self::Stride(stride) => col.wrapping_mul(*stride),
            Self::Table(table) => table.get(col).map_or(usize::MAX, |&offset| offset as usize),
        }
    }
}

/// Many columns: every weight multiplies a contiguous run of the packed input
/// (see [`ConvGeometry`]); a linear layer of many tokens is the case of one group.
#[derive(Debug)]
pub struct Spmm<'t> {
    /// One number per row, or none.
    pub bias: Option<&'t [f32]>,
    /// Applied to the sum and bias.
    pub activation: Activation,
    /// The packed input.
    pub x: &'t [f32],
    /// Where each column's run starts.
    pub offsets: Offsets<'t>,
    /// Weight rows of a group, at least 1.
    pub group_rows: usize,
    /// Distance of two groups in the packed input.
    pub group_stride: usize,
    /// Length of a run, at least 1.
    pub span: usize,
    /// Distance of two output lines in a run, at least 1.
    pub line: usize,
    /// Elements kept of each output line; the rest of the run is dropped.
    pub keep: usize,
    /// The output, `keep` elements per line, lines and rows without gaps.
    pub y: &'t mut [f32],
}

impl Spmm<'_> {
    /// Lines of an output row.
    pub(super) fn lines(&self) -> usize {
        self.span.div_ceil(self.line.max(1))
    }

    /// Offset of a row's group in the packed input.
    #[inline(always)]
    pub(super) fn base(&self, row: usize) -> usize {
        // Most matrices have one group: no division.
        match row.checked_div(self.group_rows) {
            Some(group) if row >= self.group_rows => group * self.group_stride,
            _ => 0,
        }
    }

    /// Bias of a row.
    #[inline(always)]
    pub(super) fn bias(&self, row: usize) -> f32 {
        self.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0)
    }
}

/// A convolution on the unpacked input, for arenas without scratch memory.
#[derive(Debug)]
pub struct DirectConv<'t> {
    /// The convolution.
    pub conv: &'t Conv2d,
    /// Its geometry.
    pub geometry: &'t ConvGeometry,
    /// One number per output channel, or none.
    pub bias: Option<&'t [f32]>,
    /// `[Cin, H, W]`.
    pub x: &'t [f32],
    /// `[Cout, Hout, Wout]`.
    pub y: &'t mut [f32],
}
