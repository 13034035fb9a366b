//! Tensor shapes, without the batch dimension.

use core::fmt;

/// Highest rank of a value. The batch dimension is never part of a shape, so
/// four dimensions hold `[C, H, W]`, `[features, tokens]` and attention heads.
pub const MAX_RANK: usize = 4;

/// The shape of a value: 1 to [`MAX_RANK`] dimensions, none zero, and fewer
/// than 2³⁰ elements (so that byte sizes fit in 32 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    /// Dimensions past the rank are 1, so that equal shapes compare equal.
    dims: [u32; MAX_RANK],
}

impl Shape {
    /// One element.
    pub const SCALAR: Self = Self {
        rank: 1,
        dims: [1; MAX_RANK],
    };

    /// A shape from its dimensions, outermost first.
    ///
    /// # Errors
    /// [`ShapeError::Rank`], [`ShapeError::ZeroDim`] or [`ShapeError::TooLarge`].
    pub fn new(dims: &[u32]) -> Result<Self, ShapeError> {
        if dims.is_empty() || dims.len() > MAX_RANK {
            return Err(ShapeError::Rank {
                found: dims.len() as u32,
            });
        }
        let mut own = [1; MAX_RANK];
        let mut elems = 1u64;
        for (slot, &dim) in own.iter_mut().zip(dims) {
            if dim == 0 {
                return Err(ShapeError::ZeroDim);
            }
            elems = elems.saturating_mul(u64::from(dim));
            *slot = dim;
        }
        if elems >= 1 << 30 {
            return Err(ShapeError::TooLarge);
        }
        Ok(Self {
            rank: dims.len() as u8,
            dims: own,
        })
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[u32] {
        self.dims.get(..usize::from(self.rank)).unwrap_or(&self.dims)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Number of elements.
    pub fn elems(&self) -> usize {
        self.dims.iter().map(|&d| d as usize).product()
    }

    /// Size of the value in bytes (activations are f32).
    pub fn bytes(&self) -> u32 {
        4 * self.dims.iter().product::<u32>()
    }

    /// All [`MAX_RANK`] dimensions, those past the rank being 1.
    pub fn padded_dims(&self) -> [u32; MAX_RANK] {
        self.dims
    }

    /// `(channels, height, width)` of a rank-3 shape.
    pub fn chw(&self) -> Option<(u32, u32, u32)> {
        match self.dims() {
            &[c, h, w] => Some((c, h, w)),
            _ => None,
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, dim) in self.dims().iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "[" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// Why shapes do not fit an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeError {
    /// A rank outside 1..=[`MAX_RANK`], or not the one the operator takes.
    Rank {
        /// The rank found.
        found: u32,
    },
    /// A dimension is zero.
    ZeroDim,
    /// 2³⁰ elements or more.
    TooLarge,
    /// The operator takes another number of inputs.
    InputCount {
        /// How many it takes.
        expected: u32,
        /// How many it got.
        found: u32,
    },
    /// Inputs that must agree in shape do not.
    Mismatch,
    /// Channels (or features) are not divisible by the groups, or outputs are not.
    Groups,
    /// The padded input is smaller than the (dilated) kernel.
    KernelLarger,
    /// A stride, dilation, kernel extent or step is zero, or a padding is as
    /// large as the kernel it pads for.
    Attribute,
    /// An axis or a range lies outside the shape.
    OutOfRange,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rank { found } => write!(f, "rank {found} is not supported here"),
            Self::ZeroDim => f.write_str("a dimension is zero"),
            Self::TooLarge => f.write_str("the value has 2^30 elements or more"),
            Self::InputCount { expected, found } => {
                write!(f, "the operator takes {expected} inputs, not {found}")
            }
            Self::Mismatch => f.write_str("the input shapes do not agree"),
            Self::Groups => f.write_str("channels are not divisible by the groups"),
            Self::KernelLarger => f.write_str("the kernel is larger than the padded input"),
            Self::Attribute => f.write_str("a kernel, stride, dilation, step or padding is out of range"),
            Self::OutOfRange => f.write_str("an axis or range lies outside the shape"),
        }
    }
}

impl core::error::Error for ShapeError {}
