//! The registry of criteria: a file each, and a line each here.

use super::{Criterion, CriterionError, Kind, Method, Needs, Scores, Setting, Subject, Unit};

/// Declares the modules, and lists their `METHOD`s in this order. (`cargo fmt` does not see modules that a macro
/// declares: `rustfmt` formats them by their path, as `.ci/run` checks.)
macro_rules! registry {
    ($($module:ident,)*) => {
        $(mod $module;)*

        /// All criteria. The first is the default.
        pub const METHODS: &[Method] = &[$($module::METHOD,)*];
    };
}

registry! {
    magnitude,
    l2,
    linf,
    lneginf,
    random,
    nmf,
    synflow,
    wanda,
    ria,
    snip,
    grasp,
    taylor,
    movement,
    fisher,
    woodfisher,
    nnrelief,
    coreset,
    fpgm,
    bn_scale,
    channel_fisher,
}

pub(crate) use random::uniform;
pub(crate) use woodfisher::compensated;
