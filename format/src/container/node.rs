//! Node records: one operator with its inputs (`SPEC.md` §5).

use crate::bytes::Fields;
use crate::op::{Activation, Conv2d, Linear, Op, Pool, PoolKind, TensorId, ValueId};
use crate::{MAX_RANK, Problem, Shape};

/// Marks an absent bias.
const NONE: u16 = u16::MAX;

mod code {
    pub(super) const CONV2D: u8 = 1;
    pub(super) const LINEAR: u8 = 2;
    pub(super) const ACTIVATION: u8 = 3;
    pub(super) const ADD: u8 = 4;
    pub(super) const MUL: u8 = 5;
    pub(super) const CONCAT: u8 = 6;
    pub(super) const POOL: u8 = 7;
    pub(super) const GLOBAL_AVG_POOL: u8 = 8;
    pub(super) const RESHAPE: u8 = 9;
    pub(super) const PAD: u8 = 10;
    pub(super) const SLICE: u8 = 11;
    pub(super) const SOFTMAX: u8 = 12;
}

/// One decoded record.
pub(super) struct Record<'a> {
    pub(super) op: Op,
    /// Little-endian `u16` value ids.
    pub(super) inputs: &'a [u8],
}

/// Takes the record at the front of `bytes`, and returns what follows it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), Problem> {
    let truncated = Problem::Truncated {
        needed: 4,
        found: bytes.len() as u64,
    };
    let &[op, activation, inputs, words, ..] = bytes else {
        return Err(truncated);
    };
    let len = 4 * usize::from(words);
    let (record, rest) = bytes.split_at_checked(len.max(4)).ok_or(Problem::Truncated {
        needed: len as u64,
        found: bytes.len() as u64,
    })?;
    let short = Problem::Truncated {
        needed: len as u64 + 1,
        found: len as u64,
    };
    let mut fields = Fields::new(record);
    fields.take(4).ok_or(short)?;
    let inputs = fields.take(2 * usize::from(inputs)).ok_or(short)?;
    if inputs.len() % 4 != 0 && fields.u16().ok_or(short)? != 0 {
        return Err(Problem::NotZero {
            offset: 4 + inputs.len() as u64,
        });
    }
    let slope = match activation {
        3 => fields.f32().ok_or(short)?,
        _ => 0.0,
    };
    let activation = decode_activation(activation, slope)?;
    let op = decode_op(op, activation, &mut fields, short)?;
    let left = fields.rest().len();
    if left != 0 {
        return Err(Problem::Length {
            expected: (len - left) as u64,
            found: len as u64,
        });
    }
    Ok((Record { op, inputs }, rest))
}

fn decode_activation(code: u8, slope: f32) -> Result<Activation, Problem> {
    Ok(match code {
        0 => Activation::Identity,
        1 => Activation::Relu,
        2 => Activation::Relu6,
        3 if slope.is_finite() => Activation::LeakyRelu(slope),
        3 => return Err(Problem::NotFinite),
        4 => Activation::Gelu,
        5 => Activation::Silu,
        6 => Activation::Sigmoid,
        7 => Activation::Tanh,
        8 => Activation::HardSwish,
        _ => return Err(Problem::Code { found: code.into() }),
    })
}

fn decode_op(op: u8, activation: Activation, fields: &mut Fields<'_>, short: Problem) -> Result<Op, Problem> {
    let decoded = decode_attributes(op, activation, fields).unwrap_or(Err(short))?;
    let fuses = matches!(op, code::CONV2D | code::LINEAR | code::ACTIVATION | code::ADD);
    if !fuses && activation != Activation::Identity {
        return Err(Problem::NotZero { offset: 1 });
    }
    Ok(decoded)
}

/// `None`: the record is too short.
fn decode_attributes(op: u8, activation: Activation, fields: &mut Fields<'_>) -> Option<Result<Op, Problem>> {
    Some(Ok(match op {
        code::CONV2D => Op::Conv2d(Conv2d {
            weight: TensorId(fields.u16()?),
            bias: bias(fields.u16()?),
            out_channels: fields.u32()?,
            groups: fields.u32()?,
            kernel: fields.array(Fields::u16)?,
            stride: fields.array(Fields::u16)?,
            dilation: fields.array(Fields::u16)?,
            pads: fields.array(Fields::u16)?,
            activation,
        }),
        code::LINEAR => Op::Linear(Linear {
            weight: TensorId(fields.u16()?),
            bias: bias(fields.u16()?),
            out_features: fields.u32()?,
            activation,
        }),
        code::ACTIVATION => Op::Activation(activation),
        code::ADD => Op::Add(activation),
        code::MUL => Op::Mul,
        code::CONCAT => match axis(fields.u32()?) {
            Ok(axis) => Op::Concat { axis },
            Err(problem) => return Some(Err(problem)),
        },
        code::POOL => {
            let kind = match fields.u32()? {
                0 => PoolKind::Max,
                1 => PoolKind::Average,
                2 => PoolKind::AverageWithPadding,
                found => return Some(Err(Problem::Code { found })),
            };
            Op::Pool(Pool {
                kind,
                kernel: fields.array(Fields::u16)?,
                stride: fields.array(Fields::u16)?,
                pads: fields.array(Fields::u16)?,
            })
        }
        code::GLOBAL_AVG_POOL => Op::GlobalAvgPool,
        code::RESHAPE => match shape(fields)? {
            Ok(shape) => Op::Reshape(shape),
            Err(problem) => return Some(Err(problem)),
        },
        code::PAD => Op::Pad {
            before: fields.array(Fields::u16)?,
            after: fields.array(Fields::u16)?,
            value: fields.f32()?,
        },
        code::SLICE => Op::Slice {
            start: fields.array(Fields::u32)?,
            end: fields.array(Fields::u32)?,
            step: fields.array(Fields::u32)?,
        },
        code::SOFTMAX => match axis(fields.u32()?) {
            Ok(axis) => Op::Softmax { axis },
            Err(problem) => return Some(Err(problem)),
        },
        _ => return Some(Err(Problem::Code { found: op.into() })),
    }))
}

fn bias(id: u16) -> Option<TensorId> {
    (id != NONE).then_some(TensorId(id))
}

fn axis(axis: u32) -> Result<u8, Problem> {
    if axis < MAX_RANK as u32 {
        return Ok(axis as u8);
    }
    Err(Problem::Index {
        bound: MAX_RANK as u32,
        found: axis,
    })
}

/// A shape record: rank, then [`MAX_RANK`] dimensions, those past the rank being 1.
pub(super) fn shape(fields: &mut Fields<'_>) -> Option<Result<Shape, Problem>> {
    let rank = fields.u32()? as usize;
    let dims: [u32; MAX_RANK] = fields.array(Fields::u32)?;
    let (Some(used), Some(unused)) = (dims.get(..rank), dims.get(rank..)) else {
        return Some(Err(crate::ShapeError::Rank { found: rank as u32 }.into()));
    };
    if unused.iter().any(|&dim| dim != 1) {
        return Some(Err(crate::ShapeError::Rank { found: rank as u32 }.into()));
    }
    Some(Shape::new(used).map_err(Problem::from))
}

/// The value ids of a record's input list.
pub(super) fn value_ids(inputs: &[u8]) -> impl Iterator<Item = ValueId> + Clone {
    inputs.chunks_exact(2).map(|id| match id {
        &[low, high] => ValueId(u16::from_le_bytes([low, high])),
        _ => ValueId(0),
    })
}

#[cfg(feature = "alloc")]
pub(super) use encode::{encode, push_shape};

#[cfg(feature = "alloc")]
mod encode {
    use alloc::vec::Vec;

    use super::*;

    fn activation_code(activation: Activation) -> u8 {
        match activation {
            Activation::Identity => 0,
            Activation::Relu => 1,
            Activation::Relu6 => 2,
            Activation::LeakyRelu(_) => 3,
            Activation::Gelu => 4,
            Activation::Silu => 5,
            Activation::Sigmoid => 6,
            Activation::Tanh => 7,
            Activation::HardSwish => 8,
        }
    }

    fn push_u16s(out: &mut Vec<u8>, values: &[u16]) {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }

    fn push_u32s(out: &mut Vec<u8>, values: &[u32]) {
        out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }

    /// Appends a shape record.
    pub(in crate::container) fn push_shape(out: &mut Vec<u8>, shape: Shape) {
        push_u32s(out, &[shape.rank() as u32]);
        push_u32s(out, &shape.padded_dims());
    }

    /// The record of a node; `None` if the operator has no place in a file
    /// (batch normalisation, a slope that is not finite) or the node has too many inputs.
    pub(in crate::container) fn encode(op: &Op, inputs: &[ValueId]) -> Option<Vec<u8>> {
        let mut attributes = Vec::new();
        let out = &mut attributes;
        let mut activation = Activation::Identity;
        let tensors = |out: &mut Vec<u8>, weight: TensorId, bias: Option<TensorId>| {
            push_u16s(out, &[weight.0, bias.map_or(NONE, |b| b.0)]);
        };
        let op = match op {
            Op::Conv2d(conv) => {
                activation = conv.activation;
                tensors(out, conv.weight, conv.bias);
                push_u32s(out, &[conv.out_channels, conv.groups]);
                for pair in [conv.kernel, conv.stride, conv.dilation] {
                    push_u16s(out, &pair);
                }
                push_u16s(out, &conv.pads);
                code::CONV2D
            }
            Op::Linear(linear) => {
                activation = linear.activation;
                tensors(out, linear.weight, linear.bias);
                push_u32s(out, &[linear.out_features]);
                code::LINEAR
            }
            Op::Activation(kind) => {
                activation = *kind;
                code::ACTIVATION
            }
            Op::Add(fused) => {
                activation = *fused;
                code::ADD
            }
            Op::Mul => code::MUL,
            Op::Concat { axis } => {
                push_u32s(out, &[u32::from(*axis)]);
                code::CONCAT
            }
            Op::Pool(pool) => {
                let kind = match pool.kind {
                    PoolKind::Max => 0,
                    PoolKind::Average => 1,
                    PoolKind::AverageWithPadding => 2,
                };
                push_u32s(out, &[kind]);
                push_u16s(out, &pool.kernel);
                push_u16s(out, &pool.stride);
                push_u16s(out, &pool.pads);
                code::POOL
            }
            Op::GlobalAvgPool => code::GLOBAL_AVG_POOL,
            Op::Reshape(shape) => {
                push_shape(out, *shape);
                code::RESHAPE
            }
            Op::Pad { before, after, value } => {
                push_u16s(out, before);
                push_u16s(out, after);
                out.extend_from_slice(&value.to_le_bytes());
                code::PAD
            }
            Op::Slice { start, end, step } => {
                for list in [start, end, step] {
                    push_u32s(out, list);
                }
                code::SLICE
            }
            Op::Softmax { axis } => {
                push_u32s(out, &[u32::from(*axis)]);
                code::SOFTMAX
            }
            Op::BatchNorm(_) => return None,
        };
        let mut record = alloc::vec![op, activation_code(activation), u8::try_from(inputs.len()).ok()?, 0];
        inputs.iter().for_each(|id| push_u16s(&mut record, &[id.0]));
        record.resize(record.len().next_multiple_of(4), 0);
        if let Activation::LeakyRelu(slope) = activation {
            if !slope.is_finite() {
                return None;
            }
            record.extend_from_slice(&slope.to_le_bytes());
        }
        record.extend_from_slice(&attributes);
        record[3] = u8::try_from(record.len() / 4).ok()?;
        Some(record)
    }
}
