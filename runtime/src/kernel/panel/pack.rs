//! Packing a window of the input into a panel.

use crate::kernel::Offsets;

/// A run of panel columns that are equally far apart in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First column in the panel.
    pub at: u32,
    /// Zeros before what is copied: only in planes.
    pub zeros: u32,
    /// Distance of its number from the start of a weight column's run.
    pub from: u32,
    /// Columns that are copied.
    pub len: u32,
}

/// What is copied into a panel: for each weight column of a window, the
/// segments of its run.
#[derive(Clone, Copy, Debug)]
pub struct Pack<'t> {
    /// The input, padded where the layer needs it.
    pub x: &'t [f32],
    /// Start of the group's first channel in `x`.
    pub base: usize,
    /// Where each weight column's run starts.
    pub offsets: Offsets<'t>,
    /// First weight column of the window.
    pub first: usize,
    /// Weight columns of the window.
    pub cols: usize,
    /// Ascending, and without gaps unless they are lines of planes.
    pub segments: &'t [Segment],
    /// Distance of two columns of a segment in the source, 1 or 2.
    pub step: usize,
    /// If segments are lines of planes, the numbers of a line; what is not copied of it is filled with zeros.
    pub line: Option<usize>,
    /// Distance of two lines of the panel.
    pub stride: usize,
}
