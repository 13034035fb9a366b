//! The training loop, with what a pruning schedule needs to hook into it.

use std::ops::ControlFlow;

use secateur_format::ValueId;
use secateur_format::graph::{Graph, GraphError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::checkpoint::CheckpointError;
use super::data::{Augment, Samples, order};
use super::equalize::shares;
use super::evaluate::{fitting_labels, logits};
use super::interpreter::{Interpreter, NodeTime, Statistics};
use super::loss::{self, Distillation, Loss, Sums};
use super::optimizer::Optimizer;
use super::schedule::Schedule;
use super::state::State;
use super::subset::Diet;
use crate::eval::{EvalError, argmax};
use crate::prune::PruneError;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Times that each sample is seen.
    pub epochs: u64,
    /// Samples of a step.
    pub batch: usize,
    /// How weights follow gradients.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub schedule: Schedule,
    /// What is made small.
    pub loss: Loss,
    /// How a teacher, if there is one, takes part.
    pub distillation: Option<Distillation>,
    /// How images are changed.
    pub augment: Augment,
    /// How fast the multipliers rise that make the losses of classes equal, if they are to be.
    pub equalize: Option<f64>,
    /// The greatest length of all gradients together.
    pub clip: Option<f64>,
    /// Where batch norms take their statistics from.
    pub statistics: Statistics,
    /// Of order and augmentation.
    pub seed: u64,
}

impl Plan {
    /// Steps of an epoch of so many samples.
    pub fn steps_per_epoch(&self, samples: usize) -> u64 {
        samples.div_ceil(self.batch.max(1)) as u64
    }

    /// Steps of the training.
    pub fn steps(&self, samples: usize) -> u64 {
        self.epochs * self.steps_per_epoch(samples)
    }
}

/// A step that was done.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of the training.
    pub steps: u64,
    /// Samples of the step.
    pub samples: usize,
    /// What was seen of the epoch so far.
    pub epoch: Sums,
    /// The learning rate of the step.
    pub rate: f64,
}

/// What is done besides training.
pub trait Hooks: Send {
    /// Before a step, counted from 0: the place to change masks.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn before_step(&mut self, _state: &mut State, _step: u64) -> Result<(), TrainError> {
        Ok(())
    }

    /// The network that goes forward and backward in a step, if not that of the state.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn forward<'s>(&'s mut self, state: &'s State, _step: u64) -> Result<&'s Graph, TrainError> {
        Ok(&state.graph)
    }

    /// After the backward pass: the gradients of what went forward, of pruned weights too, become those that the
    /// optimiser follows. Returns whether it does.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn gradients(&mut self, _state: &mut State, _step: u64, _gradients: &mut [Vec<f32>]) -> Result<bool, TrainError> {
        Ok(true)
    }

    /// After the optimiser's step at a learning rate: the place to change weights.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn after_update(&mut self, _state: &mut State, _step: u64, _rate: f64) -> Result<(), TrainError> {
        Ok(())
    }

    /// After each step; to break ends the training with [`Ending::Stopped`].
    fn after_step(&mut self, _state: &State, _progress: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// After each epoch, counted from 1, with what was seen in it.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn after_epoch(&mut self, _state: &State, _epoch: u64, _seen: Sums) -> Result<(), TrainError> {
        Ok(())
    }
}

/// No hooks.
impl Hooks for () {}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// A hook has stopped it; it goes on when it is called again with the same state.
    Stopped,
}

/// Why a training cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The samples do not fit the graph.
    #[error(transparent)]
    Data(#[from] EvalError),
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The teacher has other inputs or outputs.
    #[error("the teacher takes and gives {teacher:?} numbers, the model {model:?}: they must be the same")]
    Teacher {
        /// Elements of its input and output.
        teacher: [usize; 2],
        /// Those of the model.
        model: [usize; 2],
    },
    /// Weights have become infinite or not a number.
    #[error("the loss is {loss} in step {step}: lower the learning rate, or clip the gradients")]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A hook cannot prune.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// What a hook keeps cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A teacher and its memory.
struct Teacher<'g> {
    graph: &'g Graph,
    interpreter: Interpreter,
    distillation: Distillation,
}

/// A training in progress: the memory for its batches.
pub struct Trainer<'d> {
    samples: Samples<'d>,
    labels: &'d [u32],
    /// Of all samples, by class.
    shares: Vec<f64>,
    plan: Plan,
    diet: Option<Diet>,
    interpreter: Interpreter,
    teacher: Option<Teacher<'d>>,
}

impl<'d> Trainer<'d> {
    /// Takes the memory for training `graph` (or one that differs in its weights only).
    ///
    /// # Errors
    /// A [`TrainError`] when samples, teacher and graph do not fit each other.
    pub fn new(
        graph: &Graph,
        samples: Samples<'d>,
        teacher: Option<&'d Graph>,
        plan: Plan,
    ) -> Result<Self, TrainError> {
        let labels = fitting_labels(graph, &samples)?;
        let batch = plan.batch.clamp(1, samples.dataset.len());
        let (output, ends) = ends(graph)?;
        let interpreter = Interpreter::trainer(graph, output, batch, plan.statistics)?;
        let teacher = match (teacher, plan.distillation) {
            (Some(graph), Some(distillation)) => {
                let (output, own) = self::ends(graph)?;
                if own != ends {
                    return Err(TrainError::Teacher {
                        teacher: own,
                        model: ends,
                    });
                }
                Some(Teacher {
                    graph,
                    interpreter: Interpreter::new(graph, output, batch)?,
                    distillation,
                })
            }
            _ => None,
        };
        Ok(Self {
            samples,
            labels,
            shares: shares(labels),
            plan: Plan { batch, ..plan },
            diet: None,
            interpreter,
            teacher,
        })
    }

    /// Begins with some of the samples. Steps and rates are those of all of them.
    #[must_use]
    pub fn with_diet(self, diet: Option<Diet>) -> Self {
        let diet = diet.filter(|diet| !diet.samples.is_empty());
        Self { diet, ..self }
    }

    /// Bytes of memory for batches, without data set and weights.
    pub fn bytes(&self) -> u64 {
        let teacher = self.teacher.as_ref().map_or(0, |teacher| teacher.interpreter.bytes());
        self.interpreter.bytes() + teacher
    }

    /// The time of each node since the last call.
    pub fn take_times(&mut self, graph: &Graph) -> Vec<NodeTime> {
        self.interpreter.take_times(graph)
    }

    /// Trains from where `state` is to the end of the plan, on the threads of the current rayon pool.
    ///
    /// # Errors
    /// A [`TrainError`]; `state` is then as after the last step.
    pub fn train(&mut self, state: &mut State, hooks: &mut dyn Hooks) -> Result<Ending, TrainError> {
        let count = self.samples.dataset.len();
        let (per_epoch, steps) = (self.plan.steps_per_epoch(count), self.plan.steps(count));
        let mut ordered = None;
        let mut indices = Vec::new();
        while state.position.step < steps {
            let step = state.position.step;
            let diet = self.diet.as_ref().filter(|diet| step < diet.steps);
            let seen = diet.map_or(count, |diet| diet.samples.len());
            let batches = self.plan.steps_per_epoch(seen);
            let epoch = step / batches;
            if ordered != Some((diet.is_some(), epoch)) {
                ordered = Some((diet.is_some(), epoch));
                indices = order(self.plan.seed, epoch, seen);
                if let Some(diet) = diet {
                    indices.iter_mut().for_each(|index| *index = diet.samples[*index]);
                }
            }
            hooks.before_step(state, step)?;
            let first = (step % batches) as usize * self.plan.batch;
            let batch = &indices[first..seen.min(first + self.plan.batch)];
            let rate = self.plan.schedule.at(step, steps);
            let sums = self.step(state, hooks, epoch, batch, rate)?;
            if !sums.loss.is_finite() {
                return Err(TrainError::Diverged { step, loss: sums.loss });
            }
            state.position.step += 1;
            state.position.epoch.add(sums);
            let progress = Progress {
                step: state.position.step,
                steps,
                samples: batch.len(),
                epoch: state.position.epoch,
                rate,
            };
            if state.position.step.is_multiple_of(per_epoch) {
                let seen = std::mem::take(&mut state.position.epoch);
                if let Some(rate) = self.plan.equalize {
                    state.equalizer.end_epoch(rate);
                }
                hooks.after_epoch(state, state.position.step / per_epoch, seen)?;
            }
            if hooks.after_step(state, &progress).is_break() {
                return Ok(Ending::Stopped);
            }
        }
        Ok(Ending::Finished)
    }

    /// One step; a loss that is not finite leaves the state as it was.
    fn step(
        &mut self,
        state: &mut State,
        hooks: &mut dyn Hooks,
        epoch: u64,
        batch: &[usize],
        rate: f64,
    ) -> Result<Sums, TrainError> {
        let step = state.position.step;
        let Self {
            samples,
            labels,
            shares,
            plan,
            interpreter,
            teacher,
            ..
        } = self;
        let fill = |i: usize, x: &mut [f32]| samples.augmented(plan.augment, plan.seed, epoch, batch[i], x);
        interpreter.set_inputs(batch.len(), fill);
        let network = hooks.forward(state, step)?;
        interpreter.forward(network);
        if let Some(teacher) = teacher {
            teacher.interpreter.set_inputs(batch.len(), fill);
            teacher.interpreter.forward(teacher.graph);
        }
        let taught = teacher
            .as_ref()
            .map(|teacher| (teacher.distillation, teacher.interpreter.output()));
        let scale = 1.0 / batch.len() as f32;
        let weights = plan.equalize.map(|_| state.equalizer.weights(shares));
        let parts = interpreter.loss(|sample, y, dy| {
            let label = labels[batch[sample]] as usize;
            let taught = taught
                .as_ref()
                .map(|(how, outputs)| (*how, &outputs[sample * y.len()..][..y.len()]));
            let scale = weights.as_ref().map_or(scale, |weights| scale * weights[label] as f32);
            Sums {
                seen: 1,
                correct: u64::from(argmax(y) == Some(label)),
                loss: loss::sample(plan.loss, taught, label, y, scale, dy),
            }
        });
        let mut sums = Sums::default();
        parts.iter().for_each(|&part| sums.add(part));
        if sums.loss.is_finite() {
            interpreter.backward(network);
            if plan.equalize.is_some() {
                let losses = batch.iter().zip(&parts);
                losses.for_each(|(&sample, part)| state.equalizer.add(labels[sample] as usize, part.loss));
            }
            state.update_statistics(interpreter);
            if hooks.gradients(state, step, interpreter.gradients_mut())? {
                state.update(interpreter.gradients(), &plan.optimizer, rate, plan.clip);
            }
            hooks.after_update(state, step, rate)?;
        }
        Ok(sums)
    }
}

/// The value that the loss is taken of, and the elements of input and output.
fn ends(graph: &Graph) -> Result<(ValueId, [usize; 2]), GraphError> {
    let shapes = graph.shapes()?;
    let output = logits(graph).ok_or(GraphError::Structure)?;
    Ok((output, [shapes[0].elems(), shapes[usize::from(output.0)].elems()]))
}
