//! Gram matrices of the inputs of layers.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis};
use secateur_format::graph::{Graph, GraphError};

use crate::eval::{EvalError, fits};
use crate::layer::Layer;
use crate::train::{Interpreter, Patches, Samples};

/// Samples at a time.
const BATCH: usize = 128;

/// Patches at a time, or those of one sample.
const BLOCK: usize = 4096;

/// The Gram matrices `Xᵀ X` `[K, K]` of a layer over the first `count` samples, one per group. The rows of `X` are
/// what each output is computed from, with the columns in the order of those of the weights. A matrix that several
/// nodes share gets the inputs of all of them.
///
/// # Errors
/// An [`EvalError`] if the samples do not fit the graph, or it has several inputs.
pub fn gram(graph: &Graph, layer: &Layer, samples: &Samples<'_>, count: usize) -> Result<Vec<Array2<f64>>, EvalError> {
    let shapes = graph.shapes()?;
    let &input = shapes.first().ok_or(GraphError::Structure)?;
    fits(samples.dataset, samples.preprocess, input)?;
    let (cols, groups) = (layer.cols as usize, (layer.rows / layer.group_rows.max(1)) as usize);
    let mut grams = vec![Array2::zeros((cols, cols)); groups];
    let count = count.min(samples.dataset.len());
    let batch = BATCH.min(count);
    for (index, node) in graph.nodes.iter().enumerate() {
        let (true, Some(&value)) = (node.op.weight() == Some(layer.tensor), node.inputs.first()) else {
            continue;
        };
        let [input, output] = [value, graph.output_of(index)].map(|id| shapes[usize::from(id.0)]);
        let unfold = Patches::new(&node.op, input, output);
        // Nodes that share a matrix need not read it alike.
        if (unfold.groups(), unfold.cols()) != (groups, cols) {
            continue;
        }
        let mut interpreter = Interpreter::new(graph, value, batch)?;
        for first in (0..count).step_by(batch) {
            let some = batch.min(count - first);
            interpreter.set_inputs(some, |i, x| samples.plain(first + i, x));
            interpreter.forward(graph);
            let planar = interpreter.output();
            for planar in planar.chunks(input.elems() * (BLOCK / unfold.positions()).max(1)) {
                let some = planar.len() / input.elems();
                // Xᵀ: the patches of some samples, side by side.
                let mut columns = Array2::zeros((cols, unfold.positions() * some));
                for (group, gram) in grams.iter_mut().enumerate() {
                    let own = columns.axis_chunks_iter_mut(Axis(1), unfold.positions());
                    for (mut own, planar) in own.zip(planar.chunks_exact(input.elems())) {
                        let patches = unfold.of(group, planar);
                        let patches = ArrayView2::from_shape((cols, unfold.positions()), &patches);
                        let patches = patches.map_err(|_| GraphError::Structure)?;
                        own.zip_mut_with(&patches, |to, &from| *to = f64::from(from));
                    }
                    general_mat_mul(1.0, &columns, &columns.t(), 1.0, gram);
                }
            }
        }
    }
    Ok(grams)
}

#[cfg(test)]
mod tests {
    use secateur_format::graph::{Input, NodeDef, Tensor};
    use secateur_format::op::{Conv2d, Linear};
    use secateur_format::{Activation, Op, Shape, TensorId, ValueId};

    use super::*;
    use crate::data::{Dataset, Preprocess};
    use crate::layer::layers;
    use crate::reference;

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// A network of one layer.
    fn network(op: Op, dims: &[u32], rows: u32, cols: u32) -> Graph {
        let data = numbers((rows * cols) as usize, 0.7);
        let name = "w".into();
        Graph {
            inputs: vec![Input {
                name: "x".into(),
                shape: Shape::new(dims).unwrap(),
            }],
            nodes: vec![NodeDef {
                name: "layer".into(),
                op,
                inputs: vec![ValueId(0)],
            }],
            tensors: vec![Tensor { name, rows, cols, data }],
            outputs: vec![ValueId(1)],
        }
    }

    fn conv(out_channels: u32, groups: u32, kernel: [u16; 2], stride: u16, dilation: u16, pads: [u16; 4]) -> Op {
        Op::Conv2d(Conv2d {
            weight: TensorId(0),
            bias: None,
            out_channels,
            groups,
            kernel,
            stride: [stride; 2],
            dilation: [dilation; 2],
            pads,
            activation: Activation::Identity,
        })
    }

    /// The squares of all outputs, from the reference; and `w G wᵀ` over the rows of each group.
    fn energies(mut graph: Graph, weights: Vec<f32>) -> [f64; 2] {
        graph.tensors[0].data = weights;
        let shapes = graph.shapes().unwrap();
        let dims: Vec<usize> = shapes[0].dims().iter().map(|&dim| dim as usize).collect();
        let elems = shapes[0].elems();
        let dataset = Dataset::new(numbers(5 * elems, 0.31), dims, None).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        let outputs = (0..3).map(|sample| reference::run(&graph, &[dataset.input(sample)]).unwrap().concat());
        let layer = layers(&graph, &shapes).remove(0);
        let grams = gram(&graph, &layer, &samples, 3).unwrap();
        let rows = graph.tensors[0].data.chunks(layer.cols as usize);
        let rows = rows.map(|row| ndarray::Array1::from_iter(row.iter().map(|&w| f64::from(w))));
        let found = rows
            .enumerate()
            .map(|(row, w)| w.dot(&grams[row / layer.group_rows as usize].dot(&w)));
        [outputs.flatten().map(|y| y * y).sum(), found.sum()]
    }

    #[test]
    fn the_gram_matrix_gives_the_energy_of_the_outputs() {
        let linear = Op::Linear(Linear {
            out_features: 3,
            weight: TensorId(0),
            bias: None,
            activation: Activation::Identity,
        });
        let networks = [
            network(conv(4, 1, [3, 2], 1, 1, [1, 0, 2, 1]), &[3, 6, 5], 4, 18),
            network(conv(4, 2, [3, 3], 2, 1, [1; 4]), &[4, 7, 7], 4, 18),
            network(conv(6, 1, [3, 3], 1, 2, [2; 4]), &[2, 6, 6], 6, 18),
            network(conv(4, 4, [3, 3], 1, 1, [1; 4]), &[4, 5, 5], 4, 9),
            network(conv(5, 1, [1, 1], 1, 1, [0; 4]), &[3, 4, 4], 5, 3),
            network(linear, &[7], 3, 7),
            network(linear, &[7, 4], 3, 7),
        ];
        for graph in networks {
            let (rows, cols) = (graph.tensors[0].rows as usize, graph.tensors[0].cols as usize);
            // The forms of all pairs of columns tell the whole matrix.
            for (row, a) in (0..rows).flat_map(|row| (0..cols).map(move |a| (row, a))) {
                for b in a..cols {
                    let mut weights = vec![0.0; rows * cols];
                    weights[row * cols + a] += 1.0;
                    weights[row * cols + b] += 0.5;
                    let [expected, found] = energies(graph.clone(), weights);
                    let what = format!("{:?}, columns {a} and {b}", graph.nodes[0].op);
                    assert!(
                        (expected - found).abs() <= 1e-5 * (1.0 + expected),
                        "{what}: {found}, not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn samples_of_another_shape_are_refused() {
        let graph = network(conv(5, 1, [1, 1], 1, 1, [0; 4]), &[3, 4, 4], 5, 3);
        let layer = layers(&graph, &graph.shapes().unwrap()).remove(0);
        let dataset = Dataset::new(vec![0.0; 60], vec![3, 4, 5], None).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        let error = gram(&graph, &layer, &samples, 1).unwrap_err();
        assert!(matches!(error, EvalError::Shape { .. }), "{error}");
    }
}
