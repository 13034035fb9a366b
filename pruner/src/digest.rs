//! Digests of what results are made of: the same samples or weights have the same digest, whatever files hold them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data::{Dataset, Preprocess};
use crate::save::{Overwrite, write_file};
use crate::source::{self, Model};

/// BLAKE3 digests in hexadecimal, by what the user calls each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digests(BTreeMap<String, String>);

/// Why a result cannot be gone on with.
#[derive(Debug, Error)]
pub enum DigestError {
    /// Something is not what it was.
    #[error("{name} is not what it was when {} was written: put it back, or begin again elsewhere", record.display())]
    Changed {
        /// What the user calls it.
        name: String,
        /// The file that tells.
        record: PathBuf,
    },
    /// The file that tells is no such file.
    #[error("{} holds no digests ({problem}): begin again elsewhere", record.display())]
    Unreadable {
        /// The file.
        record: PathBuf,
        /// What is wrong.
        problem: serde_json::Error,
    },
    /// It cannot be read or written.
    #[error("cannot {action} {}: {source}", record.display())]
    Io {
        /// The file.
        record: PathBuf,
        /// `"read"` or `"write"`.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl Digests {
    /// Adds samples with their labels, as they are before preprocessing.
    pub fn samples(&mut self, name: &str, dataset: &Dataset) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}", dataset.sample_shape()).as_bytes());
        let mut bytes = Vec::new();
        for index in 0..dataset.len() {
            bytes.clear();
            bytes.extend(dataset.input(index).iter().flat_map(|x| x.to_le_bytes()));
            hasher.update(&bytes);
        }
        for label in dataset.labels().unwrap_or_default() {
            hasher.update(&label.to_le_bytes());
        }
        self.add(name, &hasher);
    }

    /// Adds numbers, one per sample.
    pub fn scores(&mut self, name: &str, scores: &[f32]) {
        let mut hasher = blake3::Hasher::new();
        scores.iter().for_each(|score| {
            hasher.update(&score.to_le_bytes());
        });
        self.add(name, &hasher);
    }

    /// Adds a network with its weights.
    ///
    /// # Errors
    /// As [`source::write`].
    pub fn model(&mut self, name: &str, model: &Model) -> Result<(), SafeTensorError> {
        // Neither what it is called nor how samples become its inputs.
        let bare = Model {
            name: String::new(),
            graph: model.graph.clone(),
            preprocess: None,
            unused: Vec::new(),
        };
        let written = source::write(&bare, "")?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(written.text.as_bytes()).update(&written.weights);
        self.add(name, &hasher);
        Ok(())
    }

    /// Adds how samples become inputs.
    pub fn preprocessing(&mut self, preprocess: &Preprocess) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{preprocess:?}").as_bytes());
        self.add("the preprocessing", &hasher);
    }

    fn add(&mut self, name: &str, hasher: &blake3::Hasher) {
        self.0.insert(name.to_owned(), hasher.finalize().to_hex().to_string());
    }

    /// Compares with earlier ones, which `record` holds. What only one of the two knows is no difference.
    ///
    /// # Errors
    /// [`DigestError::Changed`].
    pub fn check(&self, earlier: &Self, record: &Path) -> Result<(), DigestError> {
        let differs = |(name, digest): &(&String, &String)| earlier.0.get(*name).is_some_and(|was| was != *digest);
        match self.0.iter().find(differs) {
            Some((name, _)) => Err(DigestError::Changed {
                name: name.clone(),
                record: record.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Writes the digests to `record`; if there is one, [compares](Self::check) with it.
    ///
    /// # Errors
    /// A [`DigestError`].
    pub fn keep(&self, record: &Path) -> Result<(), DigestError> {
        let io = |action| {
            move |source| DigestError::Io {
                record: record.to_owned(),
                action,
                source,
            }
        };
        if !record.exists() {
            let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
            return write_file(record, text.as_bytes(), Overwrite::Replace).map_err(io("write"));
        }
        let text = std::fs::read(record).map_err(io("read"))?;
        let earlier = serde_json::from_slice(&text).map_err(|problem| DigestError::Unreadable {
            record: record.to_owned(),
            problem,
        })?;
        self.check(&earlier, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inputs: &[f32], shape: &[usize], labels: Option<&[u32]>) -> Digests {
        let dataset = Dataset::new(inputs.to_vec(), shape.to_vec(), labels.map(<[u32]>::to_vec)).unwrap();
        let mut digests = Digests::default();
        digests.samples("d", &dataset);
        digests
    }

    #[test]
    fn every_part_of_the_samples_counts() {
        let plain = of(&[1.0, 2.0, 3.0, 4.0], &[2], Some(&[0, 1]));
        assert_eq!(plain, of(&[1.0, 2.0, 3.0, 4.0], &[2], Some(&[0, 1])));
        for other in [
            of(&[1.0, 2.0, 3.0, 4.5], &[2], Some(&[0, 1])),
            of(&[1.0, 2.0, 3.0, 4.0], &[2], Some(&[0, 2])),
            of(&[1.0, 2.0, 3.0, 4.0], &[2], None),
            of(&[1.0, 2.0, 3.0, 4.0], &[1, 2], Some(&[0, 1])),
        ] {
            let error = other.check(&plain, Path::new("record")).unwrap_err().to_string();
            assert!(error.starts_with("d is not what it was when record"), "{error}");
        }
    }
}
