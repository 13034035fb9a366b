//! Movement pruning, of which this is one step: weights that training would move away from zero stay.
//!
//! The paper sums the score over a fine-tuning.

use super::{Method, Needs, Setting, Unit};
use crate::train::Statistics;

const BATCH: Setting = Setting::batch(128, "Samples at a time.");

pub(super) const METHOD: Method = Method {
    name: "movement",
    aliases: &[],
    summary: "−w · dL/dw: weights that a step of training moves towards zero go first",
    source: "Movement Pruning: Adaptive Sparsity by Fine-Tuning, arXiv 2005.07683",
    needs: Needs::Labels,
    settings: &[BATCH],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let mut gradients = subject.gradients(criterion, criterion.whole(&BATCH), Statistics::Frozen)?;
        Ok(subject.each_pair(&gradients.mean(subject.graph), |w, g| -w * g))
    },
};
