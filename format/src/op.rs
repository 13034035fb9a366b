//! The operators, and the one shape-inference function that importer, trainer,
//! planner and runtime share.
//!
//! Values are planar (channel-major): `[C, H, W]` for images,
//! `[features]` or `[features, tokens]` for vectors; the batch is never part of a shape.

use crate::{MAX_RANK, Shape, ShapeError};

/// Most inputs of one node: what a reader without allocation holds at once.
pub const MAX_INPUTS: usize = 8;

/// Index of a value: the graph inputs first, then one per node, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u16);

/// Index of a constant tensor (weights, biases).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub u16);

/// An element-wise function, alone or fused into the operator before it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x for x ≥ 0, slope · x below
    LeakyRelu(f32),
    /// x · Φ(x), with the exact error function
    Gelu,
    /// x · sigmoid(x)
    Silu,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// tanh(x)
    Tanh,
    /// x · min(max(x + 3, 0), 6) / 6
    HardSwish,
}

/// 2-D convolution of `[Cin, H, W]`; depthwise where `groups` = Cin.
///
/// The weight matrix is `[out_channels, kh · kw · Cin / groups]`, its columns
/// ordered (ky, kx, ci): the channels of one kernel position are neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// The weight matrix.
    pub weight: TensorId,
    /// One number per output channel.
    pub bias: Option<TensorId>,
    /// Cout.
    pub out_channels: u32,
    /// Divides Cin and Cout.
    pub groups: u32,
    /// `[kh, kw]`.
    pub kernel: [u16; 2],
    /// `[vertical, horizontal]`.
    pub stride: [u16; 2],
    /// `[vertical, horizontal]`.
    pub dilation: [u16; 2],
    /// Zeros added at `[top, left, bottom, right]`.
    pub pads: [u16; 4],
    /// Applied to the sum and bias.
    pub activation: Activation,
}

/// `W · x + b` of `[features]` or `[features, tokens]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The weight matrix `[out_features, in_features]`.
    pub weight: TensorId,
    /// One number per output feature.
    pub bias: Option<TensorId>,
    /// Rows of the weight matrix.
    pub out_features: u32,
    /// Applied to the sum and bias.
    pub activation: Activation,
}

/// Batch normalisation with frozen statistics. Import and training only: it is
/// folded into its neighbour when a file is written, and files do not hold it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// γ, one per channel.
    pub scale: TensorId,
    /// β, one per channel.
    pub bias: TensorId,
    /// Running mean, one per channel.
    pub mean: TensorId,
    /// Running variance, one per channel.
    pub var: TensorId,
    /// Added to the variance.
    pub eps: f32,
}

/// Which pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The maximum; padding never wins.
    Max,
    /// The mean over the elements inside the input.
    Average,
    /// The mean over the whole window, padding counted as zeros.
    AverageWithPadding,
}

/// 2-D pooling of `[C, H, W]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Maximum or mean.
    pub kind: PoolKind,
    /// `[kh, kw]`.
    pub kernel: [u16; 2],
    /// `[vertical, horizontal]`.
    pub stride: [u16; 2],
    /// `[top, left, bottom, right]`, each smaller than the kernel.
    pub pads: [u16; 4],
}

/// An operator with its attributes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// 2-D convolution.
    Conv2d(Conv2d),
    /// Fully connected.
    Linear(Linear),
    /// Batch normalisation (not in files).
    BatchNorm(BatchNorm),
    /// An activation on its own.
    Activation(Activation),
    /// Element-wise sum of two values of one shape, then an activation.
    Add(Activation),
    /// Element-wise product of two values of one shape.
    Mul,
    /// Joins values along an axis.
    Concat {
        /// The axis.
        axis: u8,
    },
    /// Maximum or average pooling.
    Pool(Pool),
    /// `[C, H, W]` to `[C]`: the mean of each plane.
    GlobalAvgPool,
    /// The same elements under another shape.
    Reshape(Shape),
    /// Constant padding.
    Pad {
        /// Elements added before, per axis.
        before: [u16; MAX_RANK],
        /// Elements added behind, per axis.
        after: [u16; MAX_RANK],
        /// Their value.
        value: f32,
    },
    /// A strided sub-range: `start..end` by `step`, per axis; `0..1` by 1 past the rank.
    Slice {
        /// First index, per axis.
        start: [u32; MAX_RANK],
        /// One past the last index, per axis.
        end: [u32; MAX_RANK],
        /// Distance of the indices, at least 1, per axis.
        step: [u32; MAX_RANK],
    },
    /// Softmax along an axis.
    Softmax {
        /// The axis.
        axis: u8,
    },
}

/// A constant, and the rows and columns it must have.
pub type Constant = (TensorId, u32, u32);

/// How many inputs an operator takes.
fn expect_inputs(inputs: &[Shape], expected: usize) -> Result<(), ShapeError> {
    if inputs.len() == expected {
        return Ok(());
    }
    Err(ShapeError::InputCount {
        expected: expected as u32,
        found: inputs.len() as u32,
    })
}

/// Output extent of a sliding window.
fn window(extent: u32, before: u16, after: u16, kernel: u16, stride: u16, dilation: u16) -> Result<u32, ShapeError> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err(ShapeError::Attribute);
    }
    let span = u64::from(kernel - 1) * u64::from(dilation) + 1;
    let padded = u64::from(extent) + u64::from(before) + u64::from(after);
    let slack = padded.checked_sub(span).ok_or(ShapeError::KernelLarger)?;
    u32::try_from(slack / u64::from(stride) + 1).map_err(|_| ShapeError::TooLarge)
}

impl Conv2d {
    /// Columns of the weight matrix for an input of `channels`, if the groups divide.
    pub fn cols(&self, channels: u32) -> Option<u32> {
        let per_group = channels.checked_div(self.groups)?;
        if per_group.checked_mul(self.groups)? != channels {
            return None;
        }
        per_group
            .checked_mul(u32::from(self.kernel[0]))?
            .checked_mul(u32::from(self.kernel[1]))
    }

    fn infer(&self, input: Shape) -> Result<Shape, ShapeError> {
        let (c, h, w) = input.chw().ok_or(ShapeError::Rank {
            found: input.rank() as u32,
        })?;
        if self.cols(c).is_none_or(|cols| cols == 0) || !self.out_channels.is_multiple_of(self.groups) {
            return Err(ShapeError::Groups);
        }
        let [top, left, bottom, right] = self.pads;
        let out_h = window(h, top, bottom, self.kernel[0], self.stride[0], self.dilation[0])?;
        let out_w = window(w, left, right, self.kernel[1], self.stride[1], self.dilation[1])?;
        Shape::new(&[self.out_channels, out_h, out_w])
    }
}

impl Op {
    /// The shape of the operator's one output.
    ///
    /// # Errors
    /// A [`ShapeError`] when the inputs do not fit the operator. Constants are
    /// checked apart, against [`Op::constants`].
    pub fn infer(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        let first = *inputs.first().ok_or(ShapeError::InputCount { expected: 1, found: 0 })?;
        match self {
            Self::Add(_) | Self::Mul => {
                expect_inputs(inputs, 2)?;
                if inputs.iter().any(|s| *s != first) {
                    return Err(ShapeError::Mismatch);
                }
                return Ok(first);
            }
            Self::Concat { axis } => return infer_concat(inputs, first, usize::from(*axis)),
            _ => expect_inputs(inputs, 1)?,
        }
        match self {
            Self::Conv2d(conv) => conv.infer(first),
            Self::Linear(linear) => match first.dims() {
                [_] => Shape::new(&[linear.out_features]),
                &[_, tokens] => Shape::new(&[linear.out_features, tokens]),
                dims => Err(ShapeError::Rank {
                    found: dims.len() as u32,
                }),
            },
            Self::Pool(pool) => {
                let (c, h, w) = first.chw().ok_or(ShapeError::Rank {
                    found: first.rank() as u32,
                })?;
                let [top, left, bottom, right] = pool.pads;
                if top >= pool.kernel[0]
                    || bottom >= pool.kernel[0]
                    || left >= pool.kernel[1]
                    || right >= pool.kernel[1]
                {
                    return Err(ShapeError::Attribute);
                }
                let out_h = window(h, top, bottom, pool.kernel[0], pool.stride[0], 1)?;
                let out_w = window(w, left, right, pool.kernel[1], pool.stride[1], 1)?;
                Shape::new(&[c, out_h, out_w])
            }
            Self::GlobalAvgPool => {
                let (c, _, _) = first.chw().ok_or(ShapeError::Rank {
                    found: first.rank() as u32,
                })?;
                Shape::new(&[c])
            }
            Self::Reshape(shape) if shape.elems() == first.elems() => Ok(*shape),
            Self::Reshape(_) => Err(ShapeError::Mismatch),
            Self::Pad { before, after, .. } => {
                let mut dims = first.padded_dims();
                for (axis, dim) in dims.iter_mut().enumerate() {
                    let (b, a) = (
                        before.get(axis).copied().unwrap_or(0),
                        after.get(axis).copied().unwrap_or(0),
                    );
                    if axis >= first.rank() && (b, a) != (0, 0) {
                        return Err(ShapeError::OutOfRange);
                    }
                    *dim = dim.saturating_add(u32::from(b)).saturating_add(u32::from(a));
                }
                shape_of_rank(&dims, first.rank())
            }
            Self::Slice { start, end, step } => {
                let mut dims = first.padded_dims();
                let ranges = start.iter().zip(end).zip(step);
                for (axis, (dim, ((&start, &end), &step))) in dims.iter_mut().zip(ranges).enumerate() {
                    // Past the rank there is one way to say "all of it".
                    let idle = axis >= first.rank() && step != 1;
                    if start >= end || end > *dim || step == 0 || idle {
                        return Err(ShapeError::OutOfRange);
                    }
                    *dim = (end - start).div_ceil(step);
                }
                shape_of_rank(&dims, first.rank())
            }
            Self::Softmax { axis } if usize::from(*axis) >= first.rank() => Err(ShapeError::OutOfRange),
            Self::BatchNorm(_) | Self::Activation(_) | Self::Softmax { .. } => Ok(first),
            Self::Add(_) | Self::Mul | Self::Concat { .. } => Err(ShapeError::Mismatch),
        }
    }

    /// The constants the operator uses, each with the rows and columns it must
    /// have for this input: weights first, then bias (a row vector).
    ///
    /// # Errors
    /// [`ShapeError::Groups`] or [`ShapeError::Rank`] when the input does not fit.
    pub fn constants(&self, input: Shape) -> Result<[Option<Constant>; 4], ShapeError> {
        let dims = input.padded_dims();
        let vector = |id, len| Some((id, 1, len));
        Ok(match self {
            Self::Conv2d(conv) => {
                let cols = conv.cols(dims[0]).ok_or(ShapeError::Groups)?;
                let weight = Some((conv.weight, conv.out_channels, cols));
                [weight, conv.bias.and_then(|b| vector(b, conv.out_channels)), None, None]
            }
            Self::Linear(linear) => {
                let weight = Some((linear.weight, linear.out_features, dims[0]));
                [
                    weight,
                    linear.bias.and_then(|b| vector(b, linear.out_features)),
                    None,
                    None,
                ]
            }
            Self::BatchNorm(bn) => [bn.scale, bn.bias, bn.mean, bn.var].map(|id| vector(id, dims[0])),
            _ => [None; 4],
        })
    }

    /// Whether the output may overwrite an input of the same size: every output
    /// element depends on the input elements at its own place only (softmax
    /// reads a whole line before it writes it).
    pub fn in_place(&self) -> bool {
        matches!(
            self,
            Self::Activation(_) | Self::Add(_) | Self::Mul | Self::Reshape(_) | Self::Softmax { .. }
        )
    }

    /// The weight matrix of a linear or convolution.
    pub fn weight(&self) -> Option<TensorId> {
        match self {
            Self::Conv2d(conv) => Some(conv.weight),
            Self::Linear(linear) => Some(linear.weight),
            _ => None,
        }
    }

    /// The bias of a linear or convolution.
    pub fn bias(&self) -> Option<TensorId> {
        match self {
            Self::Conv2d(conv) => conv.bias,
            Self::Linear(linear) => linear.bias,
            _ => None,
        }
    }

    /// The operator's name, as used in `model.toml` and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::Linear(_) => "linear",
            Self::BatchNorm(_) => "batch_norm",
            Self::Activation(activation) => activation.name(),
            Self::Add(_) => "add",
            Self::Mul => "mul",
            Self::Concat { .. } => "concat",
            Self::Pool(Pool {
                kind: PoolKind::Max, ..
            }) => "max_pool",
            Self::Pool(_) => "avg_pool",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Reshape(_) => "reshape",
            Self::Pad { .. } => "pad",
            Self::Slice { .. } => "slice",
            Self::Softmax { .. } => "softmax",
        }
    }
}

impl Activation {
    /// The name, as used in `model.toml` and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::HardSwish => "hard_swish",
        }
    }
}

fn shape_of_rank(dims: &[u32; MAX_RANK], rank: usize) -> Result<Shape, ShapeError> {
    Shape::new(dims.get(..rank).unwrap_or(dims))
}

fn infer_concat(inputs: &[Shape], first: Shape, axis: usize) -> Result<Shape, ShapeError> {
    if inputs.len() > MAX_INPUTS {
        return Err(ShapeError::InputCount {
            expected: MAX_INPUTS as u32,
            found: inputs.len() as u32,
        });
    }
    let mut dims = first.padded_dims();
    let mut joined = 0u32;
    for shape in inputs {
        let mut other = shape.padded_dims();
        let extent = other.get_mut(axis).ok_or(ShapeError::OutOfRange)?;
        joined = joined.saturating_add(*extent);
        *extent = *dims.get(axis).ok_or(ShapeError::OutOfRange)?;
        if shape.rank() != first.rank() || axis >= first.rank() || other != dims {
            return Err(ShapeError::Mismatch);
        }
    }
    if let Some(dim) = dims.get_mut(axis) {
        *dim = joined;
    }
    shape_of_rank(&dims, first.rank())
}
