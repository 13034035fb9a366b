//! The result of a run: the files that are its purpose, and what they are worth, dense beside sparse.

use std::time::Duration;

use secateur_format::Limits;
use secateur_format::container::writer::Preprocess;
use secateur_format::graph::Graph;
use secateur_runtime::{ArenaBuf, LoadError, Model as File};
use serde::{Deserialize, Serialize};

use super::folder::MASKS;
use super::{Folder, Inputs, Outcome, PLAIN, RunError, masks};
use crate::bench::{BenchOptions, measure};
use crate::collapse::Attempt;
use crate::data::Dataset;
use crate::emit::{EmitOptions, EncodingChoice, Family, emit};
use crate::engine::Engine;
use crate::eval::{Accuracy, predictions};
use crate::layer::effective_multiplications;
use crate::recipe::Recipe;
use crate::source::Model;
use crate::structured::ChannelReport;
use crate::train::{CheckpointError, Samples, evaluate};

/// A model as it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Variant {
    /// Fraction correct on the test data, through the runtime.
    pub accuracy: Option<f64>,
    /// Test samples per class.
    pub count: Vec<usize>,
    /// Of them, those that are correct.
    pub correct: Vec<usize>,
    /// Of the .sct file.
    pub bytes: usize,
    /// Multiplications by weights that are not zero, of a sample.
    pub macs: u64,
    /// Median time of a sample, in microseconds.
    pub median_us: f64,
}

/// What a run has brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Before pruning.
    pub dense: Variant,
    /// After it.
    pub sparse: Variant,
    /// Which layers were to become one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collapsed: Vec<Attempt>,
    /// Which channels were removed.
    pub structured: Option<ChannelReport>,
    /// Fraction of zeros over the weights of all linear and convolution layers that are left.
    pub sparsity: f64,
    /// Test samples that the .sct file, through the runtime, puts in another class than the training graph.
    pub prediction_differences: Option<usize>,
    /// The names of classes.
    pub class_names: Vec<String>,
}

/// Writes the result of a run, and measures it.
///
/// # Errors
/// A [`RunError`].
pub fn finish(
    recipe: &Recipe,
    inputs: &Inputs,
    folder: &Folder,
    model: &Model,
    outcome: Outcome,
) -> Result<Report, RunError> {
    let Outcome {
        dense,
        state,
        collapsed,
        channels,
    } = outcome;
    let sparsity = state.sparsity();
    folder.write(MASKS, &masks::to_bytes(&state)?)?;
    let model = Model {
        graph: state.into_graph(),
        ..model.clone()
    };
    folder.write_model("model", &model)?;
    let stored = Preprocess {
        scale: inputs.preprocess.scale,
        mean: inputs.preprocess.mean.clone(),
        std: inputs.preprocess.std.clone(),
    };
    let text = toml::to_string(recipe).unwrap_or_default();
    let options = EmitOptions {
        preprocess: Some(stored).filter(|_| !inputs.preprocess.is_identity()),
        info: vec![
            (
                "generator".into(),
                concat!("secateur ", env!("CARGO_PKG_VERSION")).into(),
            ),
            ("recipe".into(), text),
        ],
        ..recipe.export.options()
    };
    let dense_options = EmitOptions {
        encoding: EncodingChoice::Only(Family::Dense),
        plan: options.plan,
        ..EmitOptions::default()
    };
    let files = [emit(&dense, &dense_options)?.bytes, emit(&model.graph, &options)?.bytes];
    folder.write("dense.sct", &files[0])?;
    folder.write("model.sct", &files[1])?;

    let buffers = [&files[0], &files[1]].map(|bytes| ArenaBuf::copy_of(bytes));
    let read = |buffer| File::read(buffer, &Limits::HOST).map_err(LoadError::Format);
    let unreadable = |error: LoadError| CheckpointError::Unreadable {
        path: folder.file("model.sct"),
        problem: error.to_string(),
    };
    let [first, second] = &buffers;
    let files = [
        read(first.as_ref()).map_err(unreadable)?,
        read(second.as_ref()).map_err(unreadable)?,
    ];
    let engine = Engine::default();
    let bench = BenchOptions {
        runs: 50,
        time: Duration::from_millis(500),
        batch: 1,
    };
    let times = measure(&[&files[0], &files[1]], &engine, &bench)?;
    let predicted = |file: &File<'_>| match &inputs.test {
        Some(test) => predictions(file, &engine, test, &inputs.preprocess, || ()).map(Some),
        None => Ok(None),
    };
    let found = [predicted(&files[0])?, predicted(&files[1])?];
    let prediction_differences = match (&inputs.test, &found[1]) {
        (Some(dataset), Some(found)) => {
            let samples = Samples {
                dataset,
                preprocess: &inputs.preprocess,
            };
            Some(evaluate(&model.graph, &samples, PLAIN)?.predictions.differences(found))
        }
        _ => None,
    };
    let labels = inputs.test.as_ref().and_then(Dataset::labels).unwrap_or_default();
    let variant = |index: usize, graph: &Graph| -> Result<Variant, RunError> {
        let tested = found[index].as_ref().map(|found| found.accuracy(labels));
        Ok(Variant {
            accuracy: tested.as_ref().map(Accuracy::fraction),
            count: tested.as_ref().map(|tested| tested.count.clone()).unwrap_or_default(),
            correct: tested.map(|tested| tested.correct).unwrap_or_default(),
            bytes: buffers[index].as_ref().len(),
            macs: effective_multiplications(graph, &graph.shapes()?),
            median_us: times[index].total.median_us,
        })
    };
    let class_names = inputs.test.as_ref().map(|test| test.class_names().to_vec());
    let report = Report {
        dense: variant(0, &dense)?,
        sparse: variant(1, &model.graph)?,
        collapsed,
        structured: channels,
        sparsity,
        prediction_differences,
        class_names: class_names.unwrap_or_default(),
    };
    let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
    // Last: a run with a report is done.
    folder.write("report.json", text.as_bytes())?;
    Ok(report)
}
