//! What prunes during a training: gradual pruning, or a dynamic method.

use super::phase::set_masks;
use super::{RunError, Runner};
use crate::calibrate::Calibration;
use crate::dynamic::{Pruner, Task};
use crate::prune::{PruneError, PruneOptions, Quotas};
use crate::recipe::Phase;
use crate::schedule::Ramp;
use crate::train::{Plan, State};

impl<'a> Runner<'a> {
    /// What prunes during a training.
    pub(super) fn pruner(
        &self,
        phase: Phase,
        plan: &Plan,
        samples: usize,
    ) -> Result<Option<Box<dyn Pruner + 'a>>, RunError> {
        let (steps, per_epoch) = (plan.steps(samples), plan.steps_per_epoch(samples));
        let schedule = &self.recipe.schedule;
        match (phase, &schedule.method) {
            (Phase::Gradual { sparsity }, _) => Ok(Some(Box::new(Gradual {
                target: sparsity,
                ramp: schedule.ramp,
                steps: schedule
                    .span
                    .map(|share| ((share * steps as f64) as u64).min(steps - 1)),
                every: schedule.every.steps(per_epoch).max(1),
                options: self.recipe.options(Some(sparsity)),
                calibration: self.calibration(),
            }))),
            (Phase::Dynamic { sparsity }, Some(chosen)) => {
                let options = self.recipe.options(Some(sparsity));
                let task = Task {
                    quotas: Quotas::new(&self.base, &options)?,
                    pattern: options.pattern,
                    steps,
                    per_epoch,
                    optimizer: plan.optimizer,
                    seed: self.recipe.seed,
                };
                Ok(Some((chosen.method().begin)(chosen, task)?))
            }
            _ => Ok(None),
        }
    }
}

/// How the sparsity rises while it trains.
struct Gradual<'a> {
    target: f64,
    ramp: Ramp,
    /// Where it begins and ends.
    steps: [u64; 2],
    every: u64,
    options: PruneOptions,
    calibration: Option<Calibration<'a>>,
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
