//! First-order Taylor expansion of the loss, for what is pruned together.

use super::{Method, Needs, Setting, Unit};
use crate::train::Statistics;

const BATCH: Setting = Setting::batch(128, "Samples at a time.");

pub(super) const METHOD: Method = Method {
    name: "taylor",
    aliases: &[],
    summary: "|Σ w · dL/dw| over a block: what the loss changes by, to first order, if the block goes",
    source: "Importance Estimation for Neural Network Pruning, arXiv 1906.10771",
    needs: Needs::Labels,
    settings: &[BATCH],
    unit: Unit::AbsSum,
    score: |subject, criterion| {
        let mut gradients = subject.gradients(criterion, criterion.whole(&BATCH), Statistics::Frozen)?;
        Ok(subject.each_pair(&gradients.mean(subject.graph), |w, g| w * g))
    },
};
