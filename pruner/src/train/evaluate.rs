//! Accuracy through the training graph.

use secateur_format::graph::Graph;
use secateur_format::{Op, ValueId};

use super::data::Samples;
use super::interpreter::Interpreter;
use super::loss::{self, Loss};
use crate::eval::{Accuracy, EvalError, Predictions, argmax, labels};

/// Samples at a time.
const BATCH: usize = 256;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Sample by sample.
    pub predictions: Predictions,
    /// Per class.
    pub accuracy: Accuracy,
    /// The mean loss.
    pub loss: f64,
}

/// The value that losses are taken of: the graph's output, or what a softmax at its end reads, because a
/// loss has a softmax of its own.
pub(crate) fn logits(graph: &Graph) -> Option<ValueId> {
    let &output = graph.outputs.first()?;
    let node = graph.producer(output).and_then(|index| graph.nodes.get(index));
    match node {
        Some(node) if matches!(node.op, Op::Softmax { axis: 0 }) => node.inputs.first().copied(),
        _ => Some(output),
    }
}

/// The labels of samples that fit the graph.
///
/// # Errors
/// An [`EvalError`].
pub(crate) fn fitting_labels<'d>(graph: &Graph, samples: &Samples<'d>) -> Result<&'d [u32], EvalError> {
    let (inputs, outputs) = (graph.inputs.len(), graph.outputs.len());
    let shapes = graph.shapes()?;
    let (1, [output]) = (inputs, graph.outputs.as_slice()) else {
        return Err(EvalError::Arity { inputs, outputs });
    };
    let classes = shapes[usize::from(output.0)].elems();
    labels(samples.dataset, samples.preprocess, shapes[0], classes)
}

/// Runs all samples on the threads of the current rayon pool, with frozen statistics.
///
/// # Errors
/// An [`EvalError`].
pub fn evaluate(graph: &Graph, samples: &Samples<'_>, loss: Loss) -> Result<Evaluation, EvalError> {
    let (mut found, mut total, mut gradient) = (Vec::new(), 0.0, Vec::new());
    each_output(graph, samples, |_, label, y| {
        gradient.resize(y.len(), 0.0);
        found.push(argmax(y));
        total += loss::sample(loss, None, label, y, 1.0, &mut gradient);
    })?;
    let predictions = Predictions::new(found, gradient.len());
    Ok(Evaluation {
        accuracy: predictions.accuracy(fitting_labels(graph, samples)?),
        predictions,
        loss: total / samples.dataset.len() as f64,
    })
}

/// Calls `each` with the number of every sample in turn, its label, and its outputs before a softmax.
///
/// # Errors
/// An [`EvalError`].
pub(crate) fn each_output(
    graph: &Graph,
    samples: &Samples<'_>,
    mut each: impl FnMut(usize, usize, &[f32]),
) -> Result<(), EvalError> {
    let labels = fitting_labels(graph, samples)?;
    let count = samples.dataset.len();
    let output = logits(graph).unwrap_or(ValueId(0));
    let mut interpreter = Interpreter::new(graph, output, BATCH.min(count))?;
    let classes = graph.shapes()?[usize::from(output.0)].elems();
    for first in (0..count).step_by(BATCH) {
        let batch = BATCH.min(count - first);
        interpreter.set_inputs(batch, |i, x| samples.plain(first + i, x));
        interpreter.forward(graph);
        for (index, y) in interpreter.output().chunks_exact(classes).enumerate() {
            each(first + index, labels[first + index] as usize, y);
        }
    }
    Ok(())
}
