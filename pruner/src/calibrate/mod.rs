//! Calibration: what is gathered over samples, batch by batch, for criteria and reconstruction.

mod gradients;
mod inputs;

use std::ops::Range;

use secateur_format::graph::{Graph, GraphError};

pub use gradients::Gradients;
pub(crate) use gradients::length;
pub use inputs::{column_squares, cross_gram, each_input, gram, mean_sizes, values};

use crate::eval::{EvalError, fits};
use crate::train::{Interpreter, Loss, Samples, fitting_labels};

/// Samples that statistics are taken of.
#[derive(Clone, Debug)]
pub struct Calibration<'a> {
    samples: Samples<'a>,
    /// The indices of those that are used.
    chosen: Vec<usize>,
    /// What gradients are those of.
    pub loss: Loss,
}

impl<'a> Calibration<'a> {
    /// `count` of the samples, drawn by `seed` (data sets may be sorted by class), or all if there are no more.
    pub fn new(samples: Samples<'a>, count: usize, seed: u64) -> Self {
        Self::of(samples, samples.choose(count, seed))
    }

    /// Samples that are chosen already, by their indices.
    pub(crate) fn of(samples: Samples<'a>, chosen: Vec<usize>) -> Self {
        Self {
            samples,
            chosen,
            loss: Loss::CrossEntropy { smoothing: 0.0 },
        }
    }

    /// How many samples are used.
    pub fn count(&self) -> usize {
        self.chosen.len()
    }

    /// The samples in their order, `batch` at a time; the last batch may be smaller.
    pub fn batches(&self, batch: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (count, batch) = (self.count(), batch.max(1));
        (0..count)
            .step_by(batch)
            .map(move |first| first..count.min(first + batch))
    }

    /// Makes a batch the input.
    pub fn set_inputs(&self, interpreter: &mut Interpreter, batch: Range<usize>) {
        let chosen = &self.chosen[batch];
        interpreter.set_inputs(chosen.len(), |i, x| self.samples.plain(chosen[i], x));
    }

    /// Whether the samples fit the graph's input.
    ///
    /// # Errors
    /// An [`EvalError`].
    pub(crate) fn check_inputs(&self, graph: &Graph) -> Result<(), EvalError> {
        if graph.inputs.len() > 1 {
            let (inputs, outputs) = (graph.inputs.len(), graph.outputs.len());
            return Err(EvalError::Arity { inputs, outputs });
        }
        let input = *graph.shapes()?.first().ok_or(GraphError::Structure)?;
        fits(self.samples.dataset, self.samples.preprocess, input)
    }

    /// The labels of the data set, if its samples fit the graph.
    ///
    /// # Errors
    /// An [`EvalError`].
    fn labels(&self, graph: &Graph) -> Result<&'a [u32], EvalError> {
        fitting_labels(graph, &self.samples)
    }
}

#[cfg(test)]
mod tests;
