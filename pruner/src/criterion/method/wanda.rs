//! Wanda: weights by the length of the inputs they multiply.
//!
//! The paper compares within output rows (`scope = "row"`), and prunes layer after layer; here all layers see the
//! inputs that the network gives them before the pruning.

use super::{Method, Needs, Unit};

pub(super) const METHOD: Method = Method {
    name: "wanda",
    aliases: &[],
    summary: "|w| · ‖X_j‖₂, of the inputs that the weight multiplies; best with scope row",
    source: "A Simple and Effective Pruning Approach for LLMs, arXiv 2306.11695",
    needs: Needs::Inputs,
    settings: &[],
    unit: Unit::Sum,
    score: |subject, criterion| {
        let norms = subject.column_norms(criterion)?;
        Ok(subject.each_column(&norms, |w, norm| w.abs() * norm))
    },
};
