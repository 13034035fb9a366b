//! The L₋∞ norm: a block is worth as much as the smallest of its weights that stay.

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "lneginf",
    aliases: &[],
    summary: "|w| of the smallest weight of a block",
    source: "Iterative Network Pruning and the Similarity of Masks, arXiv 2001.05050",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Min,
    score: |subject, _| Ok(subject.each_weight(f64::abs)),
};
