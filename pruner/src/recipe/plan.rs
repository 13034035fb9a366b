//! From a [`Recipe`] to what the engine is told.

use regex::Regex;
use secateur_format::encoding::ValueType;
use secateur_format::plan::planner::{self, PlanOptions};

use super::{Between, Data, Export, Kind, Rate, Recipe, Resolved, Scratch, Training, Values};
use crate::criterion::Needs;
use crate::emit::{EmitOptions, EncodingChoice};
use crate::mask::{Bounds, Pattern};
use crate::prune::{PruneOptions, Rule};
use crate::reconstruct::LEAST_SQUARES;
use crate::schedule::{Original, Retraining, rounds};
use crate::structured::{ChannelOptions, Target};
use crate::train::{Distillation, Init, Plan, zoo};

/// A part of a run, between two states that are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// The training before pruning.
    Train,
    /// Pruning to a sparsity, in a round counted from 1, and what corrects it.
    Prune {
        /// The round.
        round: u32,
        /// The sparsity; `None` where a share of importance decides it.
        sparsity: Option<f64>,
    },
    /// The training after a round.
    Retrain {
        /// The round.
        round: u32,
    },
    /// Training while the sparsity rises.
    Gradual {
        /// The sparsity at its end.
        sparsity: f64,
    },
    /// Training while `schedule.method` prunes.
    Dynamic {
        /// The sparsity at its end.
        sparsity: f64,
    },
}

/// Trials of a search for the highest sparsity: with 7, it is found to within 1 % of the range.
const TRIALS: usize = 7;

/// The next sparsity to try, up to `most`, after trials that were within the budget or not; `None` if the search
/// is over.
pub fn budget_target(most: f64, trials: &[(f64, bool)]) -> Option<f64> {
    if trials.is_empty() {
        return Some(most);
    }
    if trials.len() >= TRIALS || trials[0].1 {
        return None;
    }
    let within = trials
        .iter()
        .filter(|(_, within)| *within)
        .map(|(sparsity, _)| *sparsity);
    let beyond = trials
        .iter()
        .filter(|(_, within)| !within)
        .map(|(sparsity, _)| *sparsity);
    Some((within.fold(0.0, f64::max) + beyond.fold(most, f64::min)) / 2.0)
}

impl Recipe {
    /// Whether something is trained.
    pub fn trains(&self) -> bool {
        self.train.is_some() || self.retrain.is_some()
    }

    /// Whether the training before pruning is that of another recipe, to the last bit.
    pub fn trains_as(&self, other: &Self) -> bool {
        let training = |recipe: &Self| {
            let rewind = (recipe.schedule.between == Between::Rewind).then_some(recipe.schedule.rewind_to);
            let Data {
                train,
                test,
                shares,
                subset,
                ..
            } = recipe.data.clone();
            (
                recipe.model.clone(),
                recipe.init,
                recipe.seed,
                recipe.train.clone(),
                rewind,
                (train, test, shares, subset),
            )
        };
        self.train.is_some() && training(self) == training(other)
    }

    /// Whether something is corrected after pruning.
    pub fn corrects(&self) -> bool {
        self.correct.biases || self.correct.norms
    }

    /// Whether samples to train, correct, calibrate or reconstruct on are needed.
    pub fn needs_samples(&self) -> bool {
        self.trains()
            || self.corrects()
            || self.calibrates()
            || self.prune.reconstruct.is_some()
            || self.prune.collapse.is_some()
    }

    /// Whether the criterion needs samples.
    pub(super) fn calibrates(&self) -> bool {
        self.prune.criterion.method().needs != Needs::Weights
    }

    /// The sparsity of weights: as asked, that of the pattern, or 0 where only channels or layers are removed.
    pub fn sparsity(&self) -> Option<f64> {
        let alone = (self.removal().is_some() || self.prune.collapse.is_some()).then_some(0.0);
        let alone = alone.filter(|_| self.prune.max_drop.is_none() && self.prune.pattern.0 == Pattern::Unstructured);
        let asked = self.prune.sparsity.or(self.prune.pattern.0.fixed_sparsity());
        asked.or(alone)
    }

    /// How much is removed by channels.
    pub(super) fn removal(&self) -> Option<Target> {
        let channels = self.prune.structured.map(Target::Channels);
        let budget = self.prune.macs.map(Target::Multiplications);
        channels.or(budget).or(self.prune.latency.map(Target::Time))
    }

    /// Which channels to remove.
    pub fn channels(&self) -> Option<ChannelOptions> {
        Some(ChannelOptions {
            target: self.removal()?,
            refit: self
                .prune
                .reconstruct
                .is_some_and(|method| method.0.name == LEAST_SQUARES.name),
            round_to: self.prune.round_to,
            criterion: self.prune.criterion.clone(),
            scope: self.prune.scope,
            rules: self.rules(),
            seed: self.seed,
        })
    }

    /// The exceptions.
    pub fn rules(&self) -> Vec<Rule> {
        let rules = self.rule.iter().filter_map(|rule| {
            let bounds = (rule.min.is_some() || rule.max.is_some()).then(|| Bounds {
                min: rule.min.unwrap_or(self.prune.min),
                max: rule.max.unwrap_or(self.prune.max),
            });
            Some(Rule {
                layers: Regex::new(&rule.layers).ok()?,
                sparsity: rule.sparsity,
                bounds,
                channels: rule.channels,
                alpha: rule.alpha,
            })
        });
        rules.collect()
    }

    /// How to prune to a sparsity.
    pub fn options(&self, sparsity: Option<f64>) -> PruneOptions {
        let pattern = self.prune.pattern.0;
        PruneOptions {
            sparsity: sparsity.filter(|_| pattern.fixed_sparsity().is_none() && self.prune.alpha.is_none()),
            alpha: self.prune.alpha,
            pattern,
            criterion: self.prune.criterion.clone(),
            scope: self.prune.scope,
            fallback: self.prune.fallback,
            bounds: Bounds {
                min: self.prune.min,
                max: self.prune.max,
            },
            rules: self.rules(),
            seed: self.seed,
        }
    }

    /// The phases that lead to a sparsity, or to what a share of importance leaves, after [`Phase::Train`].
    pub fn phases(&self, sparsity: f64) -> Vec<Phase> {
        let target = |sparsity: f64| Some(sparsity).filter(|_| self.prune.alpha.is_none());
        let retrained = |round| self.retrain.as_ref().map(|_| Phase::Retrain { round });
        match self.schedule.kind {
            Kind::OneShot => {
                let sparsity = target(sparsity);
                let phases = [Some(Phase::Prune { round: 1, sparsity }), retrained(1)];
                phases.into_iter().flatten().collect()
            }
            Kind::Iterative => (1..)
                .zip(rounds(sparsity, self.schedule.rounds))
                .flat_map(|(round, sparsity)| {
                    let sparsity = target(sparsity);
                    [Some(Phase::Prune { round, sparsity }), retrained(round)]
                })
                .flatten()
                .collect(),
            Kind::Gradual => vec![Phase::Gradual { sparsity }],
            Kind::Dynamic => vec![Phase::Dynamic { sparsity }],
        }
    }

    /// How fresh weights are drawn.
    pub fn init(&self) -> Init {
        let network = self.model.as_deref().and_then(zoo::find);
        self.init.or(network.map(|network| network.init)).unwrap_or_default()
    }

    fn recommended(&self) -> Training {
        Training::recommended(self.model.as_deref().unwrap_or_default())
    }

    /// The training before pruning, with what the network recommends.
    fn own_training(&self) -> Option<Training> {
        Some(self.train.as_ref()?.or(&self.recommended()))
    }

    /// The training before pruning.
    pub fn training(&self, samples: usize) -> Option<Plan> {
        Some(self.own_training()?.plan(self.seed, samples))
    }

    /// The training before pruning as others follow it.
    pub fn original(&self, samples: usize) -> Option<Original> {
        let plan = self.training(samples)?;
        Some(Original {
            steps: plan.steps(samples),
            schedule: plan.schedule,
        })
    }

    /// The training after pruning.
    pub fn retraining(&self, samples: usize) -> Option<Resolved> {
        let own = self.retrain.as_ref()?;
        let whole = own.or(&self.own_training().unwrap_or_else(|| self.recommended()));
        let whole = Training {
            schedule: own.schedule.clone(),
            ..whole
        };
        let mut resolved = whole.resolve(self.seed, samples, Rate::Retraining(Retraining::Llr));
        resolved.plan.distillation = self.distill.as_ref().map(|distill| Distillation {
            temperature: distill.temperature,
            weight: distill.weight,
        });
        Some(resolved)
    }

    /// Checks what only the number of samples shows: that the step which rounds rewind to is one of `[train]` and, if they
    /// go on there, of `[retrain]`.
    ///
    /// # Errors
    /// A key, and what is wrong with it.
    pub fn check_steps(&self, samples: usize) -> Result<(), (String, String)> {
        let rewinds = self.schedule.between == Between::Rewind;
        let trained = self.training(samples).filter(|_| rewinds);
        let resumed = self.retraining(samples).filter(|_| self.schedule.resume);
        let plans = [("train", trained), ("retrain", resumed.map(|resolved| resolved.plan))];
        for (table, plan) in plans {
            let Some(plan) = plan else { continue };
            let step = self.schedule.rewind_to.steps(plan.steps_per_epoch(samples));
            let end = plan.steps(samples);
            if step >= end.max(1) {
                let problem = format!(
                    "is step {step}, but [{table}] ends at step {end}: rewind to an earlier step, or raise {table}.epochs"
                );
                return Err(("schedule.rewind_to".into(), problem));
            }
        }
        Ok(())
    }
}

impl Export {
    /// How the file is written, but for what is in it besides the network.
    pub fn options(&self) -> EmitOptions {
        EmitOptions {
            encoding: self.encoding.parse().unwrap_or(EncodingChoice::Auto),
            values: match self.values {
                Values::F32 => ValueType::F32,
                Values::F16 => ValueType::F16,
                Values::Bf16 => ValueType::Bf16,
            },
            plan: PlanOptions {
                scratch: match self.scratch {
                    Scratch::Packed => planner::Scratch::Packed,
                    Scratch::None => planner::Scratch::None,
                },
                ..PlanOptions::default()
            },
            strip: self.strip,
            ..EmitOptions::default()
        }
    }
}
