//! Corrections after pruning that need samples, but no training (algorithms: arXiv 1906.04721, 2102.00554).

use secateur_format::graph::{Graph, GraphError};
use secateur_format::{Activation, Op, TensorId, ValueId};

use crate::calibrate::Calibration;
use crate::train::{Interpreter, Statistics};

/// Samples at a time.
const BATCH: usize = 128;

/// Takes the running statistics of all batch norms anew: their mean over batches of the samples, as they are.
///
/// # Errors
/// As [`Graph::shapes`].
pub fn reestimate_norms(graph: &mut Graph, calibration: &Calibration<'_>) -> Result<(), GraphError> {
    let batch = BATCH.min(calibration.count());
    let output = graph.outputs.first().copied().ok_or(GraphError::Structure)?;
    let mut interpreter = Interpreter::trainer(graph, output, batch, Statistics::Batch)?;
    // A rest that does not fill a batch would count as much as one.
    let whole = calibration.batches(batch).filter(|range| range.len() == batch);
    for (index, range) in whole.enumerate() {
        calibration.set_inputs(&mut interpreter, range);
        interpreter.forward(graph);
        interpreter.update_statistics(graph, 1.0 / (index + 1) as f64);
    }
    Ok(())
}

/// Moves the bias of each pruned layer by what its outputs have lost on average over the samples, with
/// the inputs that the pruned network gives it; where a batch norm follows instead of a bias, the mean that it subtracts.
///
/// # Errors
/// As [`Graph::shapes`].
pub fn correct_biases(graph: &mut Graph, dense: &Graph, calibration: &Calibration<'_>) -> Result<(), GraphError> {
    for index in 0..graph.nodes.len() {
        let Some((weight, target)) = correctable(graph, index) else {
            continue;
        };
        let slot = usize::from(weight.0);
        if graph.tensors[slot].data == dense.tensors[slot].data {
            continue;
        }
        let value = ValueId((graph.inputs.len() + index) as u16);
        let pruned = channel_means(graph, value, calibration)?;
        let own = std::mem::replace(&mut graph.tensors[slot].data, dense.tensors[slot].data.clone());
        let wanted = channel_means(graph, value, calibration);
        graph.tensors[slot].data = own;
        let (id, sign) = match target {
            Target::Bias(id) => (id, 1.0),
            Target::Mean(id) => (id, -1.0),
        };
        let values = &mut graph.tensors[usize::from(id.0)].data;
        for (value, (wanted, pruned)) in values.iter_mut().zip(wanted?.into_iter().zip(pruned)) {
            *value += (sign * (wanted - pruned)) as f32;
        }
    }
    Ok(())
}

/// What can stand in for a layer's bias.
enum Target {
    Bias(TensorId),
    Mean(TensorId),
}

fn correctable(graph: &Graph, index: usize) -> Option<(TensorId, Target)> {
    let node = &graph.nodes[index];
    let weight = node.op.weight()?;
    let plain = match &node.op {
        Op::Conv2d(conv) => conv.activation == Activation::Identity,
        Op::Linear(linear) => linear.activation == Activation::Identity,
        _ => false,
    };
    if !plain {
        return None;
    }
    if let Some(bias) = node.op.bias() {
        return Some((weight, Target::Bias(bias)));
    }
    let value = ValueId((graph.inputs.len() + index) as u16);
    let mut readers = graph.nodes.iter().filter(|node| node.inputs.contains(&value));
    match (readers.next().map(|node| &node.op), readers.next()) {
        (Some(Op::BatchNorm(bn)), None) => Some((weight, Target::Mean(bn.mean))),
        _ => None,
    }
}

/// The mean of each channel of a value.
fn channel_means(graph: &Graph, value: ValueId, calibration: &Calibration<'_>) -> Result<Vec<f64>, GraphError> {
    let shape = graph.shapes()?[usize::from(value.0)];
    let channels = shape.dims().first().map_or(1, |&channels| channels as usize);
    let inner = shape.elems() / channels;
    let mut interpreter = Interpreter::new(graph, value, BATCH.min(calibration.count()))?;
    let mut sums = vec![0.0; channels];
    for batch in calibration.batches(BATCH) {
        calibration.set_inputs(&mut interpreter, batch);
        interpreter.forward(graph);
        for (index, plane) in interpreter.output().chunks_exact(inner).enumerate() {
            sums[index % channels] += plane.iter().map(|&y| f64::from(y)).sum::<f64>();
        }
    }
    Ok(sums
        .into_iter()
        .map(|sum| sum / (calibration.count() * inner) as f64)
        .collect())
}

#[cfg(test)]
mod tests {
    use secateur_format::Shape;
    use secateur_format::graph::{Input, NodeDef, Tensor};
    use secateur_format::op::{BatchNorm, Linear};

    use super::*;
    use crate::data::{Dataset, Preprocess};
    use crate::train::Samples;

    #[test]
    fn biases_take_over_what_pruned_weights_gave_on_average() {
        // algorithms.md 6.22: the row [0.5, -0.1, 0.3] without its second weight, mean input [2, 1, 1].
        let tensor = |name: &str, data: Vec<f32>| Tensor::vector(name, data);
        let linear = Linear {
            out_features: 1,
            weight: TensorId(0),
            bias: Some(TensorId(1)),
            activation: Activation::Identity,
        };
        let dense = Graph {
            inputs: vec![Input {
                name: "x".into(),
                shape: Shape::new(&[3]).unwrap(),
            }],
            nodes: vec![NodeDef {
                name: "fc".into(),
                op: Op::Linear(linear),
                inputs: vec![ValueId(0)],
            }],
            tensors: vec![tensor("w", vec![0.5, -0.1, 0.3]), tensor("b", vec![0.25])],
            outputs: vec![ValueId(1)],
        };
        let mut graph = dense.clone();
        graph.tensors[0].data[1] = 0.0;
        let dataset = Dataset::new(vec![1.0, 0.0, 2.0, 3.0, 2.0, 0.0], vec![3], None).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        correct_biases(&mut graph, &dense, &Calibration::new(samples, 2, 0)).unwrap();
        assert!((graph.tensors[1].data[0] - 0.15).abs() < 1e-6);
        assert_eq!(graph.tensors[0].data, [0.5, 0.0, 0.3]);
    }

    #[test]
    fn norms_have_the_mean_statistics_of_whole_batches() {
        let [mean, var] = [2, 3].map(TensorId);
        let norm = BatchNorm {
            scale: TensorId(0),
            bias: TensorId(1),
            mean,
            var,
            eps: 1e-5,
        };
        let tensors = ["scale", "bias", "mean", "var"].map(|name| Tensor::vector(name, vec![7.0, -3.0]));
        let mut graph = Graph {
            inputs: vec![Input {
                name: "x".into(),
                shape: Shape::new(&[2, 3]).unwrap(),
            }],
            nodes: vec![NodeDef {
                name: "bn".into(),
                op: Op::BatchNorm(norm),
                inputs: vec![ValueId(0)],
            }],
            tensors: tensors.to_vec(),
            outputs: vec![ValueId(1)],
        };
        let value = |i: usize| ((i * i % 101) as f32 * 0.37).sin() + (i % 6 / 3) as f32;
        let dataset = Dataset::new((0..300 * 6).map(value).collect(), vec![2, 3], None).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        // One batch that is not full, and two that leave a rest.
        for (count, batch) in [(100, 100), (290, 128)] {
            let order = samples.choose(count, 0);
            reestimate_norms(&mut graph, &Calibration::new(samples, count, 0)).unwrap();
            for channel in 0..2 {
                let of = |index: usize| &dataset.input(order[index])[3 * channel..][..3];
                let batches = (0..count / batch).map(|index| {
                    let range = batch * index..batch * (index + 1);
                    let values: Vec<f64> = range.flat_map(of).map(|&x| f64::from(x)).collect();
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
                    // Running variances are unbiased, as in PyTorch.
                    (mean, squares / (values.len() - 1) as f64)
                });
                let batches: Vec<(f64, f64)> = batches.collect();
                let average =
                    |part: fn(&(f64, f64)) -> f64| batches.iter().map(part).sum::<f64>() / batches.len() as f64;
                for (id, expected) in [(mean, average(|batch| batch.0)), (var, average(|batch| batch.1))] {
                    let found = f64::from(graph.tensor(id).unwrap().data[channel]);
                    assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
                }
            }
        }
    }
}
