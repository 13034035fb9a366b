//! Data sets in safetensors files.

use super::archive::Archive;
use super::error::Defect;
use super::tensor::RawTensor;
use ::safetensors::{SafeTensorError, SafeTensors};

/// Opens the content of a safetensors file.
pub(super) fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, Defect> {
    SafeTensors::deserialize(bytes).map_err(unsound)
}

impl Archive for SafeTensors<'_> {
    fn names(&self) -> Vec<String> {
        // They are kept in a hash map; sorting makes the messages repeatable.
        let mut names: Vec<_> = SafeTensors::names(self).into_iter().map(String::from).collect();
        names.sort_unstable();
        names
    }

    fn tensor(&mut self, name: &str) -> Result<RawTensor, Defect> {
        let view = SafeTensors::tensor(self, name).map_err(unsound)?;
        RawTensor::new(view.dtype(), view.shape().to_vec(), view.data().to_vec())
    }
}

fn unsound(error: SafeTensorError) -> Defect {
    Defect::new(
        format!("is not a sound safetensors file ({error})"),
        "fetch or write the file again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::{Dtype, serialize, tensor::TensorView};

    fn file() -> Vec<u8> {
        let images = TensorView::new(Dtype::I8, vec![2, 2], &[1, 2, 0xFF, 4]).unwrap();
        let labels = TensorView::new(Dtype::U8, vec![2], &[1, 0]).unwrap();
        serialize([("x", images), ("y", labels)], None).unwrap()
    }

    #[test]
    fn arrays_are_found_by_name() {
        let bytes = file();
        let mut archive = open(&bytes).unwrap();
        let inputs = archive.inputs(None).unwrap();
        assert_eq!(inputs.to_f32().unwrap(), [1.0, 2.0, -1.0, 4.0]);
        let labels = archive.required_labels(None).unwrap();
        assert_eq!(labels.to_labels().unwrap(), [1, 0]);
        assert!(archive.inputs(Some("z")).is_err());
        assert!(archive.labels(Some("z")).is_err());
    }

    #[test]
    fn truncations_are_refused() {
        let bytes = file();
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_announced_header_beyond_the_file_is_refused() {
        let mut bytes = file();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(open(&bytes).is_err());
    }
}
