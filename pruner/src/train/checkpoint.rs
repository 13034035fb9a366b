//! A [`State`] as a safetensors file, written whole or not at all, read back bit for bit.

use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use secateur_format::graph::Graph;
use thiserror::Error;

use super::equalize::Equalizer;
use super::loss::Sums;
use super::state::{Position, State};
use crate::save::{Overwrite, write_file};

/// The numbers that are no weights: updates, step, seen, correct and the bits of the loss.
const NUMBERS: &str = "numbers.1";

/// What is known of the losses of classes, if they are made equal.
const CLASSES: &str = "classes";
/// Before the names of what methods keep.
const MEMORY: &str = "memory.";

/// Why a checkpoint cannot be written or read.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `"read"` or `"write"`.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file is damaged, or belongs to another model.
    #[error("{}: {problem}; continue from another checkpoint, or begin again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl State {
    /// Writes the state to a file, which is replaced if it exists.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; what was there before is then still there.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let written = self
            .to_bytes()
            .and_then(|bytes| write_file(path, &bytes, Overwrite::Replace));
        written.map_err(|source| CheckpointError::Io {
            path: path.to_owned(),
            action: "write",
            source,
        })
    }

    /// The state of a file, for the graph it was saved with (or one of the same constants).
    ///
    /// # Errors
    /// A [`CheckpointError`].
    pub fn load(path: &Path, graph: Graph) -> Result<Self, CheckpointError> {
        let bytes = std::fs::read(path).map_err(|source| CheckpointError::Io {
            path: path.to_owned(),
            action: "read",
            source,
        })?;
        Self::from_bytes(&bytes, graph).map_err(|problem| CheckpointError::Unreadable {
            path: path.to_owned(),
            problem,
        })
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut parts: Vec<(String, Dtype, Vec<u8>)> = Vec::new();
        for (index, tensor) in self.graph.tensors.iter().enumerate() {
            let mut floats = |part: &str, values: &[f32]| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                parts.push((format!("{index}.{part}"), Dtype::F32, bytes));
            };
            floats("value", &tensor.data);
            floats("first", &self.slots[0][index]);
            floats("second", &self.slots[1][index]);
            if let Some(mask) = &self.masks[index] {
                let bytes = mask.iter().map(|&keep| u8::from(keep)).collect();
                parts.push((format!("{index}.mask"), Dtype::BOOL, bytes));
            }
        }
        for (name, values) in &self.memory {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            parts.push((format!("{MEMORY}{name}"), Dtype::F32, bytes));
        }
        let Position { step, epoch } = self.position;
        let numbers = [self.updates, step, epoch.seen, epoch.correct, epoch.loss.to_bits()];
        parts.push((
            NUMBERS.into(),
            Dtype::U64,
            numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        ));
        let classes = self.equalizer.to_numbers();
        if !classes.is_empty() {
            let bytes = classes.iter().flat_map(|n| n.to_le_bytes()).collect();
            parts.push((CLASSES.into(), Dtype::F64, bytes));
        }
        let views = parts.iter().map(|(name, dtype, bytes)| {
            let len = bytes.len() * 8 / dtype.bitsize();
            Ok((
                name.as_str(),
                TensorView::new(*dtype, vec![len], bytes).map_err(io::Error::other)?,
            ))
        });
        serialize(views.collect::<io::Result<Vec<_>>>()?, None).map_err(io::Error::other)
    }

    fn from_bytes(bytes: &[u8], graph: Graph) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| format!("not a sound checkpoint ({error})"))?;
        let read = |name: &str, dtype: Dtype| match file.tensor(name) {
            Ok(view) if view.dtype() == dtype => Ok(view.data()),
            _ => Err(format!("it holds no `{name}`")),
        };
        let floats = |name: &str| -> Result<Vec<f32>, String> {
            let bytes = read(name, Dtype::F32)?;
            Ok(bytes
                .as_chunks()
                .0
                .iter()
                .map(|&chunk| f32::from_le_bytes(chunk))
                .collect())
        };
        let mut state = Self::new(graph).map_err(|error| error.to_string())?;
        for index in 0..state.graph.tensors.len() {
            let values = floats(&format!("{index}.value"))?;
            let len = values.len();
            let tensor = &mut state.graph.tensors[index];
            let belongs = || format!("constant `{}` has another size in it", tensor.name);
            if len != tensor.data.len() {
                return Err(belongs());
            }
            for (slots, part) in state.slots.iter_mut().zip(["first", "second"]) {
                slots[index] = floats(&format!("{index}.{part}"))?;
                if ![0, len].contains(&slots[index].len()) {
                    return Err(belongs());
                }
            }
            let mask = format!("{index}.mask");
            if file.tensor(&mask).is_ok() {
                let mask: Vec<bool> = read(&mask, Dtype::BOOL)?.iter().map(|&byte| byte != 0).collect();
                if mask.len() != len {
                    return Err(belongs());
                }
                state.masks[index] = Some(mask);
            }
            tensor.data = values;
        }
        for name in file.names() {
            if let Some(own) = name.strip_prefix(MEMORY) {
                state.memory.insert(own.to_owned(), floats(name)?);
            }
        }
        let numbers: Vec<u64> = {
            let chunks = read(NUMBERS, Dtype::U64)?.as_chunks().0;
            chunks.iter().map(|&chunk| u64::from_le_bytes(chunk)).collect()
        };
        let &[updates, step, seen, correct, loss] = numbers.as_slice() else {
            return Err(format!("`{NUMBERS}` has {} numbers", numbers.len()));
        };
        if file.tensor(CLASSES).is_ok() {
            let chunks = read(CLASSES, Dtype::F64)?.as_chunks().0;
            let classes: Vec<f64> = chunks.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect();
            state.equalizer = Equalizer::from_numbers(&classes);
        }
        state.updates = updates;
        state.position = Position {
            step,
            epoch: Sums {
                seen,
                correct,
                loss: f64::from_bits(loss),
            },
        };
        Ok(state)
    }
}
