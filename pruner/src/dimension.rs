//! The intrinsic dimension of what layers make of samples.

use rayon::prelude::*;
use secateur_format::graph::{Graph, GraphError};
use secateur_format::{Op, ValueId};

use crate::calibrate::{Calibration, values};
use crate::eval::EvalError;
use crate::layer::layers;

/// Sums that are kept apart, so that they fill a vector register.
const LANES: usize = 16;

/// The intrinsic dimension of points `[points][features]`, all of one length, by TwoNN (Facco et al. 2017), in its
/// maximum likelihood form: `(N − 1) / Σ ln (r₂ / r₁)`, r₁ and r₂ the distances to the two nearest other points.
/// Of equal points one is used. `None` for fewer than three different points, or if all have their neighbours at equal
/// distances.
pub fn two_nn(points: &[Vec<f32>]) -> Option<f64> {
    let squares: Vec<Vec<f64>> = points
        .par_iter()
        .map(|point| points.iter().map(|other| square_distance(point, other)).collect())
        .collect();
    let mut kept: Vec<usize> = Vec::new();
    for (point, squares) in squares.iter().enumerate() {
        if kept.iter().all(|&other| squares[other] > 0.0) {
            kept.push(point);
        }
    }
    let ratio = |&point: &usize| {
        let others = kept
            .iter()
            .filter(|&&other| other != point)
            .map(|&other| squares[point][other]);
        let [first, second] = others.fold([f64::INFINITY; 2], |[first, second], d| {
            if d < first { [d, first] } else { [first, second.min(d)] }
        });
        (second / first).sqrt()
    };
    if kept.len() < 3 {
        return None;
    }
    of_ratios(&kept.iter().map(ratio).collect::<Vec<_>>())
}

fn of_ratios(ratios: &[f64]) -> Option<f64> {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (logs > 0.0).then(|| (ratios.len() as f64 - 1.0) / logs)
}

fn square_distance(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().map(|&sum| f64::from(sum)).sum()
}

/// The intrinsic dimension of each layer's activations, behind batch norm and activation function, in execution order.
///
/// # Errors
/// An [`EvalError`], if the samples do not fit the graph.
pub fn dimensions(
    graph: &Graph,
    calibration: &Calibration<'_>,
    mut tick: impl FnMut(),
) -> Result<Vec<(String, Option<f64>)>, EvalError> {
    calibration.check_inputs(graph)?;
    let shapes = graph.shapes()?;
    let mut found = Vec::new();
    for layer in layers(graph, &shapes) {
        let value = activation(graph, layer.node(graph).ok_or(GraphError::Structure)?);
        let activations = values(graph, value, calibration)?;
        let points = activations.chunks_exact(shapes[usize::from(value.0)].elems());
        let points: Vec<Vec<f32>> = points.map(<[f32]>::to_vec).collect();
        found.push((layer.name, two_nn(&points)));
        tick();
    }
    Ok(found)
}

/// What a node's output becomes behind batch norms and activation functions that alone read it.
fn activation(graph: &Graph, node: usize) -> ValueId {
    let value = graph.output_of(node);
    let mut readers = (0..graph.nodes.len()).filter(|&index| graph.nodes[index].inputs.contains(&value));
    match (readers.next(), readers.next()) {
        (Some(reader), None) if matches!(graph.nodes[reader].op, Op::BatchNorm(_) | Op::Activation(_)) => {
            activation(graph, reader)
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use secateur_format::Shape;

    use super::*;
    use crate::data::{Dataset, Preprocess};
    use crate::train::{Init, Purpose, Samples, stream, unit, zoo};

    fn uniform(count: usize, dimensions: usize) -> Vec<Vec<f64>> {
        let mut rng = stream(5, Purpose::Direction, 0, 0);
        (0..count)
            .map(|_| (0..dimensions).map(|_| unit(&mut rng)).collect())
            .collect()
    }

    /// Points of a square or a line, in a space of 20 features: turned, so that no axis is empty.
    fn embedded(points: &[Vec<f64>]) -> Vec<Vec<f32>> {
        let feature = |point: &[f64], feature: usize| {
            let along = point
                .iter()
                .enumerate()
                .map(|(axis, x)| x * ((axis + 1) as f64 * feature as f64 + 0.3).sin());
            along.sum::<f64>() as f32
        };
        points
            .iter()
            .map(|point| (0..20).map(|axis| feature(point, axis)).collect())
            .collect()
    }

    /// algorithms.md 5.7
    #[test]
    fn ratios_of_two_have_the_dimension_of_the_definition() {
        let found = of_ratios(&[2.0; 3]).unwrap();
        assert!((found - 0.961_797).abs() < 1e-6, "{found}");
        // The form with N is 1 / ln 2.
        assert!((found * 3.0 / 2.0 - std::f64::consts::LOG2_E).abs() < 1e-6);
    }

    /// algorithms.md 5.7
    #[test]
    fn a_line_and_a_square_have_theirs() {
        for dimensions in [1, 2] {
            let found = two_nn(&embedded(&uniform(2000, dimensions))).unwrap();
            assert!((found - dimensions as f64).abs() < 0.15, "{found}");
        }
    }

    #[test]
    fn equal_points_count_once_and_too_few_have_none() {
        let points = embedded(&uniform(100, 2));
        let twice = [points.clone(), points.clone()].concat();
        assert_eq!(two_nn(&points), two_nn(&twice));
        assert_eq!(two_nn(&[points[0].clone(), points[1].clone(), points[1].clone()]), None);
        assert_eq!(two_nn(&vec![vec![1.0; 4]; 10]), None);
    }

    #[test]
    fn scale_does_not_matter() {
        let points = embedded(&uniform(100, 2));
        let scaled: Vec<Vec<f32>> = points
            .iter()
            .map(|point| point.iter().map(|x| 4.0 * x).collect())
            .collect();
        let (found, expected) = (two_nn(&scaled).unwrap(), two_nn(&points).unwrap());
        assert!((found - expected).abs() < 1e-9 * expected);
    }

    #[test]
    fn every_layer_of_a_network_has_one_of_its_activations() {
        let values: Vec<f32> = uniform(60, 3 * 64).concat().iter().map(|&x| x as f32).collect();
        let dataset = Dataset::new(values, vec![3, 8, 8], None).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        let network = zoo::find("resnet-8").unwrap();
        let graph = network
            .build(Shape::new(&[3, 8, 8]).unwrap(), 3, Init::default(), 1)
            .unwrap();
        let calibration = Calibration::new(samples, 50, 0);
        let mut ticks = 0;
        let found = dimensions(&graph, &calibration, || ticks += 1).unwrap();
        assert_eq!(found.len(), ticks);
        assert!(
            found.iter().all(|(_, dimension)| dimension.is_some_and(|d| d > 1.0)),
            "{found:?}"
        );
        // The first convolution's are behind its batch norm and ReLU.
        let conv = graph.nodes.iter().position(|node| node.op.weight().is_some()).unwrap();
        assert!(activation(&graph, conv).0 > graph.output_of(conv).0);
    }
}
