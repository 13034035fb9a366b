//! Magnitude pruning (LeCun et al. 1989 name it as the baseline).

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "magnitude",
    aliases: &["l1"],
    summary: "|w|: the L1 norm of a block",
    source: "Learning both Weights and Connections, arXiv 1506.02626",
    needs: Needs::Weights,
    settings: &[],
    unit: Unit::Sum,
    score: |subject, _| Ok(subject.each_weight(f64::abs)),
};
