//! GraSP: keeps the weights that the flow of gradients depends on.

use super::{Kind, Method, Needs, Setting, Unit};
use crate::calibrate::length;
use crate::train::Statistics;

const BATCH: Setting = Setting::batch(128, "Samples at a time, which share the statistics of batch norms.");

const TEMPERATURE: Setting = Setting {
    name: "temperature",
    kind: Kind::Real(200.0, [0.01, 1e4]),
    help: "What outputs are divided by before the loss.",
    ours: false,
};

const STEP: Setting = Setting {
    name: "step",
    kind: Kind::Real(1e-3, [1e-6, 1.0]),
    help: "How far the weights are moved along the gradient to see how it changes, relative to their length.",
    ours: true,
};

pub(super) const METHOD: Method = Method {
    name: "grasp",
    aliases: &[],
    summary: "w · (H g): weights whose removal strengthens the flow of gradients go first",
    source: "Picking Winning Tickets Before Training, arXiv 2002.07376",
    needs: Needs::Labels,
    settings: &[BATCH, TEMPERATURE, STEP],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let gradients = subject.gradients(criterion, criterion.whole(&BATCH), Statistics::Batch)?;
        let mut gradients = gradients.with_temperature(criterion.real(&TEMPERATURE) as f32);
        // What is pruned is zero, and stays so.
        let prunable = |mut found: Vec<Vec<f64>>| {
            for ((tensor, found), own) in (0u16..).zip(&mut found).zip(&subject.graph.tensors) {
                if subject.layers.iter().all(|layer| layer.tensor.0 != tensor) {
                    found.clear();
                }
                let pruned = found.iter_mut().zip(&own.data).filter(|(_, w)| **w == 0.0);
                pruned.for_each(|(g, _)| *g = 0.0);
            }
            found
        };
        let direction = prunable(gradients.mean(subject.graph));
        let weights = subject.layers.iter().flat_map(|layer| subject.weights(layer));
        let weights = length(weights.map(|&w| f64::from(w)));
        let step = criterion.real(&STEP) * weights / length(direction.iter().flatten().copied()).max(f64::MIN_POSITIVE);
        // A step relative to the weights, because ours are f32.
        let product = gradients.hessian_product(subject.graph, &direction, step);
        Ok(subject.each_pair(&product, |w, product| w * product))
    },
};
