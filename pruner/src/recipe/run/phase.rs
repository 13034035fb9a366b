//! One phase of a run.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use secateur_format::TensorId;
use secateur_format::graph::Graph;
use serde_json::json;

use super::folder::REWIND;
use super::{Folder, Observer, PLAIN, RunError, Runner, size};
use crate::calibrate::Calibration;
use crate::dynamic::Running;
use crate::eval::EvalError;
use crate::prune::{Masks, PruneError, PruneOptions, choose, prunable};
use crate::recipe::{Between, Kind, Phase};
use crate::reconstruct::{LayerError, permute_channels, reconstruct};
use crate::schedule::{Cut, correct_biases, reestimate_norms};
use crate::train::{
    Diet, Ending, Hooks, Plan, Progress, Samples, State, Sums, TrainError, Trainer, evaluate, sparsity,
};

impl Runner<'_> {
    pub(super) fn phase(&mut self, index: usize, phase: Phase, state: &mut State) -> Result<(), RunError> {
        match phase {
            Phase::Train => self.train(index, "train", phase, state),
            Phase::Prune { round, sparsity } => self.prune(index, round, sparsity, state),
            Phase::Retrain { round } => self.train(index, &format!("retrain, round {round}"), phase, state),
            Phase::Gradual { .. } => self.train(index, "prune gradually", phase, state),
            Phase::Dynamic { .. } => self.train(index, "prune dynamically", phase, state),
        }
    }

    fn prune(&mut self, index: usize, round: u32, sparsity: Option<f64>, state: &mut State) -> Result<(), RunError> {
        // Channels were removed before the first round, not in a phase of their own.
        let before = size(if round == 1 { &self.dense } else { state.graph() })?;
        let calibration = self.calibration();
        let options = self.recipe.options(sparsity);
        let permuted = self.permute(&options, state)?;
        let dense = state.graph().clone();
        set_masks(state, &options, calibration.as_ref())?;
        // A search has the rounds of every trial.
        if self.recipe.schedule.kind == Kind::Iterative && self.recipe.prune.max_drop.is_none() {
            self.folder.keep_round(round, state)?;
        }
        let after = size(state.graph())?;
        let cut = Cut {
            drop: ((before.0 - after.0).max(0.0) / before.0.max(f64::MIN_POSITIVE)).sqrt(),
            fraction: (before.1 - after.1) as f64 / before.1.max(1) as f64,
        };
        let errors = self.reconstruct(dense, &options, state)?;
        let sparsity = state.sparsity();
        self.correct(permuted.as_ref().unwrap_or(&self.base), state)?;
        let tested = self.tested(state.graph())?.map(|test| test.accuracy.fraction());
        if self.recipe.retrain.is_some() {
            self.treat(round, state)?;
        }
        self.folder.record(json!({
            "phase": index, "round": round, "sparsity": sparsity, "cut": cut, "test_accuracy": tested,
            "collapsed": self.collapsed, "structured": self.channels,
            "reconstruction": errors,
        }))?;
        let removed = self.channels.as_ref().map(|report| {
            let part = report.after.parameters as f64 / report.before.parameters.max(1) as f64;
            format!(", without the removed channels, {part:.4} of all parameters left")
        });
        let tested = tested.map(|accuracy| format!(", test accuracy {accuracy:.4}"));
        self.say(&format!(
            "round {round}: pruned to {sparsity:.4}{}{}",
            removed.unwrap_or_default(),
            tested.unwrap_or_default()
        ));
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(self.stopped());
        }
        Ok(())
    }

    /// Puts channels in another order, if the recipe says so; the dense network in that order.
    fn permute(&self, options: &PruneOptions, state: &mut State) -> Result<Option<Graph>, RunError> {
        if !self.recipe.prune.permute {
            return Ok(None);
        }
        let prunable = prunable(state.graph(), options)?;
        let permuted = permute_channels(state.graph(), &prunable, options.pattern, options.share())?;
        state.change_weights(|own| own.clone_from(&permuted))?;
        Ok(Some(permuted))
    }

    /// Replaces the weights and, if the method chooses them, the masks of what has just been pruned.
    fn reconstruct(
        &mut self,
        mut dense: Graph,
        options: &PruneOptions,
        state: &mut State,
    ) -> Result<Option<Vec<LayerError>>, RunError> {
        let (Some(method), Some(calibration)) = (self.recipe.prune.reconstruct, self.calibration()) else {
            return Ok(None);
        };
        let ids = (0..dense.tensors.len() as u16).map(TensorId);
        let mut masks: Masks = ids.filter_map(|id| Some((id, state.mask(id)?.to_vec()))).collect();
        let errors = reconstruct(
            &mut dense,
            &mut masks,
            options.pattern,
            method.0,
            &options.criterion,
            &calibration,
        )?;
        masks.into_iter().for_each(|(id, mask)| {
            state.set_mask(id, Some(mask));
        });
        state.change_weights(|own| *own = dense)?;
        errors.iter().for_each(|error| self.say(&error.to_string()));
        Ok(Some(errors))
    }

    fn correct(&self, dense: &Graph, state: &mut State) -> Result<(), RunError> {
        let correct = &self.recipe.correct;
        let Some(calibration) = self.calibration().filter(|_| self.recipe.corrects()) else {
            return Ok(());
        };
        let mut graph = state.graph().clone();
        if correct.biases {
            correct_biases(&mut graph, dense, &calibration)?;
        }
        if correct.norms {
            reestimate_norms(&mut graph, &calibration)?;
        }
        Ok(state.change_weights(|own| *own = graph)?)
    }

    fn stopped(&self) -> RunError {
        RunError::Interrupted {
            path: self.folder.file(""),
        }
    }

    fn train(&mut self, index: usize, name: &str, phase: Phase, state: &mut State) -> Result<(), RunError> {
        let data = self.inputs.train.as_ref().ok_or(RunError::Eval(EvalError::NoLabels))?;
        let count = data.len();
        let first = phase == Phase::Train;
        let plan = match first {
            true => self.recipe.training(count),
            false => self
                .recipe
                .retraining(count)
                .map(|whole| whole.plan(count, self.recipe.original(count).as_ref(), self.last_cut())),
        };
        let Some(mut plan) = plan else { return Ok(()) };
        if !first {
            // The order of another round is another one.
            plan.seed = plan.seed.wrapping_add(index as u64);
        }
        let samples = Samples {
            dataset: data,
            preprocess: &self.inputs.preprocess,
        };
        let teacher = self.inputs.teacher.as_ref().unwrap_or(&self.dense);
        let (steps, per_epoch) = (plan.steps(count), plan.steps_per_epoch(count));
        let diet = self.inputs.subset.as_ref().filter(|_| first).map(|samples| Diet {
            steps: match self.recipe.schedule.between {
                Between::Rewind => self.recipe.schedule.rewind_to.steps(per_epoch),
                _ => steps,
            },
            samples: samples.clone(),
        });
        let mut trainer = Trainer::new(state.graph(), samples, Some(teacher), plan.clone())?.with_diet(diet);
        if !first && self.recipe.schedule.resume {
            state.skip_to(self.recipe.schedule.rewind_to.steps(per_epoch));
        }
        let pruner = self.pruner(phase, &plan, count)?;
        let rewinds = first && self.recipe.schedule.between == Between::Rewind;
        let done = state.position().step;
        self.observer
            .begin(name, plan.epochs * count as u64, done * plan.batch as u64);
        let mut hooks = Watch {
            index,
            name,
            plan: &plan,
            per_epoch,
            folder: self.folder,
            observer: self.observer,
            interrupted: self.interrupted,
            test: self.inputs.test.as_ref().map(|dataset| Samples {
                dataset,
                preprocess: &self.inputs.preprocess,
            }),
            running: pruner.map(Running::new),
            rewind: rewinds.then(|| self.recipe.schedule.rewind_to.steps(per_epoch)),
            start: Instant::now(),
            seen: 0,
        };
        let trained = trainer.train(state, &mut hooks);
        let running = hooks.running.take();
        drop(hooks);
        if trained? == Ending::Stopped {
            self.folder.save_phase(index, state)?;
            return Err(self.stopped());
        }
        if let Some(mut running) = running {
            running.pruner.finish(state)?;
        }
        Ok(())
    }
}

/// Prunes a state.
pub(super) fn set_masks(
    state: &mut State,
    options: &PruneOptions,
    calibration: Option<&Calibration<'_>>,
) -> Result<(), PruneError> {
    let (masks, _) = choose(state.graph(), |id| state.mask(id), options, calibration)?;
    for (id, mask) in masks {
        state.set_mask(id, Some(mask));
    }
    Ok(())
}

/// Shows and keeps how a training goes, and prunes on the way.
struct Watch<'a, 'p> {
    index: usize,
    name: &'a str,
    plan: &'a Plan,
    per_epoch: u64,
    folder: &'a mut Folder,
    observer: &'a mut dyn Observer,
    interrupted: &'a AtomicBool,
    test: Option<Samples<'a>>,
    running: Option<Running<'p>>,
    /// The step whose state is kept to rewind to.
    rewind: Option<u64>,
    start: Instant,
    /// Samples.
    seen: u64,
}

impl Hooks for Watch<'_, '_> {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), TrainError> {
        if self.rewind == Some(step) {
            self.folder.save(REWIND, state)?;
        }
        if let Some(running) = &mut self.running {
            running.pruner.before_step(state, step)?;
        }
        Ok(())
    }

    fn forward<'s>(&'s mut self, state: &'s State, step: u64) -> Result<&'s Graph, TrainError> {
        match &mut self.running {
            Some(running) => Ok(running.network(state, step)?),
            None => Ok(state.graph()),
        }
    }

    fn gradients(&mut self, state: &mut State, step: u64, gradients: &mut [Vec<f32>]) -> Result<bool, TrainError> {
        match &mut self.running {
            Some(running) => Ok(running.pruner.gradients(state, step, gradients)?),
            None => Ok(true),
        }
    }

    fn after_update(&mut self, state: &mut State, step: u64, rate: f64) -> Result<(), TrainError> {
        if let Some(running) = &mut self.running {
            running.pruner.after_step(state, step, rate)?;
        }
        Ok(())
    }

    fn after_step(&mut self, state: &State, progress: &Progress) -> ControlFlow<()> {
        self.seen += progress.samples as u64;
        let sparsity = self
            .running
            .as_ref()
            .map_or_else(|| state.sparsity(), |running| running.sparsity(state));
        self.observer.step(progress, sparsity);
        if self.interrupted.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn after_epoch(&mut self, state: &State, epoch: u64, seen: Sums) -> Result<(), TrainError> {
        let network = match &mut self.running {
            Some(running) => running.network(state, state.position().step)?,
            None => state.graph(),
        };
        let test = self
            .test
            .as_ref()
            .map(|test| evaluate(network, test, PLAIN))
            .transpose()?;
        let tested = test.as_ref().map(|test| test.accuracy.fraction());
        let sparsity = sparsity(network);
        // Before the state: a line too many is dropped when the run continues.
        self.folder.record(json!({
            "phase": self.index, "epoch": epoch, "steps": epoch * self.per_epoch, "loss": seen.mean_loss(),
            "accuracy": seen.accuracy(), "test_accuracy": tested, "sparsity": sparsity,
        }))?;
        self.folder.save_phase(self.index, state)?;
        let text = format!(
            "{}: epoch {epoch} of {}: loss {:.4}, accuracy {:.4}{}, sparsity {sparsity:.4}, {:.0} images/s",
            self.name,
            self.plan.epochs,
            seen.mean_loss(),
            seen.accuracy(),
            tested
                .map(|accuracy| format!(", test {accuracy:.4}"))
                .unwrap_or_default(),
            self.seen as f64 / self.start.elapsed().as_secs_f64(),
        );
        self.folder.log(&text);
        self.observer.line(&text);
        Ok(())
    }
}
