//! Real-valued masks: each channel that stays is weighted, where a layer reads it, so that the layer gives what it gives in a
//! network that lost less (arXiv 2204.09656).

use nalgebra::{Cholesky, DMatrix, DVector};
use secateur_format::graph::{Graph, Tensor};

use super::coupling::{Coupling, Slices};
use super::removal::{disconnect, factors};
use crate::calibrate::{Calibration, cross_gram};
use crate::eval::EvalError;
use crate::layer::{Layer, layers};

/// Masks beyond are those of a problem that says too little; then nothing more is tuned.
const LARGEST: f64 = 10.0;

/// `graph` without the channels that `keep` (`[channel]`) has `false` for, in the form of [`disconnect`], its readers tuned one by
/// one, in execution order, to the outputs that the channels of `teacher` give.
///
/// # Errors
/// An [`EvalError`], if the samples do not fit the graph.
pub(super) fn tune(
    graph: &mut Graph,
    coupling: &Coupling,
    [keep, teacher]: [&[bool]; 2],
    calibration: &Calibration<'_>,
) -> Result<(), EvalError> {
    let mut full = graph.clone();
    disconnect(&mut full, coupling, &factors(teacher));
    disconnect(graph, coupling, &factors(keep));
    for layer in layers(graph, &graph.shapes()?) {
        let mut readers = coupling.slices.iter().filter(|slices| slices.reads(&graph.nodes));
        let Some(slices) = readers.find(|slices| slices.tensor == layer.tensor) else {
            continue;
        };
        if layer.groups() > 1 || slices.channels.iter().all(|&channel| keep[channel]) {
            continue;
        }
        let grams = cross_gram(graph, &full, &layer, calibration)?;
        let index = usize::from(layer.tensor.0);
        let system = system(
            &layer,
            slices,
            keep,
            grams,
            [&graph.tensors[index], &full.tensors[index]],
        );
        let Some(masks) = solve(&system.product, &system.wanted) else {
            break;
        };
        for row in graph.tensors[index].data.chunks_mut(layer.cols as usize) {
            for (weight, unit) in row.iter_mut().zip(&system.units) {
                *weight *= unit.map_or(0.0, |unit| masks[unit] as f32);
            }
        }
    }
    Ok(())
}

/// `min ‖A x − B‖²` by its normal equations: column `c` of A is what channel `c` gives to the outputs, B the outputs of the teacher.
struct System {
    /// The place in `x` of what each column of the weights reads; `None` if that has gone.
    units: Vec<Option<usize>>,
    /// `Aᵀ A`.
    product: DMatrix<f64>,
    /// `Aᵀ B`.
    wanted: DVector<f64>,
}

fn system(
    layer: &Layer,
    slices: &Slices,
    keep: &[bool],
    [own, cross]: [ndarray::Array2<f64>; 2],
    [weights, teacher]: [&Tensor; 2],
) -> System {
    let mut order: Vec<usize> = slices
        .channels
        .iter()
        .copied()
        .filter(|&channel| keep[channel])
        .collect();
    order.sort_unstable();
    order.dedup();
    let units = slices.channels.iter().map(|channel| order.binary_search(channel).ok());
    let units: Vec<Option<usize>> = units.collect();
    let (rows, cols) = (layer.rows as usize, layer.cols as usize);
    let matrix = |tensor: &Tensor| DMatrix::from_row_iterator(rows, cols, tensor.data.iter().map(|&w| f64::from(w)));
    let (weights, teacher) = (matrix(weights), matrix(teacher));
    // What inputs u and v of the layer give to outputs has the product of the lengths of both, and of their weights.
    let (alike, across) = (weights.tr_mul(&weights), weights.tr_mul(&teacher));
    let mut product = DMatrix::zeros(order.len(), order.len());
    let mut wanted = DVector::zeros(order.len());
    for (u, unit) in units.iter().enumerate() {
        let Some(unit) = *unit else { continue };
        for (v, other) in units.iter().enumerate() {
            wanted[unit] += cross[(u, v)] * across[(u, v)];
            if let Some(other) = *other {
                product[(unit, other)] += own[(u, v)] * alike[(u, v)];
            }
        }
    }
    System { units, product, wanted }
}

/// The masks: `x = 1 + z` with `(MᵀM + I) z = Mᵀ (Aᵀ B − M 1)` and `M = Aᵀ A`, which is what LSMR with a damping of 1
/// finds; a single one without damping. `None` if one is too large.
fn solve(product: &DMatrix<f64>, wanted: &DVector<f64>) -> Option<Vec<f64>> {
    let count = wanted.len();
    let ones = DVector::from_element(count, 1.0);
    let change = wanted - product * ones;
    let found = if count == 1 {
        DVector::from_element(1, change[0] / product[(0, 0)])
    } else {
        let damped = product.tr_mul(product) + DMatrix::identity(count, count);
        Cholesky::new(damped)?.solve(&product.tr_mul(&change))
    };
    let masks: Vec<f64> = found.iter().map(|change| 1.0 + change).collect();
    masks.iter().all(|mask| mask.abs() <= LARGEST).then_some(masks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mask_is_exact_and_others_are_damped() {
        // algorithms.md 5.8.
        let one = DMatrix::from_element(1, 1, 4.0);
        assert_eq!(solve(&one, &DVector::from_element(1, 6.0)), Some(vec![1.5]));
        assert_eq!(solve(&one, &DVector::from_element(1, 60.0)), None);
        assert_eq!(solve(&(one * 0.0), &DVector::from_element(1, 6.0)), None);
        // (16 + 1) z = 4 · 2 and (1 + 1) z = 1 · 3.
        let two = DMatrix::from_diagonal(&DVector::from_vec(vec![4.0, 1.0]));
        let found = solve(&two, &DVector::from_vec(vec![6.0, 4.0])).unwrap();
        assert!(
            (found[0] - (1.0 + 8.0 / 17.0)).abs() < 1e-12 && (found[1] - 2.5).abs() < 1e-12,
            "{found:?}"
        );
    }
}
