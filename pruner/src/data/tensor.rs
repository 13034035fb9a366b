//! An array as it lies in a file, before it becomes `f32` inputs or class numbers.

use super::error::Defect;
use super::file::{MAX_BYTES, too_large};
use half::{bf16, f16};
use safetensors::Dtype;
use std::ops::Range;

/// Labels above this are taken for a mistake (features or pixel values read as labels).
const MAX_LABEL: u32 = 65_535;

/// An undecoded array in row-major order, little-endian.
///
/// Decoding comes last, so that a sub range of a large file costs only its own `f32`.
#[derive(Debug)]
pub(super) struct RawTensor {
    dtype: Dtype,
    pub(super) shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl RawTensor {
    /// Fails when `bytes` is not exactly as long as `dtype` and `shape` announce.
    pub(super) fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, Defect> {
        let announced = shape
            .iter()
            .try_fold(dtype.bitsize() / 8, |size, &dim| size.checked_mul(dim));
        if announced != Some(bytes.len()) {
            return Err(Defect::new(
                format!(
                    "a {dtype:?} array of shape {shape:?} cannot have {} bytes of data",
                    bytes.len()
                ),
                "the file is cut short or damaged: fetch or write it again",
            ));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// As [`RawTensor::new`], for big-endian `bytes`.
    pub(super) fn from_big_endian(dtype: Dtype, shape: Vec<usize>, mut bytes: Vec<u8>) -> Result<Self, Defect> {
        let size = (dtype.bitsize() / 8).max(1);
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        Self::new(dtype, shape, bytes)
    }

    /// Number of rows, the first size of the shape; a scalar has none.
    pub(super) fn count(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Keeps the rows of a range, which must lie within `0..count`.
    pub(super) fn keep_rows(&mut self, range: Range<usize>) -> Result<(), Defect> {
        let count = self.count();
        if range.is_empty() || range.end > count {
            return Err(Defect::new(
                format!(
                    "rows [{}, {}] do not lie within {count} samples",
                    range.start, range.end
                ),
                format!("give rows = [start, end] with start < end <= {count}"),
            ));
        }
        let row = self.bytes.len() / count;
        self.bytes.truncate(range.end * row);
        self.bytes.drain(..range.start * row);
        self.shape[0] = range.len();
        Ok(())
    }

    /// All values as `f32`, rounded where `f32` is too narrow.
    pub(super) fn to_f32(&self) -> Result<Vec<f32>, Defect> {
        self.decode(|value| value as f32)
    }

    /// Class numbers of an array `[N]` or `[N, 1]`.
    pub(super) fn to_labels(&self) -> Result<Vec<u32>, Defect> {
        let values = self.decode(|value| value)?;
        if self.shape.is_empty() || values.len() != self.count() {
            return Err(Defect::new(
                format!("labels of shape {:?} are not one per sample", self.shape),
                "store class numbers of shape [N]; turn one-hot rows into them with argmax",
            ));
        }
        let class = |(i, value): (usize, f64)| {
            if (0.0..=f64::from(MAX_LABEL)).contains(&value) && value.fract() == 0.0 {
                return Ok(value as u32);
            }
            Err(Defect::new(
                format!("label {i} is {value}, not a class number of 0..={MAX_LABEL}"),
                "number the classes from 0, or name the array of labels with `labels_key`",
            ))
        };
        values.into_iter().enumerate().map(class).collect()
    }

    /// Decodes by way of `f64`, which holds every value a label or an `f32` can take.
    fn decode<T>(&self, convert: impl Fn(f64) -> T) -> Result<Vec<T>, Defect> {
        fn each<const SIZE: usize, T>(bytes: &[u8], f: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
            let (values, _) = bytes.as_chunks();
            values.iter().map(|&value| f(value)).collect()
        }
        let bytes = self.bytes.as_slice();
        // `new` has checked the product of the shape, so it cannot overflow here.
        let decoded_size = self.shape.iter().product::<usize>() as u64 * size_of::<T>() as u64;
        if decoded_size > MAX_BYTES {
            return Err(too_large());
        }
        Ok(match self.dtype {
            Dtype::BOOL | Dtype::U8 => each(bytes, |[byte]| convert(byte.into())),
            Dtype::I8 => each(bytes, |b| convert(i8::from_le_bytes(b).into())),
            Dtype::U16 => each(bytes, |b| convert(u16::from_le_bytes(b).into())),
            Dtype::I16 => each(bytes, |b| convert(i16::from_le_bytes(b).into())),
            Dtype::U32 => each(bytes, |b| convert(u32::from_le_bytes(b).into())),
            Dtype::I32 => each(bytes, |b| convert(i32::from_le_bytes(b).into())),
            Dtype::U64 => each(bytes, |b| convert(u64::from_le_bytes(b) as f64)),
            Dtype::I64 => each(bytes, |b| convert(i64::from_le_bytes(b) as f64)),
            Dtype::F16 => each(bytes, |b| convert(f16::from_le_bytes(b).into())),
            Dtype::BF16 => each(bytes, |b| convert(bf16::from_le_bytes(b).into())),
            Dtype::F32 => each(bytes, |b| convert(f32::from_le_bytes(b).into())),
            Dtype::F64 => each(bytes, |b| convert(f64::from_le_bytes(b))),
            other => {
                return Err(Defect::new(
                    format!("holds values of the type {other:?}"),
                    "store them as float32, float64, int8, uint8, int32 or int64",
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<const N: usize>(values: &[[u8; N]]) -> Vec<u8> {
        values.concat()
    }

    #[test]
    fn every_dtype_is_decoded() {
        let decoded = |dtype, bytes: Vec<u8>| {
            let tensor = RawTensor::new(dtype, vec![2], bytes).unwrap();
            tensor.to_f32().unwrap()
        };
        assert_eq!(decoded(Dtype::U8, vec![0, 255]), [0.0, 255.0]);
        assert_eq!(decoded(Dtype::I8, vec![0x80, 127]), [-128.0, 127.0]);
        let i16s = bytes_of(&[(-300_i16).to_le_bytes(), 300_i16.to_le_bytes()]);
        assert_eq!(decoded(Dtype::I16, i16s), [-300.0, 300.0]);
        let i64s = bytes_of(&[(-1_i64).to_le_bytes(), 9_i64.to_le_bytes()]);
        assert_eq!(decoded(Dtype::I64, i64s), [-1.0, 9.0]);
        let f16s = bytes_of(&[f16::from_f32(0.5).to_le_bytes(), f16::INFINITY.to_le_bytes()]);
        assert_eq!(decoded(Dtype::F16, f16s), [0.5, f32::INFINITY]);
        let bf16s = bytes_of(&[bf16::from_f32(2.0).to_le_bytes(), bf16::ONE.to_le_bytes()]);
        assert_eq!(decoded(Dtype::BF16, bf16s), [2.0, 1.0]);
        let f64s = bytes_of(&[0.1_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()]);
        assert_eq!(decoded(Dtype::F64, f64s), [0.1, -2.0]);
        let f32s = bytes_of(&[f32::NAN.to_le_bytes(), 1e-45_f32.to_le_bytes()]);
        let values = decoded(Dtype::F32, f32s);
        assert!(values[0].is_nan() && values[1] == 1e-45);
        let complex = RawTensor::new(Dtype::C64, vec![1], vec![0; 8]).unwrap();
        assert!(complex.to_f32().is_err());
    }

    #[test]
    fn the_length_must_fit_the_shape() {
        assert!(RawTensor::new(Dtype::F32, vec![2], vec![0; 7]).is_err());
        assert!(RawTensor::new(Dtype::U8, vec![usize::MAX, 2], vec![]).is_err());
        assert!(RawTensor::new(Dtype::U8, vec![usize::MAX, 0], vec![]).is_ok());
    }

    #[test]
    fn rows_are_kept_in_place() {
        let mut tensor = RawTensor::new(Dtype::U8, vec![3, 2], vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert!(tensor.keep_rows(2..4).is_err());
        assert!(tensor.keep_rows(1..1).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "a user can write it")]
        let reversed = 2..1;
        assert!(tensor.keep_rows(reversed).is_err());
        tensor.keep_rows(1..3).unwrap();
        assert_eq!(tensor.shape, [2, 2]);
        assert_eq!(tensor.to_f32().unwrap(), [3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn labels_are_class_numbers() {
        let labels = |shape: &[usize], values: &[f64]| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            let tensor = RawTensor::new(Dtype::F64, shape.to_vec(), bytes.collect()).unwrap();
            tensor.to_labels()
        };
        assert_eq!(labels(&[2, 1], &[0.0, 65535.0]).unwrap(), [0, 65535]);
        for wrong in [-1.0, 0.5, 65536.0, f64::NAN, f64::INFINITY] {
            let error = labels(&[2], &[3.0, wrong]).unwrap_err();
            assert!(error.problem.contains("label 1 is"), "{error}");
        }
        let error = labels(&[1, 2], &[0.0, 1.0]).unwrap_err();
        assert!(error.remedy.contains("argmax"), "{error}");
        assert!(labels(&[], &[1.0]).is_err());
    }
}
