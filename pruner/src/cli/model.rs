//! Opening a model, whatever form it has.

use std::path::Path;

use secateur_format::Limits;
use secateur_runtime::{ArenaBuf, LoadError, Model, ModelFile};

use super::error::CliError;
use super::output::Output;
use crate::data::Preprocess;
use crate::emit::{EmitOptions, EncodingChoice, Family, emit};
use crate::source::{self, sct};

/// A model as given, and as it runs.
pub(super) struct Opened {
    /// Its graph, weights decoded.
    pub(super) source: source::Model,
    /// The `.sct` file, if it is one.
    file: Option<ModelFile>,
}

impl Opened {
    pub(super) fn new(path: &Path, out: &Output) -> Result<Self, CliError> {
        if path.extension().is_some_and(|extension| extension == "sct") {
            let file = ModelFile::open(path).map_err(|e| load_error(path, e))?;
            let model = file.model(&Limits::HOST).map_err(|e| load_error(path, e))?;
            let name = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            let (graph, preprocess) = (
                sct::graph(&model).map_err(|e| CliError::unreadable(path, e))?,
                sct::preprocess(&model),
            );
            let source = source::Model {
                name,
                graph,
                preprocess,
                unused: Vec::new(),
            };
            return Ok(Self {
                source,
                file: Some(file),
            });
        }
        let source = source::load(path)?;
        if !source.unused.is_empty() {
            out.warn(&format!(
                "{}: no node uses {}",
                path.display(),
                source.unused.join(", ")
            ));
        }
        Ok(Self { source, file: None })
    }

    /// Whether it is a `.sct` file.
    pub(super) fn is_sct(&self) -> bool {
        self.file.is_some()
    }

    /// The bytes to run: those of the file, or the model with dense weights.
    pub(super) fn runnable(&self) -> Result<Runnable<'_>, CliError> {
        match &self.file {
            Some(file) => Ok(Runnable::Mapped(file)),
            None => self.dense().map(Runnable::Made),
        }
    }

    /// The model with dense f32 weights.
    pub(super) fn dense(&self) -> Result<ArenaBuf, CliError> {
        let options = EmitOptions {
            encoding: EncodingChoice::Only(Family::Dense),
            ..EmitOptions::default()
        };
        Ok(ArenaBuf::copy_of(&emit(&self.source.graph, &options)?.bytes))
    }

    /// The preprocessing: flags, else the data's description, else the model's own, else none.
    pub(super) fn preprocess(&self, flags: Option<Preprocess>, data: Option<Preprocess>) -> Preprocess {
        flags
            .or(data)
            .or_else(|| self.source.preprocess.clone())
            .unwrap_or_default()
    }
}

/// Bytes of a model that can be run.
pub(super) enum Runnable<'o> {
    Mapped(&'o ModelFile),
    Made(ArenaBuf),
}

impl Runnable<'_> {
    pub(super) fn model(&self) -> Result<Model<'_>, CliError> {
        match self {
            Self::Mapped(file) => file.model(&Limits::HOST).map_err(|e| load_error(Path::new("model"), e)),
            Self::Made(bytes) => read(bytes),
        }
    }
}

/// Reads a model made in memory.
pub(super) fn read(bytes: &ArenaBuf) -> Result<Model<'_>, CliError> {
    Model::read(bytes.as_ref(), &Limits::HOST).map_err(|e| CliError::unreadable(Path::new("model"), e))
}

fn load_error(path: &Path, error: LoadError) -> CliError {
    match error {
        LoadError::Io(error) => CliError::io(path, &error),
        error => CliError::unreadable(path, error),
    }
}
