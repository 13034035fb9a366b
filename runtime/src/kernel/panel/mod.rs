//! Panel kernels: products with weights that were repacked when the model was
//! prepared, over a panel of the input that was packed just before.
//!
//! A *panel* holds some columns of the (im2col) input: one line per weight
//! column, `stride` numbers apart, 64-byte aligned, and a line of zeros at the
//! end. *Strips* hold the weights of one window of weight columns in the order in
//! which the kernel reads them: a few rows at a time, with byte offsets into the
//! panel. So a step of a kernel is a few broadcasts of weights, each multiplied
//! with aligned vectors of the panel, whatever the layer was: a linear layer of many tokens
//! or a convolution of any size, stride and dilation.

mod direct;
pub(super) mod kernels;
mod output;
mod pack;
mod pairs;
mod rows;
mod stacks;
mod strips;

pub use direct::{Planes, Taps};
pub use output::Output;
pub use pack::{Pack, Segment};
pub use rows::Rows;
pub(in crate::kernel) use strips::{OFFSET_UNIT, QUAD_BYTES};
pub use strips::{Shape, Strips, Window};

use secateur_format::Activation;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

/// A tensor that is added to the result.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'t> {
    /// Nothing is added.
    None,
    /// Output-sized, and elsewhere.
    At(&'t [f32]),
    /// The output holds it.
    InOutput,
}

/// What happens to complete sums: in the last window.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'t> {
    /// Added to the sum, element by element.
    pub residual: Residual<'t>,
    /// Applied to that.
    pub activation: Activation,
}

/// The product of a window of strips and a panel.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'t> {
    /// Weights.
    pub strips: Window<'t>,
    /// The packed panel.
    pub x: &'t [f32],
    /// First column of the panel in the output.
    pub column: usize,
    /// Columns of the panel that are computed and stored.
    pub columns: usize,
    /// One number per row, or none: where sums start.
    pub bias: Option<&'t [f32]>,
    /// Sums between windows: for each row, whole vectors.
    pub partial: Output<'t>,
    /// Whether sums start here, and not from what the window before has left in `partial`.
    pub first: bool,
    /// Given in the last window only, which writes to the output.
    pub finish: Option<Finish<'t>>,
}

/// Whether a dense panel has one column more than whole vectors of `lanes`.
pub(crate) fn has_extra(columns: usize, lanes: usize) -> bool {
    columns > lanes && columns % lanes == 1
}

/// The functions of one instruction set for one shape of strips.
#[derive(Clone, Copy, Debug)]
pub struct PanelKernel {
    /// Shape of the strips it reads.
    pub shape: Shape,
    /// Numbers in a vector.
    pub lanes: usize,
    /// Most vectors of a panel.
    pub vectors: usize,
    /// Whether columns that end within the first half of a vector take only half of one, unless the kernel is dense.
    pub halves: bool,
    pub(super) run: unsafe fn(&Panel<'_>, &Output<'_>),
    pub(super) pack: unsafe fn(&Pack<'_>, &mut [f32]),
    pub(super) pad: unsafe fn(&Conv2d, &ConvGeometry, &[f32], &mut [f32]),
}

impl PanelKernel {
    /// Numbers that a panel buffer of `cols` weight columns must have room for:
    /// with the line of zeros, and what the last copy may write too much.
    pub fn panel_len(&self, cols: usize, stride: usize) -> usize {
        (cols + 1) * stride + self.lanes
    }

    /// Copies channels of the input of a convolution into zero-padded phase planes, as many as
    /// there is room for.
    pub fn pad(&self, conv: &Conv2d, geometry: &ConvGeometry, x: &[f32], packed: &mut [f32]) {
        match conv.stride {
            // SAFETY: kernels are only reached through the registry if this CPU has
            // their instruction set.
            [_, 1 | 2] => unsafe { (self.pad)(conv, geometry, x, packed) },
            _ => crate::op::conv::pack(conv, geometry, x, packed),
        }
    }

    /// Fills a panel. One that is too small, or with segments that do not fit it, is left as it is; also
    /// one with steps that no instruction set takes.
    pub fn pack(&self, pack: &Pack<'_>, panel: &mut [f32]) {
        if !(1..=2).contains(&pack.step) {
            return;
        }
        // Lengths of 32 bits, which fit a number of 64.
        let fits = |s: &Segment| {
            let [at, zeros, len, stride] = [s.at.into(), s.zeros.into(), s.len.into(), pack.stride as u64];
            match pack.line {
                Some(line) => zeros + len <= line as u64 && at <= stride.saturating_sub(line as u64),
                None => u64::next_multiple_of(at + len, self.lanes as u64) <= stride,
            }
        };
        let line_fits = pack.line.is_none_or(|line| line <= pack.stride);
        let needed = pack
            .cols
            .checked_add(1)
            .and_then(|lines| lines.checked_mul(pack.stride));
        let has_room = needed.is_some_and(|needed| needed.saturating_add(self.lanes) <= panel.len());
        if !has_room || !line_fits || !pack.segments.iter().all(fits) {
            return;
        }
        // SAFETY: kernels are only reached through the registry if this CPU has
        // their instruction set; the panel and its lines were just checked, the source is by `pack`.
        unsafe { (self.pack)(pack, panel) }
    }

    /// Most vectors of a panel of such planes: rows of folded lines take two sums each.
    pub(crate) fn vectors_for(&self, planes: &Planes) -> usize {
        match self.shape {
            Shape::Direct { rows: 1, .. } => self.vectors / planes.folded.max(1),
            _ => self.vectors,
        }
    }

    /// Whether a panel has that many columns.
    fn covers(&self, strips: &Window<'_>, columns: usize) -> bool {
        let planes = &strips.planes;
        match strips.shape {
            Shape::Direct { .. } => {
                let lines = columns.checked_div(planes.keep).unwrap_or(0);
                lines * planes.keep == columns
                    && lines <= planes.lines
                    && planes.vectors_of(lines) <= self.vectors_for(planes)
                    && planes.keep <= planes.line
                    && planes.line * planes.folded == planes.vectors * self.lanes
            }
            Shape::Dense { .. } if has_extra(columns, self.lanes) => {
                columns <= strips.stride.min(self.lanes * self.vectors + 1)
            }
            _ => columns <= strips.stride.min(self.lanes * self.vectors),
        }
    }

    /// Sums of a row that the registers hold.
    fn sums(&self, strips: &Window<'_>, columns: usize) -> usize {
        match strips.shape {
            Shape::Direct { .. } => {
                let lines = columns.checked_div(strips.planes.keep).unwrap_or(0);
                strips.planes.vectors_of(lines) * self.lanes
            }
            _ => columns.next_multiple_of(self.lanes),
        }
    }

    /// Multiplies. Outputs whose operands do not fit together are left as they are.
    ///
    /// # Safety
    /// No other thread reads or writes the strips' rows of `partial`, or those rows in the
    /// panel's columns of `y`.
    pub unsafe fn run(&self, panel: &Panel<'_>, y: &Output<'_>) {
        let strips = &panel.strips;
        let (rows, end) = (strips.rows, panel.column + panel.columns);
        let operand_fits = |operand: Option<&[f32]>, len: usize| operand.is_none_or(|o| o.len() >= len);
        let residual = match panel.finish.map(|finish| finish.residual) {
            Some(Residual::At(residual)) => Some(residual),
            _ => None,
        };
        let one_window = panel.first && panel.finish.is_some();
        let fits = strips.shape == self.shape
            && panel.x.len() >= self.panel_len(strips.cols, strips.stride)
            && self.covers(strips, panel.columns)
            && rows <= y.rows()
            && end <= y.row_len()
            && operand_fits(panel.bias, rows)
            && operand_fits(residual, rows * y.row_len())
            && (one_window
                || (rows <= panel.partial.rows() && self.sums(strips, panel.columns) <= panel.partial.row_len()));
        if fits {
            // SAFETY: as for `pack`; the operands fit together, and `Strips` has made
            // offsets for panels of its window and stride, and rows below its own.
            unsafe { (self.run)(panel, y) }
        }
    }
}
