//! The Fisher information of a mask of each channel: what the loss changes by if the channel goes.

use super::{Kind, Method, Needs, Setting, Unit};
use crate::criterion::CriterionError;
use crate::structured::{Coupling, mask_gradients};

const BATCH: Setting = Setting {
    name: "batch",
    kind: Kind::Whole(32, [1, 65_536]),
    help: "Samples of a mini-batch, whose mean gradient is squared.",
    ours: false,
};

const REARRANGE: Setting = Setting {
    name: "rearrange",
    kind: Kind::Name(&["yes", "no"]),
    help: "Whether channels are exchanged afterwards, by what those that go do to the loss together.",
    ours: false,
};

const TUNE: Setting = Setting {
    name: "tune",
    kind: Kind::Name(&["yes", "no"]),
    help: "Whether what reads the channels that stay is weighted anew, so that it gives what a network gives that lost less.",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "channel-fisher",
    aliases: &[],
    summary: "Σ over mini-batches of (dL/dm)², m a mask of the channel; for channels, best with macs",
    source: "A Fast Post-Training Pruning Framework for Transformers, arXiv 2204.09656",
    needs: Needs::Labels,
    settings: &[BATCH, REARRANGE, TUNE],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let samples = subject.samples(criterion)?;
        let failed = |problem| CriterionError::Samples {
            criterion: METHOD.name,
            problem,
        };
        let coupling = Coupling::new(subject.graph).map_err(|error| failed(error.into()))?;
        let gradients = mask_gradients(subject.graph, &coupling, samples, criterion.whole(&BATCH)).map_err(failed)?;
        let importance: Vec<f64> = gradients.iter().map(|g| g.iter().map(|g| g * g).sum()).collect();
        // All weights that make a channel have the same share of its importance.
        let mut makers = vec![0; coupling.count];
        for slices in coupling.makers() {
            let weights = subject
                .graph
                .tensor(slices.tensor)
                .map_or(0, |tensor| tensor.cols as usize);
            slices.channels.iter().for_each(|&channel| makers[channel] += weights);
        }
        let layer = |index: usize| {
            let layer = &subject.layers[index];
            let channels = coupling.makers().find(|slices| slices.tensor == layer.tensor);
            let rows = channels
                .into_iter()
                .flat_map(|slices| &slices.channels)
                .flat_map(|&channel| {
                    std::iter::repeat_n(importance[channel] / makers[channel].max(1) as f64, layer.cols as usize)
                });
            rows.collect()
        };
        Ok((0..subject.layers.len()).map(layer).collect())
    },
};
