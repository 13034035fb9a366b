//! Gradients of the loss over calibration samples.

use secateur_format::graph::{Graph, GraphError};

use super::Calibration;
use crate::eval::EvalError;
use crate::train::{Interpreter, Statistics, logits, sample_loss};

/// Computes gradients, batch by batch.
#[derive(Debug)]
pub struct Gradients<'a> {
    calibration: &'a Calibration<'a>,
    labels: &'a [u32],
    interpreter: Interpreter,
    batch: usize,
    /// What outputs are divided by before the loss.
    temperature: f32,
}

impl<'a> Gradients<'a> {
    /// Takes the memory for batches of `batch` samples of `graph` (or one that differs in its weights only).
    ///
    /// # Errors
    /// An [`EvalError`], if there are no labels, or the samples do not fit.
    pub fn new(
        graph: &Graph,
        calibration: &'a Calibration<'a>,
        batch: usize,
        statistics: Statistics,
    ) -> Result<Self, EvalError> {
        let labels = calibration.labels(graph)?;
        let batch = batch.clamp(1, calibration.count().max(1));
        let output = logits(graph).ok_or(GraphError::Structure)?;
        Ok(Self {
            calibration,
            labels,
            interpreter: Interpreter::trainer(graph, output, batch, statistics)?,
            batch,
            temperature: 1.0,
        })
    }

    /// Divides the outputs by a temperature.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Calls `each` for every batch, in order, with its number of samples and the gradient of their mean loss: one
    /// vector per constant of the graph, in the order of its tensors; empty for those that are no parameters.
    pub fn each(&mut self, graph: &Graph, mut each: impl FnMut(usize, &[Vec<f32>])) {
        let Self {
            calibration,
            labels,
            interpreter,
            temperature,
            ..
        } = self;
        for batch in calibration.batches(self.batch) {
            let chosen = &calibration.chosen[batch.clone()];
            calibration.set_inputs(interpreter, batch);
            interpreter.forward(graph);
            let scale = 1.0 / (chosen.len() as f32 * *temperature);
            interpreter.loss(|sample, y, dy| {
                let y: Vec<f32> = y.iter().map(|y| y / *temperature).collect();
                sample_loss(calibration.loss, None, labels[chosen[sample]] as usize, &y, scale, dy);
            });
            interpreter.backward(graph);
            each(chosen.len(), interpreter.gradients());
        }
    }

    /// The gradient of the mean loss of all samples, as [`Gradients::each`] gives it.
    pub fn mean(&mut self, graph: &Graph) -> Vec<Vec<f64>> {
        let count = self.calibration.count() as f64;
        let mut mean: Vec<Vec<f64>> = Vec::new();
        self.each(graph, |samples, gradients| {
            if mean.is_empty() {
                mean = gradients.iter().map(|gradient| vec![0.0; gradient.len()]).collect();
            }
            let share = samples as f64 / count;
            for (mean, gradient) in mean.iter_mut().zip(gradients) {
                let sums = mean.iter_mut().zip(gradient);
                sums.for_each(|(mean, &g)| *mean += share * f64::from(g));
            }
        });
        mean
    }

    /// H v, the product of the Hessian of the mean loss with a direction, shaped as [`Gradients::mean`]: by central
    /// differences, the weights moved by `step` times the direction. 0 if the step is.
    pub fn hessian_product(&mut self, graph: &Graph, direction: &[Vec<f64>], step: f64) -> Vec<Vec<f64>> {
        let mut product = self.mean(&moved(graph, direction, step));
        let behind = self.mean(&moved(graph, direction, -step));
        for (ahead, behind) in product.iter_mut().flatten().zip(behind.iter().flatten()) {
            *ahead = if step > 0.0 {
                (*ahead - behind) / (2.0 * step)
            } else {
                0.0
            };
        }
        product
    }
}

/// The Euclidean norm.
pub(crate) fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|x| x * x).sum::<f64>().sqrt()
}

/// The network with its weights moved by `step` along `direction`.
fn moved(graph: &Graph, direction: &[Vec<f64>], step: f64) -> Graph {
    let mut graph = graph.clone();
    for (tensor, direction) in graph.tensors.iter_mut().zip(direction) {
        let weights = tensor.data.iter_mut().zip(direction);
        weights.for_each(|(w, g)| *w = (f64::from(*w) + step * g) as f32);
    }
    graph
}
