//! The L∞ norm: a block is worth as much as its largest weight.

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "linf",
    aliases: &[],
    summary: "|w| of the largest weight of a block",
    source: "Iterative Network Pruning and the Similarity of Masks, arXiv 2001.05050",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Max,
    score: |subject, _| Ok(subject.each_weight(f64::abs)),
};
