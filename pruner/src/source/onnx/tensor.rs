//! The elements of a [`TensorProto`].

use super::array::{Array, Constant, Int, count};
use super::schema::{TensorProto, data_type};
use crate::source::error::Fault;
use half::{bf16, f16};

const EXTERNAL: i32 = 1;

/// Decodes a tensor: real numbers to `f32`, integers to `i64`.
pub(super) fn read(tensor: &TensorProto) -> Result<Constant, Fault> {
    if tensor.data_location == EXTERNAL || !tensor.external_data.is_empty() {
        return Err(Fault::unsupported(
            "its data is in another file",
            "save the model in one file: onnx.save_model(model, path, save_as_external_data=False)",
        ));
    }
    let dims = dims(tensor)?;
    let raw = tensor.raw_data.as_ref();
    // The types that share `int32_data` keep their bit patterns in its low half.
    let low = |&word: &i32| word as u16;
    Ok(match tensor.data_type {
        data_type::FLOAT => floats(dims, raw, f32::from_le_bytes, tensor.float_data.iter().copied())?,
        data_type::DOUBLE => floats(dims, raw, narrow, tensor.double_data.iter().map(|&x| x as f32))?,
        data_type::FLOAT16 => {
            let typed = tensor
                .int32_data
                .iter()
                .map(low)
                .map(|bits| f16::from_bits(bits).to_f32());
            floats(dims, raw, |bytes| f16::from_le_bytes(bytes).to_f32(), typed)?
        }
        data_type::BFLOAT16 => {
            let typed = tensor
                .int32_data
                .iter()
                .map(low)
                .map(|bits| bf16::from_bits(bits).to_f32());
            floats(dims, raw, |bytes| bf16::from_le_bytes(bytes).to_f32(), typed)?
        }
        data_type::INT64 => ints(dims, raw, i64::from_le_bytes, tensor.int64_data.iter().copied())?,
        data_type::INT32 => {
            let typed = tensor.int32_data.iter().map(|&x| i64::from(x));
            ints(dims, raw, |bytes| i64::from(i32::from_le_bytes(bytes)), typed)?
        }
        data_type::BOOL => {
            let typed = tensor.int32_data.iter().map(|&x| i64::from(x != 0));
            ints(dims, raw, |[byte]| i64::from(byte != 0), typed)?
        }
        other => {
            return Err(Fault::unsupported(
                format!("its element type is {other}"),
                "export the model with f32, f16, bf16, f64, i32, i64 or bool constants (quantised models cannot be pruned)",
            ));
        }
    })
}

fn dims(tensor: &TensorProto) -> Result<Vec<usize>, Fault> {
    let dims: Result<Vec<usize>, _> = tensor.dims.iter().map(|&dim| usize::try_from(dim)).collect();
    dims.map_err(|_| Fault::unreadable(format!("its shape is {:?}", tensor.dims), "export the model again"))
}

fn narrow(bytes: [u8; 8]) -> f32 {
    f64::from_le_bytes(bytes) as f32
}

fn floats<const N: usize>(
    dims: Vec<usize>,
    raw: &[u8],
    decode: impl Fn([u8; N]) -> f32,
    typed: impl ExactSizeIterator<Item = f32>,
) -> Result<Constant, Fault> {
    Ok(Array::new(dims.clone(), elements(&dims, raw, decode, typed)?)?.into())
}

fn ints<const N: usize>(
    dims: Vec<usize>,
    raw: &[u8],
    decode: impl Fn([u8; N]) -> i64,
    typed: impl ExactSizeIterator<Item = i64>,
) -> Result<Constant, Fault> {
    let data = elements(&dims, raw, |bytes| Int::Some(decode(bytes)), typed.map(Int::Some))?;
    Ok(Array::new(dims, data)?.into())
}

/// The elements, from `raw_data` if there is any, and as many as the shape says.
fn elements<T, const N: usize>(
    dims: &[usize],
    raw: &[u8],
    decode: impl Fn([u8; N]) -> T,
    typed: impl ExactSizeIterator<Item = T>,
) -> Result<Vec<T>, Fault> {
    let expected = count(dims)?;
    let (chunks, rest) = raw.as_chunks::<N>();
    let found = if raw.is_empty() { typed.len() } else { chunks.len() };
    if found != expected || !rest.is_empty() {
        let bytes = if raw.is_empty() {
            String::new()
        } else {
            format!(" ({} bytes)", raw.len())
        };
        let problem = format!("its shape {dims:?} needs {expected} elements, it holds {found}{bytes}");
        return Err(Fault::unreadable(
            problem,
            "the file is damaged: export the model again",
        ));
    }
    Ok(if raw.is_empty() {
        typed.collect()
    } else {
        chunks.iter().map(|&bytes| decode(bytes)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(data_type: i32, dims: &[i64], bytes: &[u8]) -> Result<Constant, Fault> {
        let raw_data = bytes.to_vec().into();
        read(&TensorProto {
            dims: dims.to_vec(),
            data_type,
            raw_data,
            ..Default::default()
        })
    }

    fn float_array(dims: &[usize], data: &[f32]) -> Constant {
        Array::new(dims.to_vec(), data.to_vec()).unwrap().into()
    }

    #[test]
    fn every_real_type_becomes_f32() {
        let expected = float_array(&[2], &[1.5, -2.0]);
        let (half, brain) = (
            [f16::from_f32(1.5), f16::from_f32(-2.0)],
            [bf16::from_f32(1.5), bf16::from_f32(-2.0)],
        );
        assert_eq!(
            raw(data_type::FLOAT, &[2], &[1.5f32, -2.0].map(f32::to_le_bytes).concat()),
            Ok(expected.clone())
        );
        assert_eq!(
            raw(data_type::DOUBLE, &[2], &[1.5f64, -2.0].map(f64::to_le_bytes).concat()),
            Ok(expected.clone())
        );
        assert_eq!(
            raw(data_type::FLOAT16, &[2], &half.map(f16::to_le_bytes).concat()),
            Ok(expected.clone())
        );
        assert_eq!(
            raw(data_type::BFLOAT16, &[2], &brain.map(bf16::to_le_bytes).concat()),
            Ok(expected.clone())
        );
        let typed = |data_type| TensorProto {
            dims: vec![2],
            data_type,
            ..Default::default()
        };
        let bits = |x: [u16; 2]| x.map(i32::from).to_vec();
        for tensor in [
            TensorProto {
                float_data: vec![1.5, -2.0],
                ..typed(data_type::FLOAT)
            },
            TensorProto {
                double_data: vec![1.5, -2.0],
                ..typed(data_type::DOUBLE)
            },
            TensorProto {
                int32_data: bits(half.map(f16::to_bits)),
                ..typed(data_type::FLOAT16)
            },
            TensorProto {
                int32_data: bits(brain.map(bf16::to_bits)),
                ..typed(data_type::BFLOAT16)
            },
        ] {
            assert_eq!(read(&tensor), Ok(expected.clone()));
        }
    }

    #[test]
    fn integers_become_i64() {
        let expected = Constant::from(Array::vector(vec![Some(1), Some(0)]));
        assert_eq!(
            raw(data_type::INT64, &[2], &[1i64, 0].map(i64::to_le_bytes).concat()),
            Ok(expected.clone())
        );
        assert_eq!(
            raw(data_type::INT32, &[2], &[1i32, 0].map(i32::to_le_bytes).concat()),
            Ok(expected.clone())
        );
        assert_eq!(raw(data_type::BOOL, &[2], &[7, 0]), Ok(expected));
    }

    #[test]
    fn lengths_are_checked() {
        assert!(raw(data_type::FLOAT, &[2], &[0; 7]).is_err());
        assert!(raw(data_type::FLOAT, &[2], &[0; 12]).is_err());
        assert!(raw(data_type::FLOAT, &[-1], &[0; 4]).is_err());
        assert!(raw(data_type::FLOAT, &[i64::MAX, i64::MAX], &[0; 4]).is_err());
        assert!(raw(data_type::FLOAT, &[1 << 40], &[]).is_err());
        assert_eq!(raw(data_type::FLOAT, &[0], &[]), Ok(float_array(&[0], &[])));
        assert_eq!(raw(data_type::FLOAT, &[], &[0; 4]), Ok(float_array(&[], &[0.0])));
    }

    #[test]
    fn other_types_and_external_data_are_refused() {
        assert!(raw(3, &[1], &[0]).is_err());
        let external = TensorProto {
            data_location: EXTERNAL,
            dims: vec![1],
            data_type: 1,
            ..Default::default()
        };
        assert!(read(&external).is_err());
    }
}
