//! WoodFisher: the loss by a block-diagonal inverse of the empirical Fisher matrix, weights that stay being free to make up
//! for those that go.
//!
//! Only scores; what the weights that stay become is not changed here.

use rayon::prelude::*;

use super::{Kind, Method, Needs, Setting, Unit};
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
        Ok(subject.each_layer(|index, weights| {
            let diagonal = inverses[index].iter().flat_map(Inverse::diagonal);
            let pairs = weights.iter().zip(diagonal);
            pairs
                .map(|(&w, inverse)| f64::from(w) * f64::from(w) / (2.0 * inverse))
                .collect()
        }))
    },
};

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
}
