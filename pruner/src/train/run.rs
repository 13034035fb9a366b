//! The folder of a training: what is needed to look at it, to continue it, and to use its result.
//!
//! | file | content |
//! |---|---|
//! | `run.json` | the [`Setup`] |
//! | `inputs.json` | digests of data and teacher |
//! | `model.toml`, `model.safetensors` | the model: before the training its first weights, then the last |
//! | `checkpoint.safetensors` | the [`State`](super::State) after the last epoch, or where it was interrupted |
//! | `metrics.jsonl` | one line per epoch |

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::checkpoint::CheckpointError;
use super::state::State;
use super::trainer::Plan;
use crate::data::Preprocess;
use crate::digest::{DigestError, Digests};
use crate::save::{Overwrite, write_file};
use crate::source::{self, Model, SourceError};

const SETUP: &str = "run.json";
const INPUTS: &str = "inputs.json";
const DESCRIPTION: &str = "model.toml";
const WEIGHTS: &str = "model.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const METRICS: &str = "metrics.jsonl";

/// All that decides the result of a training, but for the model in the same folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The data to train on.
    pub data: PathBuf,
    /// The data to measure accuracy on.
    pub test: Option<PathBuf>,
    /// How samples become inputs.
    pub preprocess: Preprocess,
    /// The model to learn from.
    pub teacher: Option<PathBuf>,
    /// How to train.
    pub plan: Plan,
}

/// Why a run cannot be begun or continued.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is one already.
    #[error("{} holds a run already: continue it with --resume, or give another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// `run.json` is no setup.
    #[error("{}: {problem}; begin again in another folder", path.display())]
    Setup {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] SourceError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The folder of a training.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    metrics: Vec<Value>,
}

impl Run {
    /// Begins a run with a model in its first state; returns the model as the folder holds it, which
    /// is how every continuation will see it.
    ///
    /// # Errors
    /// A [`RunError`].
    pub fn create(folder: &Path, setup: &Setup, model: &Model) -> Result<(Self, Model), RunError> {
        let path = folder.join(SETUP);
        if path.exists() {
            return Err(RunError::Exists { path: folder.into() });
        }
        std::fs::create_dir_all(folder).map_err(|error| io_error(folder, "write", error))?;
        let run = Self {
            folder: folder.into(),
            metrics: Vec::new(),
        };
        run.write_model(model)?;
        // Last: a folder with a setup is a run.
        let text = serde_json::to_vec_pretty(setup).map_err(|error| io_error(&path, "write", error.into()))?;
        run.write(SETUP, &text)?;
        let model = source::load(&folder.join(DESCRIPTION))?;
        Ok((run, model))
    }

    /// Opens a run to continue it from its checkpoint, or else from its beginning.
    ///
    /// # Errors
    /// A [`RunError`].
    pub fn open(folder: &Path) -> Result<(Self, Setup, Model, State), RunError> {
        let path = folder.join(SETUP);
        let text = std::fs::read(&path).map_err(|error| io_error(&path, "read", error))?;
        let setup: Setup = serde_json::from_slice(&text).map_err(|error| RunError::Setup {
            path,
            problem: error.to_string(),
        })?;
        let model = source::load(&folder.join(DESCRIPTION))?;
        let checkpoint = folder.join(CHECKPOINT);
        let state = if checkpoint.exists() {
            State::load(&checkpoint, model.graph.clone())?
        } else {
            State::new(model.graph.clone()).map_err(|error| RunError::Setup {
                path: folder.join(DESCRIPTION),
                problem: error.to_string(),
            })?
        };
        let mut run = Self {
            folder: folder.into(),
            metrics: Vec::new(),
        };
        if let Ok(text) = std::fs::read_to_string(folder.join(METRICS)) {
            run.metrics = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
        }
        Ok((run, setup, model, state))
    }

    /// The lines of `metrics.jsonl`.
    pub fn metrics(&self) -> &[Value] {
        &self.metrics
    }

    /// Drops the lines of epochs after `epochs`: those that were done after the checkpoint.
    pub fn keep_epochs(&mut self, epochs: u64) {
        let done = |line: &Value| line["epoch"].as_u64().is_some_and(|epoch| epoch <= epochs);
        self.metrics.retain(done);
    }

    /// Keeps what the run reads besides its folder, or finds that it is not what it was.
    ///
    /// # Errors
    /// A [`DigestError`].
    pub fn keep_inputs(&self, digests: &Digests) -> Result<(), DigestError> {
        digests.keep(&self.folder.join(INPUTS))
    }

    /// Adds a line and saves the state, after an epoch.
    ///
    /// # Errors
    /// A [`CheckpointError`].
    pub fn finish_epoch(&mut self, line: Value, state: &State) -> Result<(), CheckpointError> {
        self.metrics.push(line);
        let lines: String = self.metrics.iter().map(|line| format!("{line}\n")).collect();
        // Before the state: a line too many is dropped when the run continues.
        self.write(METRICS, lines.as_bytes())?;
        self.save(state)
    }

    /// Saves the state.
    ///
    /// # Errors
    /// A [`CheckpointError`].
    pub fn save(&self, state: &State) -> Result<(), CheckpointError> {
        state.save(&self.folder.join(CHECKPOINT))
    }

    /// Writes the model with its weights of now.
    ///
    /// # Errors
    /// A [`CheckpointError`].
    pub fn write_model(&self, model: &Model) -> Result<(), CheckpointError> {
        let written = source::write(model, WEIGHTS)
            .map_err(|error| io_error(&self.folder.join(WEIGHTS), "write", io::Error::other(error)))?;
        self.write(WEIGHTS, &written.weights)?;
        self.write(DESCRIPTION, written.text.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let path = self.folder.join(name);
        write_file(&path, bytes, Overwrite::Replace).map_err(|error| io_error(&path, "write", error))
    }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.into(),
        action,
        source,
    }
}
