//! The inputs of layers, unfolded: `X [positions, K]`, such that a layer computes `X · Wᵀ`, with the columns in the
//! order of those of its weights. A layer of several groups has an `X` for each.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};
use secateur_format::graph::{Graph, GraphError};
use secateur_format::{Shape, ValueId};

use super::Calibration;
use crate::eval::EvalError;
use crate::layer::Layer;
use crate::train::{Interpreter, Patches};

/// Samples at a time: the inputs of all layers that are asked for are kept for so many.
const BATCH: usize = 32;

/// Floats of `X` at a time, or those of one sample.
const BLOCK: usize = 1 << 20;

/// A value of the graph for all samples, `[samples, elements]`, each planar.
///
/// # Errors
/// An [`EvalError`], if the samples do not fit the graph.
pub fn values(graph: &Graph, value: ValueId, calibration: &Calibration<'_>) -> Result<Vec<f32>, EvalError> {
    calibration.check_inputs(graph)?;
    let mut interpreter = Interpreter::new(graph, value, BATCH.min(calibration.count()))?;
    let mut values = Vec::new();
    for batch in calibration.batches(BATCH) {
        calibration.set_inputs(&mut interpreter, batch);
        interpreter.forward(graph);
        values.extend(interpreter.output());
    }
    Ok(values)
}

/// Unfolds the inputs of layers, batch by batch.
struct Unfold<'a> {
    graph: &'a Graph,
    calibration: &'a Calibration<'a>,
    shapes: Vec<Shape>,
    readers: Vec<(usize, ValueId, Patches)>,
    interpreter: Interpreter,
}

impl<'a> Unfold<'a> {
    fn new(graph: &'a Graph, layers: &[&Layer], calibration: &'a Calibration<'a>) -> Result<Self, EvalError> {
        calibration.check_inputs(graph)?;
        let shapes = graph.shapes()?;
        let mut readers: Vec<(usize, ValueId, Patches)> = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let layer = layers.iter().position(|layer| node.op.weight() == Some(layer.tensor));
            if let (Some(layer), Some(&value)) = (layer, node.inputs.first()) {
                let [input, output] = [value, graph.output_of(index)].map(|id| shapes[usize::from(id.0)]);
                let patches = Patches::new(&node.op, input, output);
                // Nodes that share a matrix need not read it alike.
                if (patches.groups(), patches.cols()) == (layers[layer].groups(), layers[layer].cols as usize) {
                    readers.push((layer, value, patches));
                }
            }
        }
        let values: Vec<ValueId> = readers.iter().map(|&(_, value, _)| value).collect();
        let interpreter = Interpreter::observer(graph, &values, BATCH.min(calibration.count()))?;
        Ok(Self {
            graph,
            calibration,
            shapes,
            readers,
            interpreter,
        })
    }

    fn batch(
        &mut self,
        batch: Range<usize>,
        mut each: impl FnMut(usize, usize, ArrayView2<'_, f32>),
    ) -> Result<(), EvalError> {
        let (shapes, interpreter) = (&self.shapes, &mut self.interpreter);
        self.calibration.set_inputs(interpreter, batch.clone());
        interpreter.forward(self.graph);
        for (layer, value, patches) in &self.readers {
            let (cols, positions) = (patches.cols(), patches.positions());
            let samples: Vec<usize> = (0..batch.len()).collect();
            for samples in samples.chunks((BLOCK / (cols * positions)).max(1)) {
                let planar = samples.iter().map(|&sample| {
                    let mut planar = vec![0.0; shapes[usize::from(value.0)].elems()];
                    interpreter.read(*value, sample, &mut planar);
                    planar
                });
                let planar: Vec<Vec<f32>> = planar.collect();
                // Xᵀ: the patches of some samples, side by side.
                let mut columns = Array2::zeros((cols, positions * samples.len()));
                for group in 0..patches.groups() {
                    let own = columns.axis_chunks_iter_mut(Axis(1), positions);
                    for (mut own, planar) in own.zip(&planar) {
                        let found = patches.of(group, planar);
                        let found = ArrayView2::from_shape((cols, positions), &found);
                        own.assign(&found.map_err(|_| GraphError::Structure)?);
                    }
                    each(*layer, group, columns.t());
                }
            }
        }
        Ok(())
    }
}

/// Runs the samples through the network, and calls `each` with the number of a layer in `layers`, a group of it, and
/// some rows of the `X` of that group. A matrix that several nodes share gets the inputs of all of them.
///
/// # Errors
/// An [`EvalError`], if the samples do not fit the graph.
pub fn each_input(
    graph: &Graph,
    layers: &[&Layer],
    calibration: &Calibration<'_>,
    mut each: impl FnMut(usize, usize, ArrayView2<'_, f32>),
) -> Result<(), EvalError> {
    let mut unfold = Unfold::new(graph, layers, calibration)?;
    for batch in calibration.batches(BATCH) {
        unfold.batch(batch, &mut each)?;
    }
    Ok(())
}

/// `[Xᵀ X, Xᵀ Y]`, each `[K, K]`, of a layer without groups: X are its inputs in `graph`, Y those in `other`, which
/// differs from it in its weights only.
///
/// # Errors
/// As [`each_input`].
pub fn cross_gram(
    graph: &Graph,
    other: &Graph,
    layer: &Layer,
    calibration: &Calibration<'_>,
) -> Result<[Array2<f64>; 2], EvalError> {
    let [mut own, mut others] = [
        Unfold::new(graph, &[layer], calibration)?,
        Unfold::new(other, &[layer], calibration)?,
    ];
    let cols = layer.cols as usize;
    let mut sums = [Array2::zeros((cols, cols)), Array2::zeros((cols, cols))];
    for batch in calibration.batches(BATCH) {
        let mut rows = Vec::new();
        own.batch(batch.clone(), |_, _, x| rows.push(x.to_owned()))?;
        let mut rows = rows.into_iter();
        others.batch(batch, |_, _, y| {
            if let Some(x) = rows.next() {
                let x = x.mapv(f64::from);
                general_mat_mul(1.0, &x.t(), &x, 1.0, &mut sums[0]);
                general_mat_mul(1.0, &x.t(), &y.mapv(f64::from), 1.0, &mut sums[1]);
            }
        })?;
    }
    Ok(sums)
}

/// The sums of squares of the columns of `X`, `[layer][group][column]`.
///
/// # Errors
/// As [`each_input`].
pub fn column_squares(
    graph: &Graph,
    layers: &[&Layer],
    calibration: &Calibration<'_>,
) -> Result<Vec<Vec<Vec<f64>>>, EvalError> {
    let zeros = |layer: &&Layer| vec![vec![0.0; layer.cols as usize]; layer.groups()];
    let mut sums: Vec<Vec<Vec<f64>>> = layers.iter().map(zeros).collect();
    each_input(graph, layers, calibration, |layer, group, rows| {
        for row in rows.rows() {
            let sums = sums[layer][group].iter_mut().zip(row);
            sums.for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        }
    })?;
    Ok(sums)
}

/// The Gram matrices `Xᵀ X [K, K]` of a layer, one per group.
///
/// # Errors
/// As [`each_input`].
pub fn gram(graph: &Graph, layer: &Layer, calibration: &Calibration<'_>) -> Result<Vec<Array2<f64>>, EvalError> {
    let cols = layer.cols as usize;
    let mut sums: Vec<Array2<f64>> = vec![Array2::zeros((cols, cols)); layer.groups()];
    each_input(graph, &[layer], calibration, |_, group, rows| {
        let rows = rows.mapv(f64::from);
        general_mat_mul(1.0, &rows.t(), &rows, 1.0, &mut sums[group]);
    })?;
    Ok(sums)
}

/// The mean over samples of `|X|`, `[positions, K]`, of a layer, one per group.
///
/// # Errors
/// As [`each_input`].
pub fn mean_sizes(graph: &Graph, layer: &Layer, calibration: &Calibration<'_>) -> Result<Vec<Array2<f64>>, EvalError> {
    let shapes = graph.shapes()?;
    let own = layer.node(graph).map(|node| graph.output_of(node));
    let outputs = own.map_or(0, |value| shapes[usize::from(value.0)].elems());
    let positions = (outputs / layer.rows.max(1) as usize).max(1);
    let mut sums = vec![Array2::zeros((positions, layer.cols as usize)); layer.groups()];
    let mut seen = vec![0usize; layer.groups()];
    each_input(graph, &[layer], calibration, |_, group, rows| {
        // Sample by sample, with all positions of each.
        for (index, row) in rows.rows().into_iter().enumerate() {
            let mut sums = sums[group].row_mut(index % positions);
            sums.zip_mut_with(&row, |sum, &x| *sum += f64::from(x).abs());
        }
        seen[group] += rows.nrows() / positions;
    })?;
    for (sums, &samples) in sums.iter_mut().zip(&seen) {
        sums.mapv_inplace(|sum| sum / samples.max(1) as f64);
    }
    Ok(sums)
}
