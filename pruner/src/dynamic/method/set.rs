//! SET: weights grow at random.

use super::{Growth, Method, Patterns, Rewiring, Scope, rewire};

pub(super) const METHOD: Method = Method {
    name: "set",
    summary: "random masks; now and then the smallest weights are exchanged for others at random",
    source: "Sparse Evolutionary Training, Nature Communications 9, 2018; schedule of arXiv 1911.11134",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Erk, Scope::Uniform],
    settings: rewire::SETTINGS,
    begin: |chosen, task| Rewiring::begin(Growth::Random, chosen, task),
};
