//! From a [`Training`] to the plan of the engine.

use super::{Optimizer, Rate, Training};
use crate::schedule::{Cut, Original};
use crate::train::{Adam, Augment, Loss, Optimizer as Engine, Plan, Schedule, Shape, Statistics, zoo};

/// A training of a recipe, nothing left out.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub(super) plan: Plan,
    rate: Rate,
}

impl Resolved {
    /// The plan, whose schedule may follow from the original training and from what was pruned.
    pub fn plan(&self, samples: usize, original: Option<&Original>, cut: Cut) -> Plan {
        let mut plan = self.plan.clone();
        plan.batch = plan.batch.clamp(1, samples.max(1));
        if let Rate::Retraining(retraining) = self.rate {
            let steps = plan.steps(samples);
            plan.schedule = retraining.schedule(plan.schedule.rate, steps, original, cut);
        }
        plan
    }
}

impl Training {
    /// What a network by name does well with; empty for any other model.
    pub fn recommended(model: &str) -> Self {
        let parsed = zoo::find(model).and_then(|network| toml::from_str(network.training).ok());
        parsed.unwrap_or_default()
    }

    /// The plan of a training from scratch.
    pub fn plan(&self, seed: u64, samples: usize) -> Plan {
        let none = Cut {
            drop: 0.0,
            fraction: 0.0,
        };
        self.resolve(seed, samples, Rate::Shape(Shape::Cosine))
            .plan(samples, None, none)
    }

    /// What it leaves out, from another.
    pub fn or(&self, other: &Self) -> Self {
        let Self {
            epochs,
            batch,
            optimizer,
            rate,
            schedule,
            warmup,
            momentum,
            nesterov,
            weight_decay,
            smoothing,
            equalize,
            clip,
            flip,
            crop,
            frozen_norms,
        } = self.clone();
        // The rate of one optimiser says nothing about that of another.
        let same = optimizer.is_none() || optimizer == Some(other.optimizer.unwrap_or_default());
        Self {
            epochs: epochs.or(other.epochs),
            batch: batch.or(other.batch),
            optimizer: optimizer.or(other.optimizer),
            rate: rate.or(other.rate.filter(|_| same)),
            schedule: schedule.or_else(|| other.schedule.clone()),
            warmup: warmup.or(other.warmup),
            momentum: momentum.or(other.momentum),
            nesterov: nesterov.or(other.nesterov),
            weight_decay: weight_decay.or(other.weight_decay.filter(|_| same)),
            smoothing: smoothing.or(other.smoothing),
            equalize: equalize.or(other.equalize),
            clip: clip.or(other.clip),
            flip: flip.or(other.flip),
            crop: crop.or(other.crop),
            frozen_norms: frozen_norms.or(other.frozen_norms),
        }
    }

    pub(super) fn resolve(&self, seed: u64, samples: usize, rate: Rate) -> Resolved {
        let batch = self.batch.unwrap_or(128).clamp(1, samples.max(1));
        let per_epoch = samples.div_ceil(batch) as u64;
        let adam = |weight_decay: f32| Adam {
            weight_decay: self.weight_decay.unwrap_or(weight_decay),
            ..Adam::default()
        };
        let (optimizer, highest) = match self.optimizer.unwrap_or_default() {
            Optimizer::Sgd => (
                Engine::Sgd {
                    momentum: self.momentum.unwrap_or(0.9),
                    nesterov: self.nesterov.unwrap_or(false),
                    weight_decay: self.weight_decay.unwrap_or(5e-4),
                },
                0.05,
            ),
            Optimizer::Adam => (Engine::Adam(adam(0.0)), 1e-3),
            Optimizer::AdamW => (Engine::AdamW(adam(0.01)), 1e-3),
        };
        let rate = self.schedule.clone().unwrap_or(rate);
        let shape = match &rate {
            Rate::Shape(shape) => shape.clone(),
            Rate::Retraining(_) => Shape::Constant,
        };
        let plan = Plan {
            epochs: self.epochs.unwrap_or(10),
            batch,
            optimizer,
            schedule: Schedule {
                rate: self.rate.unwrap_or(highest),
                warmup: self.warmup.map_or(0, |warmup| warmup.steps(per_epoch)),
                shape: shape.decay(per_epoch),
            },
            loss: Loss::CrossEntropy {
                smoothing: self.smoothing.unwrap_or(0.0),
            },
            distillation: None,
            equalize: self.equalize,
            augment: Augment {
                flip: self.flip.unwrap_or(false),
                crop: self.crop.unwrap_or(0),
            },
            clip: self.clip,
            statistics: match self.frozen_norms {
                Some(true) => Statistics::Frozen,
                _ => Statistics::Batch,
            },
            seed,
        };
        Resolved { plan, rate }
    }
}
