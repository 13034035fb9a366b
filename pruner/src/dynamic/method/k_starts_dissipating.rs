//! K-starts to a part of the sparsity, then dissipating gradients inside the fittest mask.

use super::dissipating::{self, Dissipating, EPOCHS, TAU};
use super::k_starts::{CHILDREN, FITNESS, FITTEST, KStarts, SEARCH, STARTS};
use super::{Kind, Method, Patterns, Pruner, Scope, Setting, Weights};
use crate::prune::PruneError;
use crate::train::State;

const SHARE: Setting = Setting {
    name: "share",
    kind: Kind::Real(0.5, [0.0, 1.0]),
    help: "The masks to begin with have the density asked for to this power: 0.5 leaves half of the way to the second \
           method.",
    ours: true,
};

const REST: Setting = dissipating::rest(&["prune", "keep"]);

pub(super) const METHOD: Method = Method {
    name: "k-starts-dissipating",
    summary: "k-starts to a part of the sparsity, then weights that stay close to their initial values go",
    source: "What to Prune and What Not to Prune at Initialization, arXiv 2209.02201",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Erk, Scope::Uniform],
    settings: &[STARTS, SEARCH, FITNESS, FITTEST, CHILDREN, SHARE, TAU, EPOCHS, REST],
    begin: |chosen, task| {
        let starts = KStarts::new(chosen, task.clone(), chosen.real(&SHARE));
        let rest = Dissipating::new(chosen, &REST, task, starts.end())?;
        Ok(Box::new(Both { starts, rest }))
    },
};

/// One after the other.
struct Both {
    starts: KStarts,
    rest: Dissipating,
}

impl Pruner for Both {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        self.starts.before_step(state, step)?;
        self.rest.before_step(state, step)
    }

    fn effective(&mut self, state: &State, step: u64) -> Result<Weights, PruneError> {
        self.starts.effective(state, step)
    }

    fn gradients(&mut self, state: &mut State, step: u64, gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        self.starts.gradients(state, step, gradients)
    }

    fn after_step(&mut self, state: &mut State, step: u64, rate: f64) -> Result<(), PruneError> {
        self.rest.after_step(state, step, rate)
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        self.starts.finish(state)?;
        self.rest.finish(state)
    }
}
