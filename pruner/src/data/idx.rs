//! The idx format of MNIST: a big-endian header, then the values.

use super::error::Defect;
use super::tensor::RawTensor;
use safetensors::Dtype;
use std::path::{Path, PathBuf};

/// Parses an idx file: two zero bytes, a type code, the rank, the sizes, the values.
pub(super) fn parse(bytes: &[u8]) -> Result<RawTensor, Defect> {
    let not_idx = || {
        Defect::new(
            "does not begin with an idx header",
            "give an unpacked or .gz idx file, such as train-images-idx3-ubyte.gz",
        )
    };
    let [0, 0, code, rank, rest @ ..] = bytes else {
        return Err(not_idx());
    };
    let dtype = match code {
        0x08 => Dtype::U8,
        0x09 => Dtype::I8,
        0x0B => Dtype::I16,
        0x0C => Dtype::I32,
        0x0D => Dtype::F32,
        0x0E => Dtype::F64,
        _ => return Err(not_idx()),
    };
    let (sizes, values) = rest.split_at_checked(4 * usize::from(*rank)).ok_or_else(not_idx)?;
    let (sizes, _) = sizes.as_chunks();
    let shape = sizes.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    RawTensor::from_big_endian(dtype, shape, values.to_vec())
}

/// The labels file that belongs to an images file by its name and exists, packed or not.
pub(super) fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    if labels == name {
        return None;
    }
    let other = match labels.strip_suffix(".gz") {
        Some(unpacked) => unpacked.to_owned(),
        None => format!("{labels}.gz"),
    };
    [labels, other]
        .into_iter()
        .map(|name| images.with_file_name(name))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_IMAGES: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 253, 254, 255];

    #[test]
    fn bytes_become_values() {
        let tensor = parse(TWO_IMAGES).unwrap();
        assert_eq!(tensor.shape, [2, 1, 3]);
        assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0, 3.0, 253.0, 254.0, 255.0]);
    }

    #[test]
    fn wide_types_are_big_endian() {
        let tensor = parse(&[0, 0, 0x0B, 1, 0, 0, 0, 2, 0xFF, 0xFE, 1, 0]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [-2.0, 256.0]);
    }

    #[test]
    fn every_truncation_and_a_longer_file_are_refused() {
        for length in 0..TWO_IMAGES.len() {
            assert!(parse(&TWO_IMAGES[..length]).is_err(), "{length} bytes");
        }
        assert!(parse(&[TWO_IMAGES, &[0]].concat()).is_err());
    }

    #[test]
    fn absurd_headers_are_refused() {
        assert!(parse(b"\x01\0\x08\x01\0\0\0\0").is_err());
        assert!(parse(&[0, 0, 7, 1, 0, 0, 0, 0]).is_err());
        let mut huge = vec![0, 0, 8, 255];
        huge.resize(4 + 4 * 255, 0xFF);
        assert!(parse(&huge).is_err());
    }

    #[test]
    fn labels_are_found_by_name_packed_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let images = directory.path().join("t10k-images-idx3-ubyte.gz");
        assert_eq!(labels_beside(&images), None);
        let labels = directory.path().join("t10k-labels-idx1-ubyte");
        std::fs::write(&labels, []).unwrap();
        assert_eq!(labels_beside(&images), Some(labels));
        assert_eq!(labels_beside(&directory.path().join("x.idx")), None);
    }
}
