//! Weights in safetensors files.

use super::error::{Fault, shown};
use super::nearest::suggestion;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeSet;

/// PyTorch stores this counter of batch norms, and nothing at inference needs it.
const COUNTER: &str = "num_batches_tracked";

/// Elements of the largest tensor that a description alone may ask for: 4 GiB of f32.
const MOST_ELEMENTS: usize = 1 << 30;

/// The tensors of a file by name; or, where no file is named, tensors whose values are still to be drawn.
pub(super) struct Weights<'a> {
    file: Option<SafeTensors<'a>>,
    used: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    /// Opens the content of a file.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        let unsound = |error| {
            let problem = format!("not a sound safetensors file ({error})");
            Fault::unreadable(problem, "save the weights again, or copy the file again")
        };
        Ok(Self {
            file: Some(SafeTensors::deserialize(bytes).map_err(unsound)?),
            used: BTreeSet::new(),
        })
    }

    /// No file.
    pub(super) fn undrawn() -> Self {
        Self {
            file: None,
            used: BTreeSet::new(),
        }
    }

    /// Whether there is such a tensor; without a file there is every one.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.file.as_ref().is_none_or(|file| file.tensor(name).is_ok())
    }

    /// Reads a tensor as `f32`: its shape and its elements, all finite. Without a file it has the shape that the
    /// description gives, and zeros.
    pub(super) fn read(&mut self, name: &str, described: Option<&[usize]>) -> Result<(Vec<usize>, Vec<f32>), Fault> {
        let Some(file) = &self.file else {
            return undrawn(name, described);
        };
        let Ok(view) = file.tensor(name) else {
            let names = self.names();
            let near = suggestion(name, names.iter().map(String::as_str));
            let problem = format!("the weights hold no tensor {}{near}", shown(name));
            return Err(Fault::unreadable(
                problem,
                "correct the node's name, or name its tensors with `tensors`",
            ));
        };
        let data = to_f32(view.dtype(), view.data()).ok_or_else(|| {
            let problem = format!("tensor {} has elements of type {:?}", shown(name), view.dtype());
            Fault::unsupported(problem, "save it as F32, F16, BF16 or F64")
        })?;
        check_finite(name, &data)?;
        self.used.insert(name.to_owned());
        Ok((view.shape().to_vec(), data))
    }

    /// The tensors that nobody has read, sorted.
    pub(super) fn unused(&self) -> Vec<String> {
        self.names()
            .into_iter()
            .filter(|name| !self.used.contains(name) && !name.ends_with(COUNTER))
            .collect()
    }

    fn names(&self) -> Vec<String> {
        // The file's names come from a hash map: sorted, messages do not change from run to run.
        let names = self.file.iter().flat_map(SafeTensors::names);
        let mut names: Vec<String> = names.map(String::from).collect();
        names.sort_unstable();
        names
    }
}

fn undrawn(name: &str, described: Option<&[usize]>) -> Result<(Vec<usize>, Vec<f32>), Fault> {
    let shape = described.ok_or_else(|| {
        let problem = format!(
            "no weights file is named, and the size of tensor {} is not given",
            shown(name)
        );
        let remedy = "give `out_channels` and `kernel` of a conv2d, `out_features` of a linear, or name a weights file";
        Fault::unreadable(problem, remedy)
    })?;
    let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    match elements.filter(|&elements| elements <= MOST_ELEMENTS) {
        Some(elements) => Ok((shape.to_vec(), vec![0.0; elements])),
        None => Err(Fault::unsupported(
            format!("tensor {} would have the shape {shape:?}", shown(name)),
            &format!("at most {MOST_ELEMENTS} weights of a layer are supported"),
        )),
    }
}

fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn decode<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| element(chunk)).collect()
    }
    Some(match dtype {
        Dtype::F32 => decode(bytes, f32::from_le_bytes),
        Dtype::F64 => decode(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
        Dtype::F16 => decode(bytes, |chunk| f16::from_le_bytes(chunk).to_f32()),
        Dtype::BF16 => decode(bytes, |chunk| bf16::from_le_bytes(chunk).to_f32()),
        _ => return None,
    })
}

/// Refuses infinities and NaN: they would spread through every measurement.
pub(super) fn check_finite(name: &str, data: &[f32]) -> Result<(), Fault> {
    match data.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let value = data.get(index).copied().unwrap_or(f32::NAN);
            let problem = format!("element {index} of tensor {} is {value}", shown(name));
            Err(Fault::unreadable(
                problem,
                "train or export the model again: weights must be finite f32 numbers",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::{serialize, tensor::TensorView};

    fn file(dtype: Dtype, data: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, vec![2], data).unwrap();
        let counter = TensorView::new(Dtype::I64, vec![], &[0; 8]).unwrap();
        serialize([("a.weight", view), ("a.num_batches_tracked", counter)], None).unwrap()
    }

    #[test]
    fn every_real_type_becomes_f32() {
        for (dtype, data) in [
            (Dtype::F32, [1.5f32, -2.0].map(f32::to_le_bytes).concat()),
            (Dtype::F64, [1.5f64, -2.0].map(f64::to_le_bytes).concat()),
            (
                Dtype::F16,
                [1.5f32, -2.0].map(|x| f16::from_f32(x).to_le_bytes()).concat(),
            ),
            (
                Dtype::BF16,
                [1.5f32, -2.0].map(|x| bf16::from_f32(x).to_le_bytes()).concat(),
            ),
        ] {
            let bytes = file(dtype, &data);
            let mut weights = Weights::open(&bytes).unwrap();
            assert_eq!(weights.unused(), ["a.weight"]);
            assert_eq!(weights.read("a.weight", None), Ok((vec![2], vec![1.5, -2.0])));
            assert!(weights.unused().is_empty());
        }
        let bytes = file(Dtype::I16, &[0; 4]);
        assert!(Weights::open(&bytes).unwrap().read("a.weight", None).is_err());
    }

    #[test]
    fn missing_tensors_come_with_a_suggestion() {
        let bytes = file(Dtype::F32, &[0; 8]);
        let fault = Weights::open(&bytes).unwrap().read("a.wieght", None).unwrap_err();
        assert!(format!("{fault:?}").contains("did you mean `a.weight`?"), "{fault:?}");
    }

    #[test]
    fn weights_that_are_not_finite_are_refused() {
        let bytes = file(Dtype::F32, &[1.0f32, f32::NAN].map(f32::to_le_bytes).concat());
        let fault = Weights::open(&bytes).unwrap().read("a.weight", None).unwrap_err();
        assert!(
            format!("{fault:?}").contains("element 1 of tensor `a.weight` is NaN"),
            "{fault:?}"
        );
    }

    #[test]
    fn damaged_files_are_refused_or_read() {
        let bytes = file(Dtype::F32, &[0; 8]);
        for length in 0..bytes.len() {
            assert!(Weights::open(&bytes[..length]).is_err(), "{length} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(mut weights) = Weights::open(&bytes) {
                let _ = weights.read("a.weight", None);
            }
        }
    }
}
