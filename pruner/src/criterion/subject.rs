//! What criteria look at.

use ndarray::Array2;
use rayon::prelude::*;
use secateur_format::graph::Graph;

use super::{Criterion, CriterionError};
use crate::calibrate::{Calibration, Gradients};
use crate::eval::EvalError;
use crate::layer::Layer;
use crate::train::Statistics;

/// A score per weight, a vector per layer.
pub type Scores = Vec<Vec<f64>>;

/// A network whose weights are to be scored. Weights that are pruned already are zero in it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// The layers to score.
    pub layers: &'a [Layer],
    /// Samples of what the network is for.
    pub calibration: Option<&'a Calibration<'a>>,
    /// Of what is random.
    pub seed: u64,
}

impl<'a> Subject<'a> {
    /// The weights of a layer, `[rows, cols]`.
    pub fn weights(&self, layer: &Layer) -> &'a [f32] {
        self.graph.tensor(layer.tensor).map_or(&[], |tensor| &tensor.data)
    }

    /// The samples.
    ///
    /// # Errors
    /// [`CriterionError::NoSamples`].
    pub fn samples(&self, criterion: &Criterion) -> Result<&'a Calibration<'a>, CriterionError> {
        let criterion = criterion.method().name;
        self.calibration.ok_or(CriterionError::NoSamples { criterion })
    }

    /// Scores each weight by itself.
    pub fn each_weight(&self, score: impl Fn(f64) -> f64 + Sync) -> Scores {
        self.each_layer(|_, weights| weights.iter().map(|&w| score(w.into())).collect())
    }

    /// Scores layer by layer; `score` is given a layer's number in `layers`, and its weights `[rows, cols]`.
    pub fn each_layer(&self, score: impl Fn(usize, &[f32]) -> Vec<f64> + Sync) -> Scores {
        let layers = self.layers.par_iter().enumerate();
        layers.map(|(index, layer)| score(index, self.weights(layer))).collect()
    }

    /// Scores each weight by its value and what was found for it, such as its gradient; `found` holds a vector per
    /// constant of the graph.
    pub fn each_pair(&self, found: &[Vec<f64>], score: impl Fn(f64, f64) -> f64 + Sync) -> Scores {
        self.each_layer(|index, weights| {
            let tensor = usize::from(self.layers[index].tensor.0);
            let pairs = weights.iter().zip(found.get(tensor).into_iter().flatten());
            pairs.map(|(&w, &found)| score(w.into(), found)).collect()
        })
    }

    /// Scores each weight by its value and that of its input's column, `[layer][group][column]`.
    pub fn each_column(&self, columns: &[Vec<Vec<f64>>], score: impl Fn(f64, f64) -> f64 + Sync) -> Scores {
        self.each_layer(|index, weights| {
            let layer = &self.layers[index];
            let rows = weights.chunks(layer.cols as usize).enumerate();
            let scored = rows.flat_map(|(row, weights)| {
                let column = &columns[index][row / layer.group_rows.max(1) as usize];
                weights.iter().zip(column).map(|(&w, &column)| score(w.into(), column))
            });
            scored.collect()
        })
    }

    /// Gradients over batches of the samples.
    ///
    /// # Errors
    /// A [`CriterionError`], if there are no samples or labels, or they do not fit.
    pub fn gradients(
        &self,
        criterion: &Criterion,
        batch: usize,
        statistics: Statistics,
    ) -> Result<Gradients<'a>, CriterionError> {
        let samples = self.samples(criterion)?;
        Gradients::new(self.graph, samples, batch, statistics).map_err(|problem| unfit(criterion, problem))
    }

    /// Lengths of the columns of the layers' inputs, `‖X_j‖₂`, `[layer][group][column]`.
    ///
    /// # Errors
    /// As [`Subject::gradients`].
    pub fn column_norms(&self, criterion: &Criterion) -> Result<Vec<Vec<Vec<f64>>>, CriterionError> {
        let layers: Vec<&Layer> = self.layers.iter().collect();
        let squares = crate::calibrate::column_squares(self.graph, &layers, self.samples(criterion)?);
        let mut norms = squares.map_err(|problem| unfit(criterion, problem))?;
        let columns = norms.iter_mut().flatten().flatten();
        columns.for_each(|square| *square = square.sqrt());
        Ok(norms)
    }

    /// The mean sizes of a layer's inputs at each position, `[group]`, `[positions, columns]`.
    ///
    /// # Errors
    /// As [`Subject::gradients`].
    pub fn mean_sizes(&self, criterion: &Criterion, layer: &Layer) -> Result<Vec<Array2<f64>>, CriterionError> {
        let found = crate::calibrate::mean_sizes(self.graph, layer, self.samples(criterion)?);
        found.map_err(|problem| unfit(criterion, problem))
    }
}

fn unfit(criterion: &Criterion, problem: EvalError) -> CriterionError {
    CriterionError::Samples {
        criterion: criterion.method().name,
        problem,
    }
}
