//! WoodFisher: the loss by a block-diagonal inverse of the empirical Fisher matrix, weights that stay being free to make up
//! for those that go.

use rayon::prelude::*;

use super::{Criterion, CriterionError, Kind, Method, Needs, Setting, Subject, Unit};
use crate::train::Statistics;

const BATCH: Setting = Setting::batch(1, "Samples of each gradient.");

const BLOCK: Setting = Setting {
    name: "block",
    kind: Kind::Whole(64, [1, 4096]),
    help: "Neighbouring weights of a layer that make up for each other; it takes 8 bytes of each for each (the paper: \
           1000 to 10000).",
    ours: true,
};

const DAMPING: Setting = Setting {
    name: "damping",
    kind: Kind::Real(1e-3, [1e-9, 1e3]),
    help: "Added to the diagonal of the Fisher matrix.",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "woodfisher",
    aliases: &[],
    summary: "w² / (2 · diagonal of the inverse Fisher matrix, by blocks)",
    source: "WoodFisher: Efficient Second-Order Approximation, arXiv 2004.14340",
    needs: Needs::Labels,
    settings: &[BATCH, BLOCK, DAMPING],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let inverses = inverses(subject, criterion)?;
        Ok(subject.each_layer(|index, weights| {
            let diagonal = inverses[index].iter().flat_map(Inverse::diagonal);
            let pairs = weights.iter().zip(diagonal);
            pairs
                .map(|(&w, inverse)| f64::from(w) * f64::from(w) / (2.0 * inverse))
                .collect()
        }))
    },
};

/// By layer and block.
fn inverses(subject: &Subject<'_>, criterion: &Criterion) -> Result<Vec<Vec<Inverse>>, CriterionError> {
    let (batch, block) = (criterion.whole(&BATCH), criterion.whole(&BLOCK));
    let count = subject.samples(criterion)?.batches(batch).count() as f64;
    let mut gradients = subject.gradients(criterion, batch, Statistics::Frozen)?;
    let inverse = |weights: &[f32]| Inverse::new(weights.len(), criterion.real(&DAMPING));
    let blocks = subject.layers.iter().map(|layer| subject.weights(layer).chunks(block));
    let mut inverses: Vec<Vec<Inverse>> = blocks.map(|blocks| blocks.map(inverse).collect()).collect();
    gradients.each(subject.graph, |_, gradients| {
        for (layer, inverses) in subject.layers.iter().zip(&mut inverses) {
            let parts = gradients[usize::from(layer.tensor.0)].par_chunks(block);
            let pairs = inverses.par_iter_mut().zip(parts);
            pairs.for_each(|(inverse, gradient)| inverse.add(gradient, count));
        }
    });
    Ok(inverses)
}

/// What the weights that `masks` keep of each layer become to make up for the others: the sum of what each alone asks for,
/// `−w_q F⁻¹[:, q] / F⁻¹[q, q]`, within its block. The settings are those of the criterion, if it is this one.
///
/// # Errors
/// A [`CriterionError`], if there are no samples or labels, or they do not fit.
pub(crate) fn compensated(
    subject: &Subject<'_>,
    criterion: &Criterion,
    masks: &[&[bool]],
) -> Result<Vec<Vec<f32>>, CriterionError> {
    let default = Criterion::new(&METHOD);
    let criterion = match criterion.method().name == METHOD.name {
        true => criterion,
        false => &default,
    };
    let block = criterion.whole(&BLOCK);
    let layers = subject.layers.iter().zip(inverses(subject, criterion)?).zip(masks);
    let layers = layers.map(|((layer, inverses), mask)| {
        let blocks = subject.weights(layer).par_chunks(block).zip(mask.par_chunks(block));
        let changed = blocks
            .zip(inverses)
            .map(|((weights, mask), inverse)| inverse.compensated(weights, mask));
        changed.collect::<Vec<_>>().concat()
    });
    Ok(layers.collect())
}

/// The inverse of a matrix that gradients are added to.
struct Inverse {
    size: usize,
    /// `[size, size]`.
    values: Vec<f64>,
}

impl Inverse {
    /// That of `damping · I`.
    fn new(size: usize, damping: f64) -> Self {
        let mut values = vec![0.0; size * size];
        values.iter_mut().step_by(size + 1).for_each(|x| *x = 1.0 / damping);
        Self { size, values }
    }

    /// Adds `g gᵀ / count` to the matrix (Sherman and Morrison 1950).
    fn add(&mut self, gradient: &[f32], count: f64) {
        let dot = |row: &[f64]| row.iter().zip(gradient).map(|(a, &g)| a * f64::from(g)).sum::<f64>();
        let product: Vec<f64> = self.values.chunks_exact(self.size).map(dot).collect();
        let below = count + dot(&product);
        for (row, &x) in self.values.chunks_exact_mut(self.size).zip(&product) {
            let row = row.iter_mut().zip(&product);
            row.for_each(|(value, &y)| *value -= x * y / below);
        }
    }

    fn diagonal(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().step_by(self.size + 1).copied()
    }

    fn compensated(&self, weights: &[f32], mask: &[bool]) -> Vec<f32> {
        let mut changed: Vec<f64> = weights.iter().map(|&w| w.into()).collect();
        for gone in (0..weights.len()).filter(|&at| !mask[at]) {
            let column = &self.values[gone * self.size..][..self.size];
            let part = f64::from(weights[gone]) / column[gone];
            // Symmetric: its rows are its columns.
            changed.iter_mut().zip(column).for_each(|(w, x)| *w -= part * x);
        }
        let kept = changed.iter().zip(mask);
        kept.map(|(&w, &keep)| if keep { w as f32 } else { 0.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_stay_make_up_for_one_that_goes() {
        // algorithms.md 6.9.
        let mut inverse = Inverse::new(2, 1.0);
        inverse.add(&[1.0, 2.0], 1.0);
        let expected = [0.833333, -0.333333, -0.333333, 0.333333];
        let pairs = inverse.values.iter().zip(expected);
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", inverse.values);
        let changed = inverse.compensated(&[1.0, 1.0], &[false, true]);
        assert_eq!(changed[0], 0.0);
        assert!((changed[1] - 1.4).abs() < 1e-6, "{changed:?}");
        assert_eq!(inverse.compensated(&[1.0, 1.0], &[true; 2]), [1.0; 2]);
        assert_eq!(inverse.compensated(&[1.0, 1.0], &[false; 2]), [0.0; 2]);
    }
}
