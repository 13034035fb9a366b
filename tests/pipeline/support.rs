//! Models, golden inputs and outputs, and how a file is run.

use std::path::PathBuf;

use secateur::data;
use secateur::emit::{EmitOptions, Emitted, emit};
use secateur::source;
use secateur_format::graph::Graph;
use secateur_format::{Limits, Op};
use secateur_runtime::kernel::Kernel;
use secateur_runtime::{ArenaBuf, Model, Session};

/// The ONNX models and their goldens.
pub(crate) const MODELS: [&str; 6] = ["resnet20", "resnet56", "resnet8", "dscnn_kws", "vww_96", "ad01"];

/// A file of this folder.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A model's graph as imported; without an extension, from ONNX.
pub(crate) fn graph(model: &str) -> Graph {
    let file = if model.contains('.') {
        model.to_owned()
    } else {
        format!("{model}.onnx")
    };
    source::load(&path("models").join(file)).unwrap().graph
}

/// The graph without its last node, if that is a softmax.
pub(crate) fn without_softmax(graph: &Graph) -> Option<Graph> {
    let last = graph.nodes.last()?;
    let Op::Softmax { .. } = last.op else {
        return None;
    };
    assert_eq!(graph.outputs, [graph.output_of(graph.nodes.len() - 1)]);
    let mut cut = graph.clone();
    cut.outputs = last.inputs.clone();
    cut.nodes.pop();
    Some(cut)
}

/// The golden inputs and outputs of a model, sample by sample.
pub(crate) fn golden(model: &str) -> Vec<(Vec<f32>, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let array = |key: &str| {
        let file = path("goldens").join(format!("{model}.npz"));
        let description = folder.path().join(format!("{key}.toml"));
        std::fs::write(&description, format!("file = {file:?}\ninputs_key = \"{key}\"\n")).unwrap();
        data::load(&description).unwrap().dataset
    };
    let (inputs, outputs) = (array("input"), array("output"));
    assert_eq!(inputs.len(), outputs.len());
    (0..inputs.len())
        .map(|i| (inputs.input(i).to_vec(), outputs.input(i).to_vec()))
        .collect()
}

/// Emits; nothing in these tests may fail to.
pub(crate) fn emitted(graph: &Graph, options: &EmitOptions) -> Emitted {
    emit(graph, options).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

/// Runs a file on samples.
pub(crate) fn run(bytes: &[u8], kernels: &'static [Kernel], inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    let aligned = ArenaBuf::copy_of(bytes);
    let model = Model::read(aligned.as_ref(), &Limits::HOST).unwrap();
    let mut arena = ArenaBuf::for_model(&model);
    let mut session = Session::with_kernels(&model, arena.as_mut(), kernels).unwrap();
    let run = |input: &&[f32]| {
        session.input_mut(0).unwrap().copy_from_slice(input);
        session.run().unwrap();
        session.output(0).unwrap().to_vec()
    };
    inputs.iter().map(run).collect()
}

/// Largest difference relative to the largest expected value; infinite if it
/// is not a number, or the lengths differ.
pub(crate) fn difference(expected: &[f64], found: &[f64]) -> f64 {
    if expected.len() != found.len() || expected.is_empty() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0.0, |max: f64, y| max.max(y.abs()));
    let worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
    let worst = worst.fold(0.0, |max: f64, d| if d.is_nan() { f64::INFINITY } else { max.max(d) });
    if worst == 0.0 { 0.0 } else { worst / largest }
}

/// As f64.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}
