//! SNIP: how the loss answers to the removal of a connection.

use super::{Kind, Method, Needs, Setting, Unit};
use crate::train::Statistics;

const BATCH: Setting = Setting::batch(128, "Samples at a time, which share the statistics of batch norms.");

const ROUNDS: Setting = Setting {
    name: "rounds",
    kind: Kind::Whole(1, [1, 1000]),
    help: "Rounds in which it prunes, with new gradients in each (arXiv 2006.09081).",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "snip",
    aliases: &[],
    summary: "|w · dL/dw|, the gradient summed over all samples first",
    source: "SNIP: Single-shot Network Pruning, arXiv 1810.02340",
    needs: Needs::Labels,
    settings: &[BATCH, ROUNDS],
    unit: Unit::Sum,
    score: |subject, criterion| {
        // As in the authors' code, batch norms are in training mode: at initialisation they have no other statistics.
        let mut gradients = subject.gradients(criterion, criterion.whole(&BATCH), Statistics::Batch)?;
        Ok(subject.each_pair(&gradients.mean(subject.graph), |w, g| (w * g).abs()))
    },
};
