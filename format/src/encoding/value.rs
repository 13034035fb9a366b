//! The types a weight can be stored in.

use bytemuck::Pod;
use half::{bf16, f16};

use super::{MatrixDesc, Payload};

/// Type of stored weights. Arithmetic is f32, except for i8 (its kernels come later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Symmetric: weight = q · scale, one f32 scale per row.
    I8,
}

impl ValueType {
    /// Bytes of one value.
    pub const fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 => 1,
        }
    }

    /// The name: `f32`, `f16`, `bf16`, `i8`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
        }
    }
}

/// A stored weight.
pub trait Value: Pod + PartialEq {
    /// Its type.
    const TYPE: ValueType;
    /// The weight as f32 (for i8, without its scale).
    fn to_f32(self) -> f32;
    /// The array of this type, if that is what is stored.
    fn slice<'a>(values: &Values<'a>) -> Option<&'a [Self]>;
}

macro_rules! value {
    ($type:ty, $variant:ident, $pattern:pat => $slice:expr, $to:expr) => {
        impl Value for $type {
            const TYPE: ValueType = ValueType::$variant;
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $to(self)
            }
            #[inline]
            fn slice<'a>(values: &Values<'a>) -> Option<&'a [Self]> {
                match *values {
                    $pattern => Some($slice),
                    _ => None,
                }
            }
        }
    };
}

value!(f32, F32, Values::F32(v) => v, |x| x);
// The const conversion is plain integer arithmetic: the same on every target, and it inlines.
value!(f16, F16, Values::F16(v) => v, f16::to_f32_const);
value!(bf16, Bf16, Values::Bf16(v) => v, bf16::to_f32_const);
value!(i8, I8, Values::I8 { q, .. } => q, f32::from);

/// The stored values of a matrix.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Values<'a> {
    /// f32
    F32(&'a [f32]),
    /// f16
    F16(&'a [f16]),
    /// bf16
    Bf16(&'a [bf16]),
    /// i8
    I8 {
        /// The integers.
        q: &'a [i8],
        /// One scale per row.
        scales: &'a [f32],
    },
}

impl<'a> Values<'a> {
    pub(crate) fn split(desc: &MatrixDesc, scales: &'a [f32], payload: &mut Payload<'a>) -> Option<Self> {
        let stored = desc.stored as usize;
        Some(match desc.values {
            ValueType::F32 => Self::F32(payload.array(stored)?),
            ValueType::F16 => Self::F16(payload.array(stored)?),
            ValueType::Bf16 => Self::Bf16(payload.array(stored)?),
            ValueType::I8 => Self::I8 {
                q: payload.array(stored)?,
                scales,
            },
        })
    }

    /// Number of stored values.
    pub fn stored(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::Bf16(v) => v.len(),
            Self::I8 { q, .. } => q.len(),
        }
    }

    /// Type of the values.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::F32(_) => ValueType::F32,
            Self::F16(_) => ValueType::F16,
            Self::Bf16(_) => ValueType::Bf16,
            Self::I8 { .. } => ValueType::I8,
        }
    }

    /// Scale of a row: 1 except for i8.
    pub fn scale(&self, row: usize) -> f32 {
        match self {
            Self::I8 { scales, .. } => scales.get(row).copied().unwrap_or(0.0),
            _ => 1.0,
        }
    }

    /// Number of values that are not zero.
    pub fn count_nonzero(&self) -> u64 {
        fn count<V: Value>(values: &[V]) -> u64 {
            values.iter().filter(|v| v.to_f32() != 0.0).count() as u64
        }
        match self {
            Self::F32(v) => count(v),
            Self::F16(v) => count(v),
            Self::Bf16(v) => count(v),
            Self::I8 { q, .. } => count(q),
        }
    }
}

impl core::fmt::Display for ValueType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
