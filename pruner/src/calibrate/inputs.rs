//! The inputs of layers, unfolded: `X [positions, K]`, such that a layer computes `X · Wᵀ`, with the columns in the
//! order of those of its weights. A layer of several groups has an `X` for each.

use ndarray::{Array2, ArrayView2, linalg::general_mat_mul};
use secateur_format::graph::{Graph, GraphError};
use secateur_format::op::Conv2d;
use secateur_format::{Op, Shape, ValueId};

use super::Calibration;
use crate::eval::EvalError;
use crate::layer::Layer;
use crate::train::Interpreter;

/// Samples at a time: the inputs of all layers that are asked for are kept for so many.
const BATCH: usize = 32;

/// Floats of `X` at a time.
const BLOCK: usize = 1 << 20;

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
    calibration.check_inputs(graph)?;
    let shapes = graph.shapes()?;
    let mut readers: Vec<(usize, ValueId, Unfold)> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let layer = layers.iter().position(|layer| node.op.weight() == Some(layer.tensor));
        if let (Some(layer), Some(&value)) = (layer, node.inputs.first()) {
            let [input, output] = [value, graph.output_of(index)].map(|id| shapes[usize::from(id.0)]);
            let unfold = Unfold::new(&node.op, input, output);
            // Nodes that share a matrix need not read it alike.
            if (unfold.groups, unfold.cols()) == (layers[layer].groups(), layers[layer].cols as usize) {
                readers.push((layer, value, unfold));
            }
        }
    }
    let values: Vec<ValueId> = readers.iter().map(|&(_, value, _)| value).collect();
    let mut interpreter = Interpreter::observer(graph, &values, BATCH.min(calibration.count()))?;
    for batch in calibration.batches(BATCH) {
        calibration.set_inputs(&mut interpreter, batch.clone());
        interpreter.forward(graph);
        for (layer, value, unfold) in &readers {
            let mut planar = vec![0.0; shapes[usize::from(value.0)].elems()];
            for group in 0..unfold.groups {
                let mut rows = Vec::new();
                let mut flush = |rows: &mut Vec<f32>| -> Result<(), GraphError> {
                    let shape = (rows.len() / unfold.cols(), unfold.cols());
                    let block = ArrayView2::from_shape(shape, rows).map_err(|_| GraphError::Structure)?;
                    each(*layer, group, block);
                    rows.clear();
                    Ok(())
                };
                for sample in 0..batch.len() {
                    interpreter.read(*value, sample, &mut planar);
                    unfold.gather(group, &planar, &mut rows);
                    if rows.len() >= BLOCK {
                        flush(&mut rows)?;
                    }
                }
                flush(&mut rows)?;
            }
        }
    }
    Ok(())
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
    let mut sums = vec![Array2::zeros((cols, cols)); layer.groups()];
    let mut block = Array2::zeros((cols, cols));
    each_input(graph, &[layer], calibration, |_, group, rows| {
        general_mat_mul(1.0, &rows.t(), &rows, 0.0, &mut block);
        sums[group].zip_mut_with(&block, |sum: &mut f64, &x: &f32| *sum += f64::from(x));
    })?;
    Ok(sums)
}

/// How an input becomes rows of `X`: as a convolution sees it; a linear layer is one of a single kernel position.
struct Unfold {
    groups: usize,
    /// Input channels of a group.
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// `[top, left]`.
    pads: [usize; 2],
    /// Height and width.
    input: [usize; 2],
    output: [usize; 2],
}

impl Unfold {
    fn new(op: &Op, input: Shape, output: Shape) -> Self {
        let dims = |shape: Shape| shape.padded_dims().map(|d| d as usize);
        let ([channels, h, w, _], [_, oh, ow, _]) = (dims(input), dims(output));
        match op {
            Op::Conv2d(Conv2d {
                groups,
                kernel,
                stride,
                dilation,
                pads,
                ..
            }) => Self {
                groups: *groups as usize,
                channels: channels / (*groups).max(1) as usize,
                kernel: kernel.map(usize::from),
                stride: stride.map(usize::from),
                dilation: dilation.map(usize::from),
                pads: [pads[0].into(), pads[1].into()],
                input: [h, w],
                output: [oh, ow],
            },
            _ => {
                let tokens = input.elems() / channels;
                Self {
                    groups: 1,
                    channels,
                    kernel: [1, 1],
                    stride: [1, 1],
                    dilation: [1, 1],
                    pads: [0, 0],
                    input: [1, tokens],
                    output: [1, tokens],
                }
            }
        }
    }

    fn cols(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    /// Adds the rows of a sample.
    fn gather(&self, group: usize, planar: &[f32], rows: &mut Vec<f32>) {
        let plane = self.input[0] * self.input[1];
        let own = &planar[group * self.channels * plane..][..self.channels * plane];
        let place = |axis: usize, out: usize, k: usize| {
            let place = (out * self.stride[axis] + k * self.dilation[axis]).checked_sub(self.pads[axis]);
            place.filter(|&place| place < self.input[axis])
        };
        for oy in 0..self.output[0] {
            for ox in 0..self.output[1] {
                for ky in 0..self.kernel[0] {
                    for kx in 0..self.kernel[1] {
                        match place(0, oy, ky).zip(place(1, ox, kx)) {
                            Some((y, x)) => {
                                rows.extend(own.iter().skip(y * self.input[1] + x).step_by(plane));
                            }
                            None => rows.extend(std::iter::repeat_n(0.0, self.channels)),
                        }
                    }
                }
            }
        }
    }
}
