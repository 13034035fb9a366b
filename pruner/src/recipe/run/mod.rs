//! Running a recipe: phase by phase, each from a state that is kept.
//!
//! A state on disk and the metrics before it decide all that follows, so that a run that is killed and continued
//! ends with the same bytes as one that is not.

mod finish;
mod folder;
mod masks;
mod phase;
mod pruner;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use secateur_format::graph::{Graph, GraphError};
use serde_json::{Value, json};
use thiserror::Error;

pub use finish::{Report, Variant, finish};
pub use folder::Folder;
use folder::{DENSE, REWIND};

use super::{Between, Phase, Recipe, RecipeError, budget_target};
use crate::calibrate::Calibration;
use crate::collapse::{Attempt, CollapseError, collapse};
use crate::data::{Dataset, Preprocess};
use crate::emit::EmitError;
use crate::eval::EvalError;
use crate::layer::layers;
use crate::prune::PruneError;
use crate::reconstruct::ReconstructError;
use crate::schedule::{Cut, correct_biases};
use crate::source::SourceError;
use crate::structured::{ChannelError, ChannelReport, Removal};
use crate::train::{CheckpointError, Evaluation, Loss, Progress, Samples, State, TrainError, evaluate};

/// Why a run cannot be begun, continued or finished.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is one already.
    #[error("{} holds a run already: continue it with --resume, or give another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// It was begun with another recipe.
    #[error("{} was begun with another recipe:{changes}\ngive the same, or another folder", path.display())]
    Changed {
        /// The folder.
        path: PathBuf,
        /// Line by line.
        changes: String,
    },
    /// Ctrl-C; the state is kept.
    #[error("interrupted; go on with `secateur prune --resume {}`", path.display())]
    Interrupted {
        /// The folder.
        path: PathBuf,
    },
    /// No sparsity that was tried stays within `max_drop`.
    #[error("no sparsity that was tried costs at most {budget}: allow more, or retrain longer")]
    Budget {
        /// The budget.
        budget: String,
    },
    /// The recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] SourceError),
    /// It cannot be pruned as asked.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// Its layers cannot collapse as asked.
    #[error(transparent)]
    Collapse(#[from] CollapseError),
    /// Its channels cannot be removed as asked.
    #[error(transparent)]
    Channels(#[from] ChannelError),
    /// It cannot be reconstructed.
    #[error(transparent)]
    Reconstruct(#[from] ReconstructError),
    /// Training fails.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Accuracy cannot be measured.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The .sct file cannot be made.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The result cannot be run.
    #[error(transparent)]
    Run(#[from] secateur_runtime::RunError),
}

/// What a run reads besides its folder.
#[derive(Debug)]
pub struct Inputs {
    /// To train and correct on.
    pub train: Option<Dataset>,
    /// Of them, what the training before pruning begins with, if that is not all.
    pub subset: Option<Vec<usize>>,
    /// To decide on.
    pub validation: Option<Dataset>,
    /// To report on.
    pub test: Option<Dataset>,
    /// How samples become inputs.
    pub preprocess: Preprocess,
    /// The teacher, if it is not the dense model.
    pub teacher: Option<Graph>,
}

impl Inputs {
    /// The samples that criteria, corrections and reconstruction see.
    pub fn calibration(&self, recipe: &Recipe) -> Option<Calibration<'_>> {
        let samples = Samples {
            dataset: self.train.as_ref()?,
            preprocess: &self.preprocess,
        };
        Some(Calibration::new(samples, recipe.data.calibration, recipe.seed))
    }
}

/// Is told how a run goes.
pub trait Observer: Send {
    /// A training begins, with so many samples to be seen, of which some have been.
    fn begin(&mut self, _phase: &str, _samples: u64, _done: u64) {}
    /// A step was done.
    fn step(&mut self, _progress: &Progress, _sparsity: f64) {}
    /// Something worth a line.
    fn line(&mut self, _text: &str) {}
}

impl Observer for () {}

/// What a run has come to.
#[derive(Debug)]
pub struct Outcome {
    /// The network before pruning.
    pub dense: Graph,
    /// What is left of it.
    pub state: State,
    /// Which layers were to become one.
    pub collapsed: Vec<Attempt>,
    /// Which channels were removed.
    pub channels: Option<ChannelReport>,
}

/// A run in progress.
pub struct Runner<'a> {
    recipe: &'a Recipe,
    inputs: &'a Inputs,
    folder: &'a mut Folder,
    observer: &'a mut dyn Observer,
    interrupted: &'a AtomicBool,
    initial: &'a Graph,
    dense: Graph,
    /// What weights are pruned of: the dense network, without the layers and channels that are removed first.
    base: Graph,
    collapsed: Vec<Attempt>,
    channels: Option<ChannelReport>,
}

impl<'a> Runner<'a> {
    /// A run of `recipe` on the model whose weights are those of `initial`.
    pub fn new(
        recipe: &'a Recipe,
        inputs: &'a Inputs,
        folder: &'a mut Folder,
        initial: &'a Graph,
        observer: &'a mut dyn Observer,
        interrupted: &'a AtomicBool,
    ) -> Self {
        Self {
            recipe,
            inputs,
            folder,
            observer,
            interrupted,
            initial,
            dense: initial.clone(),
            base: initial.clone(),
            collapsed: Vec::new(),
            channels: None,
        }
    }

    /// Runs what is left, on the threads of the current rayon pool.
    ///
    /// # Errors
    /// A [`RunError`]; the folder then holds the last state.
    pub fn run(mut self) -> Result<Outcome, RunError> {
        let done = self.folder.last_phase()?.unwrap_or(0);
        // Phases that are done only say where the others are.
        let mut index = 0;
        if self.recipe.train.is_some() {
            if done == 0 && !self.folder.has(DENSE) {
                let mut state = self.begun(0, self.initial)?;
                self.phase(0, Phase::Train, &mut state)?;
                self.folder.save(DENSE, &state)?;
            }
            self.dense = self.folder.load(DENSE, self.initial)?.into_graph();
            index = 1;
        }
        self.shrink()?;
        // The graph follows from the recipe and the dense network, so that states need not hold it.
        let mut state = self.begun(done.max(index), &self.base.clone())?;
        if done < index {
            self.next(0, &mut state)?;
        }
        let most = self.recipe.sparsity().unwrap_or(0.99);
        let Some(budget) = self.recipe.prune.max_drop else {
            self.trial(&mut index, done, most, &mut state)?;
            return Ok(self.outcome(state));
        };
        let mut trials = Vec::new();
        while let Some(sparsity) = budget_target(most, &trials) {
            let begun = index;
            self.trial(&mut index, done, sparsity, &mut state)?;
            if done <= index {
                let within = self.judge(index, sparsity, &state)?;
                if within {
                    self.folder.save("best", &state)?;
                }
                state = State::new(self.base.clone())?;
                self.next(index, &mut state)?;
            }
            index += 1;
            let judged = self.folder.metrics.iter().rev().find(|line| line["trial"] == begun);
            let within = judged.is_some_and(|line| line["within"] == true);
            trials.push((sparsity, within));
        }
        if !trials.iter().any(|(_, within)| *within) {
            let budget = budget.to_string();
            return Err(RunError::Budget { budget });
        }
        let best = self.folder.load("best", &self.base)?;
        Ok(self.outcome(best))
    }

    fn outcome(self, state: State) -> Outcome {
        Outcome {
            dense: self.dense,
            state,
            collapsed: self.collapsed,
            channels: self.channels,
        }
    }

    /// The state of a phase: the last that was kept, or one that begins with the weights of `graph`.
    fn begun(&mut self, phase: usize, graph: &Graph) -> Result<State, RunError> {
        let kept = self.folder.phase(phase, graph)?;
        let state = kept.map_or_else(|| State::new(graph.clone()), Ok)?;
        self.forget_after(phase, &state);
        Ok(state)
    }

    /// Finds what weights are pruned of.
    fn shrink(&mut self) -> Result<(), RunError> {
        self.base = self.dense.clone();
        let calibration = self.calibration();
        if let (Some(options), Some(calibration)) = (&self.recipe.prune.collapse, &calibration) {
            self.collapsed = collapse(&mut self.base, options, &self.recipe.rules(), calibration)?;
            for attempt in self.collapsed.clone() {
                self.say(&attempt.to_string());
            }
        }
        let Some(options) = self.recipe.channels() else {
            return Ok(());
        };
        let whole = self.base.clone();
        let removal = Removal::new(&whole, &options, calibration.as_ref())?;
        removal.disconnect(&mut self.base, calibration.as_ref())?;
        if let Some(calibration) = calibration.filter(|_| self.recipe.correct.biases) {
            correct_biases(&mut self.base, &whole, &calibration)?;
        }
        let (smaller, report) = removal.apply(&self.base)?;
        (self.base, self.channels) = (smaller, Some(report));
        Ok(())
    }

    /// The phases that lead to one sparsity, those that are not done yet.
    fn trial(&mut self, index: &mut usize, done: usize, sparsity: f64, state: &mut State) -> Result<(), RunError> {
        for phase in self.recipe.phases(sparsity) {
            if done <= *index {
                self.phase(*index, phase, state)?;
                self.next(*index, state)?;
            }
            *index += 1;
        }
        Ok(())
    }

    /// Measures a trial, and notes whether it stays within the budget.
    fn judge(&mut self, index: usize, sparsity: f64, state: &State) -> Result<bool, RunError> {
        let budget = self.recipe.prune.max_drop.map_or(0.0, super::Points::fraction);
        let accuracy = |graph: &Graph, runner: &Self| -> Result<f64, RunError> {
            let data = runner.inputs.validation.as_ref().or(runner.inputs.test.as_ref());
            let data = data.ok_or(RunError::Eval(EvalError::NoLabels))?;
            let found = evaluate(graph, &runner.samples(data), PLAIN)?;
            Ok(found.accuracy.fraction())
        };
        let (dense, found) = (accuracy(&self.dense, self)?, accuracy(state.graph(), self)?);
        // Differences of fractions are not exact.
        let within = dense - found <= budget + 1e-12;
        let phases = self.recipe.phases(sparsity).len();
        self.folder.record(json!({
            "phase": index, "trial": index - phases, "sparsity": sparsity, "dense_accuracy": dense,
            "accuracy": found, "within": within,
        }))?;
        let verdict = if within { "within" } else { "beyond" };
        self.say(&format!(
            "sparsity {sparsity:.4}: accuracy {found:.4}, dense {dense:.4}: {verdict} the budget"
        ));
        Ok(within)
    }

    /// Ends a phase.
    fn next(&mut self, index: usize, state: &mut State) -> Result<(), RunError> {
        state.restart();
        Ok(self.folder.save_phase(index + 1, state)?)
    }

    /// Drops the metrics of what will be done again.
    fn forget_after(&mut self, done: usize, state: &State) {
        let batch = |line: &Value| line["steps"].as_u64().unwrap_or(u64::MAX);
        let step = state.position().step;
        let keep = |line: &Value| match line["phase"].as_u64().map(|phase| phase as usize) {
            Some(phase) if phase < done => true,
            Some(phase) => phase == done && batch(line) <= step,
            None => false,
        };
        self.folder.metrics.retain(keep);
    }

    fn say(&mut self, text: &str) {
        self.folder.log(text);
        self.observer.line(text);
    }

    fn samples<'d>(&'d self, dataset: &'d Dataset) -> Samples<'d> {
        Samples {
            dataset,
            preprocess: &self.inputs.preprocess,
        }
    }

    fn calibration(&self) -> Option<Calibration<'a>> {
        self.inputs.calibration(self.recipe)
    }

    fn tested(&self, graph: &Graph) -> Result<Option<Evaluation>, RunError> {
        let test = self.inputs.test.as_ref();
        Ok(test
            .map(|test| evaluate(graph, &self.samples(test), PLAIN))
            .transpose()?)
    }

    /// What the last pruning before a phase took.
    fn last_cut(&self) -> Cut {
        let lines = self.folder.metrics.iter().rev();
        let cut = lines.filter_map(|line| serde_json::from_value(line["cut"].clone()).ok());
        cut.into_iter().next().unwrap_or(Cut {
            drop: 0.0,
            fraction: 0.0,
        })
    }

    /// What a rewinding goes back to.
    fn rewound(&self) -> Result<Graph, RunError> {
        match self.recipe.schedule.rewind_to {
            super::Length::Steps(0) | super::Length::Epochs(0) => Ok(self.initial.clone()),
            _ => Ok(self.folder.load(REWIND, self.initial)?.into_graph()),
        }
    }

    /// The weights that retraining begins with.
    fn treat(&self, round: u32, state: &mut State) -> Result<(), RunError> {
        match self.recipe.schedule.between {
            Between::Keep => {}
            Between::Rewind => {
                let rewound = self.rewound()?;
                state.change_weights(|graph| *graph = rewound)?;
            }
            Between::Reinit => {
                let init = self.recipe.init();
                // Another network each round, and none of them the first.
                let seed = self.recipe.seed.wrapping_add(1 << 32).wrapping_add(round.into());
                state.change_weights(|graph| init.apply(graph, seed))?;
            }
        }
        Ok(())
    }
}

/// What evaluations report, whatever training makes small.
const PLAIN: Loss = Loss::CrossEntropy { smoothing: 0.0 };

/// The square of the length of all prunable weights, and how many are not zero.
fn size(graph: &Graph) -> Result<(f64, usize), RunError> {
    let mut found = (0.0, 0);
    for layer in layers(graph, &graph.shapes()?) {
        for &w in graph.tensor(layer.tensor).map_or(&[][..], |tensor| &tensor.data) {
            found.0 += f64::from(w) * f64::from(w);
            found.1 += usize::from(w != 0.0);
        }
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests;
