//! NumPy's `.npy` files.

use super::error::{DataError, Defect};
use super::file;
use super::tensor::RawTensor;
use crate::save::{Overwrite, write_file};
use ndarray::{ArrayViewD, IxDyn};
use ndarray_npy::WriteNpyExt;
use ndarray_npy::npy::header::Header;
use safetensors::Dtype;
use std::io;
use std::path::Path;

/// Longest header, in bytes; NumPy's own limit.
const MAX_HEADER: usize = 10_000;

/// Reads an array of any real numeric type as its shape and its values in row-major order.
///
/// # Errors
///
/// `Io` when the file cannot be read; `Invalid` when it is not a sound `.npy` file, its values
/// are not real numbers, or it takes more than 4 GiB.
pub fn read_f32(path: &Path) -> Result<(Vec<usize>, Vec<f32>), DataError> {
    let bytes = file::read(path)?;
    let tensor = parse(&bytes).map_err(|defect| defect.in_file(path))?;
    let values = tensor.to_f32().map_err(|defect| defect.in_file(path))?;
    Ok((tensor.shape, values))
}

/// Writes `data`, the values of an array of this `shape` in row-major order, as float32.
///
/// The file appears whole or not at all, see [`write_file`].
///
/// # Errors
///
/// `Io` when the file cannot be written; `Invalid` when `shape` does not fit `data`.
pub fn write_f32(path: &Path, shape: &[usize], data: &[f32], overwrite: Overwrite) -> Result<(), DataError> {
    let array = ArrayViewD::from_shape(IxDyn(shape), data).map_err(|error| {
        Defect::new(
            format!("{} values do not have shape {shape:?} ({error})", data.len()),
            "pass the shape of the array",
        )
        .in_file(path)
    })?;
    let mut bytes = Vec::new();
    let written = array.write_npy(&mut bytes).map_err(io::Error::other);
    written
        .and_then(|()| write_file(path, &bytes, overwrite))
        .map_err(|source| DataError::Io {
            path: path.to_owned(),
            action: "write",
            source,
        })
}

/// Parses the content of a `.npy` file.
pub(super) fn parse(bytes: &[u8]) -> Result<RawTensor, Defect> {
    check_header(bytes)?;
    let mut rest = bytes;
    let header = Header::from_reader(&mut rest).map_err(|error| unsound(&error.to_string()))?;
    let (dtype, big_endian) = header
        .type_descriptor
        .as_string()
        .and_then(|descriptor| parse_dtype(descriptor))
        .ok_or_else(|| {
            Defect::new(
                format!("holds values of the type {}", header.type_descriptor),
                "store them as float32, float64, int8, uint8, int32 or int64",
            )
        })?;
    let shape = header.shape;
    let data = if header.layout.is_fortran() {
        row_major(&shape, dtype.bitsize() / 8, rest)?
    } else {
        rest.to_vec()
    };
    if big_endian {
        RawTensor::from_big_endian(dtype, shape, data)
    } else {
        RawTensor::new(dtype, shape, data)
    }
}

/// Lets through only headers as NumPy writes them for plain arrays.
///
/// The parser reads any Python literal. On a hostile one it would take the announced memory,
/// exponential time (nested brackets) or panic (arithmetic); a plain header is one dict with one
/// tuple in it and has no need of any of that.
fn check_header(bytes: &[u8]) -> Result<(), Defect> {
    let field = |range| bytes.get(range).unwrap_or_default();
    // The length is 2 bytes wide in version 1 of the format and 4 in the later ones.
    let (start, length) = match (bytes.get(6), field(8..10), field(8..12)) {
        (Some(1), &[a, b], _) => (10, usize::from(u16::from_le_bytes([a, b]))),
        (Some(2 | 3), _, &[a, b, c, d]) => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return Err(unsound("it has no .npy header")),
    };
    if length > MAX_HEADER {
        return Err(unsound("its header is too long"));
    }
    let header = field(start..start + length);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" \n'\"_:,(){}<>|=".contains(byte);
    let brackets = header.iter().filter(|byte| b"({".contains(byte)).count();
    if !header.iter().all(plain) || brackets > 2 {
        return Err(Defect::new(
            "is not a plain array of numbers",
            "store plain arrays, without fields, objects or dates",
        ));
    }
    Ok(())
}

/// The type of a NumPy descriptor such as `<f4`, and whether it is big-endian.
fn parse_dtype(descriptor: &str) -> Option<(Dtype, bool)> {
    let (order, kind) = descriptor.split_at_checked(1)?;
    let dtype = match kind {
        "b1" => Dtype::BOOL,
        "u1" => Dtype::U8,
        "i1" => Dtype::I8,
        "u2" => Dtype::U16,
        "i2" => Dtype::I16,
        "u4" => Dtype::U32,
        "i4" => Dtype::I32,
        "u8" => Dtype::U64,
        "i8" => Dtype::I64,
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        _ => return None,
    };
    Some((dtype, order == ">"))
}

/// Turns the bytes of a column-major array (`fortran_order`) into row-major order.
fn row_major(shape: &[usize], size: usize, data: &[u8]) -> Result<Vec<u8>, Defect> {
    // Column-major is row-major with the axes reversed; the bytes of a value are the last axis.
    let stored: Vec<_> = shape.iter().rev().copied().chain([size]).collect();
    let axes: Vec<_> = (0..shape.len()).rev().chain([shape.len()]).collect();
    let array = ArrayViewD::from_shape(IxDyn(&stored), data).map_err(|error| unsound(&error.to_string()))?;
    Ok(array.permuted_axes(IxDyn(&axes)).iter().copied().collect())
}

fn unsound(problem: &str) -> Defect {
    Defect::new(
        format!("is not a sound .npy file ({problem})"),
        "write it again with numpy.save",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ShapeBuilder, array};

    fn npy(array: &impl WriteNpyExt) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }

    fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes());
        let mut bytes = bytes.to_vec();
        bytes[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
        bytes
    }

    #[test]
    fn both_byte_orders_and_both_layouts_are_read() {
        let tensor = parse(&npy(&array![[1_i32, 2, 3], [4, 5, -6]])).unwrap();
        assert_eq!(tensor.shape, [2, 3]);
        assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, -6.0]);
        let big_endian = replaced(&npy(&array![256_i32]), "<i4", ">i4");
        assert_eq!(parse(&big_endian).unwrap().to_f32().unwrap(), [65536.0]);
        let columns = vec![1.0_f64, 4.0, 2.0, 5.0, 3.0, 6.0];
        let fortran = Array2::from_shape_vec((2, 3).f(), columns).unwrap();
        let tensor = parse(&npy(&fortran)).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn truncations_and_flipped_bytes_do_not_panic() {
        for bytes in [npy(&array![[1.0_f32, 2.0]]), npy(&array![1_u8].t())] {
            for length in 0..bytes.len() {
                assert!(parse(&bytes[..length]).is_err(), "{length} bytes");
            }
            for i in 0..bytes.len() {
                for value in [0, b'9', b'(', b'{', b'\\', 0xFF] {
                    let mut bytes = bytes.clone();
                    bytes[i] = value;
                    _ = parse(&bytes);
                }
            }
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        let with_header = |text: &str| {
            let length = u16::try_from(text.len()).unwrap().to_le_bytes();
            let bytes = [b"\x93NUMPY\x01\0", &length[..], text.as_bytes()].concat();
            parse(&bytes).map(drop).unwrap_err()
        };
        let shaped = |shape: &str| {
            with_header(&format!(
                "{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"
            ))
        };
        shaped("(18446744073709551615, 18446744073709551615)");
        shaped("(99999999999999999999999999,)");
        shaped("(-1,)");
        shaped("(1e400+1,)");
        let column_major = "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 99999999999, 99999999999)}\n";
        with_header(column_major);
        with_header(&"{".repeat(9_000));
        with_header(&"(".repeat(60_000));
        assert!(parse(b"\x93NUMPY\x02\0\xFF\xFF\xFF\xFF{").is_err());
        let object = replaced(&npy(&array![1_i32]), "<i4", "|O4");
        let error = parse(&object).unwrap_err();
        assert!(error.problem.contains("|O4"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("y.npy");
        for shape in [vec![2, 1], vec![2], vec![1, 2, 1]] {
            write_f32(&path, &shape, &[0.5, f32::INFINITY], Overwrite::Replace).unwrap();
            assert_eq!(read_f32(&path).unwrap(), (shape, vec![0.5, f32::INFINITY]));
        }
        write_f32(&path, &[0, 3], &[], Overwrite::Replace).unwrap();
        assert_eq!(read_f32(&path).unwrap(), (vec![0, 3], vec![]));
        let wrong = write_f32(&path, &[3], &[0.0], Overwrite::Replace).unwrap_err();
        assert!(matches!(wrong, DataError::Invalid { .. }), "{wrong}");
        let nowhere = directory.path().join("none/y.npy");
        for (path, overwrite) in [(&nowhere, Overwrite::Replace), (&path, Overwrite::Keep)] {
            let error = write_f32(path, &[1], &[0.0], overwrite).unwrap_err();
            assert!(matches!(error, DataError::Io { .. }), "{error}");
        }
        assert_eq!(read_f32(&path).unwrap(), (vec![0, 3], vec![]));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
