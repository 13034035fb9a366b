//! Optimal Brain Damage with the diagonal of the empirical Fisher matrix for that of the Hessian.

use super::{Method, Needs, Setting, Unit};
use crate::train::Statistics;

const BATCH: Setting = Setting::batch(
    1,
    "Samples whose mean gradient is squared: 1 is the empirical Fisher matrix, more is batched Fisher \
           (arXiv 2303.15479), which is faster, and smaller by about as much; batches count by their samples.",
);

pub(super) const METHOD: Method = Method {
    name: "fisher",
    aliases: &["obd"],
    summary: "½ w² · mean of (dL/dw)²: what the loss changes by, to second order",
    source: "Faster Gaze Prediction with Dense Networks and Fisher Pruning, arXiv 1801.05787",
    needs: Needs::Labels,
    settings: &[BATCH],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let count = subject.samples(criterion)?.count().max(1) as f64;
        let mut gradients = subject.gradients(criterion, criterion.whole(&BATCH), Statistics::Frozen)?;
        let mut fisher: Vec<Vec<f64>> = Vec::new();
        gradients.each(subject.graph, |samples, gradients| {
            if fisher.is_empty() {
                fisher = gradients.iter().map(|gradient| vec![0.0; gradient.len()]).collect();
            }
            let share = samples as f64 / count;
            for (&g, sum) in gradients.iter().flatten().zip(fisher.iter_mut().flatten()) {
                *sum += share * f64::from(g) * f64::from(g);
            }
        });
        Ok(subject.each_pair(&fisher, |w, fisher| 0.5 * w * w * fisher))
    },
};
