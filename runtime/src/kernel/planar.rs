//! What the kernels are given that work plane by plane or number by number,
//! without a sparse matrix.
//!
//! Threads share such a problem by its output: each gets a part of `y`. A part
//! of a [`Depthwise`] is whole planes and the number of the first; a part of a
//! [`Pooling`] is whole planes of `x` and `y`; a part of a [`Map`] is any range,
//! the same of all slices.

use secateur_format::Activation;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::{Conv2d, PoolKind};

/// A convolution of which every output channel reads one input channel. Weights
/// are a dense matrix of `kh · kw` columns.
///
/// Sums start from the bias and run through the kernel positions in order; what
/// lies in the padding is multiplied as zero. So they are, bit for bit, those of
/// an [`Spmm`](super::Spmm) kernel of the same instruction set.
#[derive(Debug)]
pub struct Depthwise<'t> {
    /// The convolution, of one input channel per group.
    pub conv: &'t Conv2d,
    /// Its geometry.
    pub geometry: &'t ConvGeometry,
    /// One number per output channel of the convolution, or none.
    pub bias: Option<&'t [f32]>,
    /// `[C, H, W]`, all channels, neither padded nor packed.
    pub x: &'t [f32],
    /// The output channel that `y` starts with.
    pub first: usize,
    /// Output planes: all of them, or any that follow each other.
    pub y: &'t mut [f32],
}

/// Pooling of planes, each on its own.
///
/// The mean of whole rows that are the only window is the sum of partial sums, and may differ from the scalar one by
/// rounding; all else is bit for bit the same. A maximum over a NaN is NaN.
#[derive(Debug)]
pub struct Pooling<'t> {
    /// Maximum or mean.
    pub kind: PoolKind,
    /// `[kh, kw]`, each at least 1.
    pub kernel: [usize; 2],
    /// `[vertical, horizontal]`, each at least 1.
    pub stride: [usize; 2],
    /// `[top, left]`.
    pub pads: [usize; 2],
    /// Height and width of an input plane.
    pub input: [usize; 2],
    /// Height and width of an output plane.
    pub output: [usize; 2],
    /// Input planes.
    pub x: &'t [f32],
    /// As many output planes.
    pub y: &'t mut [f32],
}

/// What a [`Map`] makes of its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The first; there is no other.
    First,
    /// Their sum.
    Sum,
    /// Their product.
    Product,
}

/// `y = act(a ∘ b)`, number by number.
#[derive(Debug)]
pub struct Map<'t> {
    /// The ∘.
    pub combine: Combine,
    /// Applied to the result.
    pub activation: Activation,
    /// The first operand; `None`: what is in `y`.
    pub a: Option<&'t [f32]>,
    /// The second operand; `None`: what is in `y`.
    pub b: Option<&'t [f32]>,
    /// The result.
    pub y: &'t mut [f32],
}
