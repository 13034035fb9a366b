//! The L2 norm, for what is pruned together; single weights rank as by magnitude.

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "l2",
    aliases: &["magnitude-l2"],
    summary: "w²: the square of the L2 norm of a block, which ranks the same",
    source: "Iterative Network Pruning and the Similarity of Masks, arXiv 2001.05050",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Sum,
    score: |subject, _| Ok(subject.each_weight(|w| w * w)),
};
