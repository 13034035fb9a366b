//! Opening a model, whatever form it has.

use std::path::{Path, PathBuf};

use secateur_format::container::MAGIC;
use secateur_format::encoding::ValueType;
use secateur_format::graph::Graph;
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Limits, Shape};
use secateur_runtime::{ArenaBuf, LoadError, Model, ModelFile};

use super::error::CliError;
use super::output::Output;
use crate::data::{Dataset, Preprocess};
use crate::emit::{EmitError, EmitOptions, EncodingChoice, Family, emit, write};
use crate::lower::lower;
use crate::source::{self, sct};
use crate::train::{Init, zoo};

/// A model as given, and as it runs.
pub(super) struct Opened {
    /// Its graph, weights decoded.
    pub(super) source: source::Model,
    /// The `.sct` file, if it is one.
    file: Option<ModelFile>,
    path: PathBuf,
}

impl Opened {
    pub(super) fn new(path: &Path, out: &Output) -> Result<Self, CliError> {
        if !is_sct(path) {
            let source = source::load(path)?;
            if !source.unused.is_empty() {
                out.warn(&format!(
                    "{}: no node uses {}",
                    path.display(),
                    source.unused.join(", ")
                ));
            }
            return Ok(Self {
                source,
                file: None,
                path: path.to_owned(),
            });
        }
        let file = ModelFile::read(path).map_err(|e| load_error(path, e))?;
        let model = file.model(&Limits::HOST).map_err(|e| load_error(path, e))?;
        let source = source::Model {
            name: path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default(),
            graph: sct::graph(&model).map_err(|e| CliError::unreadable(path, e))?,
            preprocess: sct::preprocess(&model),
            unused: Vec::new(),
        };
        Ok(Self {
            source,
            file: Some(file),
            path: path.to_owned(),
        })
    }

    /// The `.sct` file, if it is one.
    pub(super) fn sct(&self) -> Result<Option<Model<'_>>, CliError> {
        match &self.file {
            Some(file) => Ok(Some(file.model(&Limits::HOST).map_err(|e| load_error(&self.path, e))?)),
            None => Ok(None),
        }
    }

    /// The bytes of the `.sct` file; none if it is no such file.
    pub(super) fn bytes(&self) -> &[u8] {
        self.file.as_ref().map_or(&[], ModelFile::bytes)
    }

    /// The bytes to run: those of the file, or the model written with `options`.
    pub(super) fn runnable(&self, options: &EmitOptions) -> Result<Runnable<'_>, CliError> {
        match &self.file {
            Some(file) => Ok(Runnable::File(file)),
            None => Ok(Runnable::Made(ArenaBuf::copy_of(
                &emit(&self.source.graph, options)?.bytes,
            ))),
        }
    }

    /// A graph of this model, with the weights it has or others, written as the model is. Not
    /// checked: for measurements.
    pub(super) fn unchecked(&self, graph: &Graph, encoding: EncodingChoice) -> Result<ArenaBuf, CliError> {
        let options = EmitOptions {
            encoding,
            ..EmitOptions::default()
        };
        let written = match self.sct()? {
            // Node by node the same: nothing is lowered that the file runs as it is.
            Some(model) => {
                let options = EmitOptions {
                    values: value_type(&model),
                    plan: plan_options(&model),
                    ..options
                };
                write(graph, &options)?
            }
            None => write(&lower(graph).map_err(EmitError::from)?, &options)?,
        };
        Ok(ArenaBuf::copy_of(&written.bytes))
    }

    /// The type of the stored weights.
    pub(super) fn values(&self) -> Result<ValueType, CliError> {
        Ok(self.sct()?.map_or(ValueType::F32, |model| value_type(&model)))
    }

    /// The preprocessing: flags, else the data's description, else the model's own, else none.
    ///
    /// Flags are checked against the model's input here, where it is known that they are flags.
    pub(super) fn preprocess(
        &self,
        flags: Option<Preprocess>,
        data: Option<Preprocess>,
    ) -> Result<Preprocess, CliError> {
        if let (Some(flags), Some(input)) = (&flags, self.source.graph.inputs.first()) {
            let misfit = |defect| CliError::usage(format!("--scale, --mean, --std: {defect}"));
            flags.validate(input.shape.padded_dims()[0] as usize).map_err(misfit)?;
        }
        Ok(flags
            .or(data)
            .or_else(|| self.source.preprocess.clone())
            .unwrap_or_default())
    }
}

/// What a network has to fit: the shape of a sample, and how many classes there are.
pub(super) fn fit(dataset: &Dataset) -> (Vec<u32>, u32) {
    let labels = dataset.labels().unwrap_or_default();
    let highest = labels.iter().max().map_or(1, |&label| label + 1);
    let dims = dataset.sample_shape().iter().map(|&dim| dim as u32);
    (dims.collect(), highest.max(dataset.class_names().len() as u32))
}

/// The network of that name, or of a description without weights, with fresh ones; or else the model of that file.
/// Networks by name are made to [`fit`].
pub(super) fn network_or_file(
    name: &str,
    init: Option<Init>,
    seed: u64,
    fit: impl FnOnce() -> Result<(Vec<u32>, u32), CliError>,
    out: &Output,
) -> Result<source::Model, CliError> {
    let path = Path::new(name);
    let Some(network) = zoo::find(name) else {
        if !path.exists() {
            let names: Vec<&str> = zoo::NETWORKS.iter().map(|network| network.name).collect();
            return Err(CliError::usage(format!(
                "`{name}` is neither a file nor a network{}; the networks are {}",
                zoo::near(name),
                names.join(", ")
            )));
        }
        let untrained = source::untrained(path)?;
        let init = init.or(untrained.as_ref().map(|_| Init::default()));
        let mut model = match untrained {
            Some(model) => model,
            None => Opened::new(path, out)?.source,
        };
        if let Some(init) = init {
            init.apply(&mut model.graph, seed);
        }
        return Ok(model);
    };
    let (dims, classes) = fit()?;
    let misfit = |error| CliError::usage(format!("{name} does not fit samples of shape {dims:?}: {error}"));
    let input = Shape::new(&dims).map_err(misfit)?;
    let graph = network.build(input, classes, init.unwrap_or(network.init), seed);
    Ok(source::Model {
        name: name.to_owned(),
        graph: graph.map_err(misfit)?,
        preprocess: None,
        unused: Vec::new(),
    })
}

/// All weights dense, in f32.
pub(super) fn dense_options() -> EmitOptions {
    EmitOptions {
        encoding: EncodingChoice::Only(Family::Dense),
        ..EmitOptions::default()
    }
}

/// The options that a file's plan was made with.
pub(super) fn plan_options(model: &Model<'_>) -> PlanOptions {
    let packed = (0..model.node_count()).any(|node| model.plan().scratch(node).bytes() > 0);
    let scratch = if packed { Scratch::Packed } else { Scratch::None };
    PlanOptions {
        scratch,
        align: model.plan().align(),
    }
}

/// The value type of a file's first weight matrix: the tool writes one type per file.
fn value_type(model: &Model<'_>) -> ValueType {
    let first = model.nodes().find_map(|node| model.tensor(node.op.weight()?));
    first.map_or(ValueType::F32, |(desc, _)| desc.values)
}

/// By content, else by name, so that a damaged file is refused as what it was.
fn is_sct(path: &Path) -> bool {
    let named = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("sct"));
    let starts_so = || {
        let mut start = [0; MAGIC.len()];
        let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
        read.is_ok() && start == MAGIC
    };
    // A pipe would lose what is looked at.
    named || (path.is_file() && starts_so())
}

/// Bytes of a model that can be run.
pub(super) enum Runnable<'o> {
    File(&'o ModelFile),
    Made(ArenaBuf),
}

impl Runnable<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(file) => file.bytes(),
            Self::Made(bytes) => bytes.as_ref(),
        }
    }

    pub(super) fn model(&self, path: &Path) -> Result<Model<'_>, CliError> {
        read(self.bytes(), path)
    }
}

/// Reads a model that came from, or was made of, the file at `path`.
pub(super) fn read<'b>(bytes: &'b [u8], path: &Path) -> Result<Model<'b>, CliError> {
    Model::read(bytes, &Limits::HOST).map_err(|e| load_error(path, LoadError::Format(e)))
}

fn load_error(path: &Path, error: LoadError) -> CliError {
    match error {
        LoadError::Io(error) => CliError::io(path, &error),
        error => CliError::unreadable(
            path,
            format!("{error}; write it again with `secateur convert` or `prune`"),
        ),
    }
}
