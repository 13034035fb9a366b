//! The registry of methods that prune while a network trains: a file each, and a line each here.

use super::rewire::{self, Growth, Rewiring};
use super::starts;
use super::{Dynamic, Kind, LayerMasks, Method, Patterns, Pruner, Setting, Task, Weights};
use crate::mask::Scope;

/// Declares the modules, and lists their `METHOD`s in this order. (`cargo fmt` does not see modules that a macro
/// declares: `rustfmt` formats them by their path, as `.ci/run` checks.)
macro_rules! registry {
    ($($module:ident,)*) => {
        $(mod $module;)*

        /// All methods.
        pub const METHODS: &[Method] = &[$($module::METHOD,)*];
    };
}

registry! {
    set,
    rigl,
    k_starts,
    dissipating,
    k_starts_dissipating,
    sr_ste,
    decaying,
    iss_p,
    soft_threshold,
    constrained_l0,
}
