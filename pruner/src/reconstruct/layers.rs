//! From layer to layer: each is reconstructed for the inputs that the layers before it give now.

use std::collections::BTreeMap;
use std::fmt;

use nalgebra::DMatrix;
use secateur_format::TensorId;
use secateur_format::graph::Graph;

use super::{Method, Problem, ReconstructError, Removal, Solution};
use crate::calibrate::{Calibration, gram};
use crate::criterion::method::compensated;
use crate::criterion::{Criterion, Subject};
use crate::eval::EvalError;
use crate::layer::{Layer, layers};
use crate::mask::Pattern;
use crate::prune::Masks;

/// How far the outputs of a pruned layer are from those of its own dense weights, as a share of their energy:
/// `tr((W−W′) H (W−W′)ᵀ) / tr(W H Wᵀ)`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LayerError {
    /// The layer.
    pub layer: String,
    /// Masked as the criterion chose, with weights as they were.
    pub masked: f64,
    /// Reconstructed.
    pub reconstructed: f64,
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            layer,
            masked,
            reconstructed,
        } = self;
        write!(
            f,
            "{layer}: output error {masked:.4} masked, {reconstructed:.4} reconstructed"
        )
    }
}

/// Reconstructs the layers that `masks` prunes, in execution order, over the samples. The weights of `graph`
/// are dense before. Methods that choose masks replace them, by as many units of `pattern` in each group of
/// a layer; a layer that the pattern does not divide is pruned by single weights. Methods by gradients have the settings
/// of `criterion`.
///
/// # Errors
/// A [`ReconstructError`].
pub fn reconstruct(
    graph: &mut Graph,
    masks: &mut Masks,
    pattern: Pattern,
    method: &Method,
    criterion: &Criterion,
    calibration: &Calibration<'_>,
) -> Result<Vec<LayerError>, ReconstructError> {
    let mut errors = Vec::new();
    let shapes = graph.shapes().map_err(EvalError::from)?;
    let layers = layers(graph, &shapes);
    let given = match method.needs_labels() {
        true => Some(by_gradients(graph, &layers, masks, criterion, calibration)?),
        false => None,
    };
    for layer in layers {
        let own = masks.iter_mut().find(|(id, _)| *id == layer.tensor);
        let Some(&mut (id, ref mut mask)) = own.filter(|(_, mask)| mask.contains(&false)) else {
            continue;
        };
        let pattern = match pattern.fits(&layer) {
            Ok(()) => pattern,
            Err(_) => Pattern::Unstructured,
        };
        let grams = gram(graph, &layer, calibration)?;
        let weights = &mut graph.tensors[usize::from(id.0)].data;
        let mut sums = [0.0; 3];
        let size = layer.group_rows as usize * layer.cols as usize;
        let matrix = |weights: &[f32]| {
            let weights = weights.iter().map(|&w| f64::from(w));
            DMatrix::from_row_iterator(layer.group_rows as usize, layer.cols as usize, weights)
        };
        let groups = weights.chunks_exact_mut(size).zip(mask.chunks_exact_mut(size));
        for (group, ((weights, mask), gram)) in groups.zip(grams).enumerate() {
            let problem = Problem {
                weights: matrix(weights),
                // Symmetric, so that the order of rows and columns does not matter.
                gram: DMatrix::from_vec(gram.nrows(), gram.ncols(), gram.into_raw_vec_and_offset().0),
            };
            let solution = match given.as_ref().and_then(|given| given.get(&id)) {
                Some(given) => Ok(Solution {
                    weights: matrix(&given[group * size..][..size]),
                    mask: mask.to_vec(),
                }),
                None => method.solve(&problem, removal(pattern, mask), mask.to_vec()),
            };
            let finite = |found: &Solution| found.weights.iter().all(|w| w.is_finite());
            let solution = solution.ok().filter(finite).ok_or_else(|| ReconstructError::Inputs {
                layer: layer.name.clone(),
            })?;
            let none = DMatrix::zeros(problem.weights.nrows(), problem.weights.ncols());
            let found = [&none, &problem.masked(mask), &solution.weights].map(|weights| problem.error(weights));
            sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
            let rows = solution.weights.transpose();
            weights.iter_mut().zip(&rows).for_each(|(w, &found)| *w = found as f32);
            mask.copy_from_slice(&solution.mask);
        }
        errors.push(layer_error(layer, sums));
    }
    Ok(errors)
}

/// The weights of the layers that `masks` prunes, from the gradients of the dense network.
fn by_gradients(
    graph: &Graph,
    layers: &[Layer],
    masks: &Masks,
    criterion: &Criterion,
    calibration: &Calibration<'_>,
) -> Result<BTreeMap<TensorId, Vec<f32>>, ReconstructError> {
    let mask = |layer: &Layer| {
        masks
            .iter()
            .find(|(id, mask)| *id == layer.tensor && mask.contains(&false))
    };
    let pruned: Vec<(Layer, &[bool])> = layers
        .iter()
        .filter_map(|layer| Some((layer.clone(), mask(layer)?.1.as_slice())))
        .collect();
    if pruned.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (layers, masks): (Vec<Layer>, Vec<&[bool]>) = pruned.into_iter().unzip();
    let subject = Subject {
        graph,
        layers: &layers,
        calibration: Some(calibration),
        seed: 0,
    };
    let weights = compensated(&subject, criterion, &masks)?;
    Ok(layers.iter().map(|layer| layer.tensor).zip(weights).collect())
}

/// As many units as a mask prunes.
fn removal(pattern: Pattern, mask: &[bool]) -> Removal {
    let (r, c) = pattern.extents();
    let pruned = mask.iter().filter(|&&keep| !keep).count();
    Removal {
        pattern,
        units: pruned / (usize::from(r) * usize::from(c)),
    }
}

fn layer_error(layer: Layer, [energy, masked, reconstructed]: [f64; 3]) -> LayerError {
    // Outputs that are always zero cannot be wrong.
    let share = |error: f64| if energy > 0.0 { error / energy } else { 0.0 };
    LayerError {
        layer: layer.name,
        masked: share(masked),
        reconstructed: share(reconstructed),
    }
}

#[cfg(test)]
mod tests {
    use secateur_format::Shape;

    use super::*;
    use crate::data::{Dataset, Preprocess};
    use crate::prune::{apply, choose};
    use crate::recipe::{Prune, Recipe};
    use crate::reconstruct::METHODS;
    use crate::train::{Init, Samples, zoo};

    #[test]
    fn every_layer_is_reconstructed_for_the_inputs_it_gets() {
        let shape = Shape::new(&[3, 8, 8]).unwrap();
        let dense = zoo::find("ds-cnn")
            .unwrap()
            .build(shape, 4, Init::default(), 1)
            .unwrap();
        let images = (0..32 * 192).map(|i| (i as f32 * 0.77).sin() + 0.3).collect();
        let labels = (0..32).map(|i| i % 4).collect();
        let dataset = Dataset::new(images, vec![3, 8, 8], Some(labels)).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        let calibration = Calibration::new(samples, 24, 1);
        for (pattern, sparsity) in [("unstructured", Some(0.6)), ("4x1", Some(0.6)), ("2:4", None)] {
            let prune = Prune {
                pattern: pattern.parse().unwrap(),
                ..Prune::default()
            };
            let options = Recipe {
                prune,
                ..Recipe::default()
            }
            .options(sparsity);
            let (chosen, _) = choose(&dense, |_| None, &options, None).unwrap();
            for method in &METHODS {
                let what = format!("{} {pattern}", method.name);
                let (mut graph, mut masks) = (dense.clone(), chosen.clone());
                let errors = reconstruct(
                    &mut graph,
                    &mut masks,
                    options.pattern,
                    method,
                    &options.criterion,
                    &calibration,
                )
                .unwrap();
                let mut applied = graph.clone();
                apply(&mut applied, &masks);
                assert_eq!(applied, graph, "{what}: weights that are pruned");
                let mut masked = dense.clone();
                apply(&mut masked, &masks);
                assert_ne!(masked, graph, "{what}: weights that stay");
                assert_eq!(masks == chosen, !method.chooses(), "{what}");
                for ((id, before), (_, after)) in chosen.iter().zip(&masks) {
                    let pruned = |mask: &[bool]| mask.iter().filter(|&&keep| !keep).count();
                    assert_eq!(pruned(before), pruned(after), "{what}: {id:?}");
                }
                for (error, layer) in errors.iter().zip(pruned_layers(&dense, &chosen)) {
                    assert_eq!(error.layer, layer.name);
                    // WoodFisher looks at the loss.
                    assert!(
                        method.needs_labels() || error.reconstructed <= error.masked,
                        "{what}: {error}"
                    );
                    // What the finished network gives the layer is what it was reconstructed for.
                    let slot = usize::from(layer.tensor.0);
                    let own = [&dense, &graph].map(|graph| &graph.tensors[slot].data);
                    let found = relative_error(&gram(&graph, &layer, &calibration).unwrap(), &layer, own);
                    assert!(
                        (found - error.reconstructed).abs() < 1e-4,
                        "{what}: {error}, not {found}"
                    );
                }
            }
        }
    }

    fn pruned_layers(graph: &Graph, masks: &Masks) -> Vec<Layer> {
        let pruned = |layer: &Layer| {
            masks
                .iter()
                .any(|(id, mask)| *id == layer.tensor && mask.contains(&false))
        };
        let layers = layers(graph, &graph.shapes().unwrap()).into_iter();
        layers.filter(pruned).collect()
    }

    fn relative_error(grams: &[ndarray::Array2<f64>], layer: &Layer, [dense, pruned]: [&Vec<f32>; 2]) -> f64 {
        let energy = |weights: Vec<f64>| -> f64 {
            let rows = weights.chunks(layer.cols as usize).enumerate();
            let row = |(row, w): (usize, &[f64])| {
                let w = ndarray::Array1::from(w.to_vec());
                w.dot(&grams[row / layer.group_rows as usize].dot(&w))
            };
            rows.map(row).sum()
        };
        let difference = dense.iter().zip(pruned).map(|(&a, &b)| f64::from(a) - f64::from(b));
        energy(difference.collect()) / energy(dense.iter().map(|&w| w.into()).collect())
    }
}
