//! Gradual pruning: the sparsity rises while it trains.

use crate::calibrate::Calibration;
use crate::dynamic::Pruner;
use crate::prune::{PruneError, PruneOptions};
use crate::schedule::Ramp;
use crate::train::State;

use super::phase::set_masks;

/// How the sparsity rises while it trains.
pub(super) struct Gradual<'a> {
    pub(super) target: f64,
    pub(super) ramp: Ramp,
    /// Where it begins and ends.
    pub(super) steps: [u64; 2],
    pub(super) every: u64,
    pub(super) options: PruneOptions,
    pub(super) calibration: Option<Calibration<'a>>,
}

impl Pruner for Gradual<'_> {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        let [begin, end] = self.steps;
        if step < begin || step > end || !((step - begin).is_multiple_of(self.every) || step == end) {
            return Ok(());
        }
        let done = (step - begin) as f64 / (end - begin).max(1) as f64;
        let fixed = self.options.pattern.fixed_sparsity().is_some();
        self.options.sparsity = (!fixed).then(|| self.ramp.at(self.target, done));
        set_masks(state, &self.options, self.calibration.as_ref())
    }
}
