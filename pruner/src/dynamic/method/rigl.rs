//! RigL: weights grow where the dense gradient is largest.

use super::{Growth, Method, Patterns, Rewiring, Scope, rewire};

pub(super) const METHOD: Method = Method {
    name: "rigl",
    summary: "random masks; now and then the smallest weights are exchanged for those with the largest gradients",
    source: "Rigging the Lottery: Making All Tickets Winners, arXiv 1911.11134",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Erk, Scope::Uniform],
    settings: rewire::SETTINGS,
    begin: |chosen, task| Rewiring::begin(Growth::Gradient, chosen, task),
};
