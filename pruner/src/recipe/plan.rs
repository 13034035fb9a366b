//! From a [`Recipe`] to what the engine is told.

use regex::Regex;
use secateur_format::encoding::ValueType;
use secateur_format::plan::planner::{self, PlanOptions};

use super::{Between, Data, Export, Kind, Length, Optimizer, Rate, Recipe, Scratch, Training, Values};
use crate::criterion::Needs;
use crate::emit::{EmitOptions, EncodingChoice};
use crate::mask::{Bounds, Pattern, Scope};
use crate::prune::{PruneOptions, Rule};
use crate::schedule::{Cut, Original, Retraining, rounds};
use crate::source::nearest::suggestion;
use crate::structured::{ChannelOptions, Target};
use crate::train::{
    Adam, Augment, Distillation, Init, Loss, Optimizer as Engine, Plan, Schedule, Shape, Statistics, Take, zoo,
};

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

/// A training of a recipe, nothing left out.
#[derive(Clone, Debug)]
pub struct Resolved {
    plan: Plan,
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

pub(super) type Wrong = (String, String);

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
        self.trains() || self.corrects() || self.calibrates() || self.prune.reconstruct.is_some()
    }

    /// Whether the criterion needs samples.
    fn calibrates(&self) -> bool {
        self.prune.criterion.method().needs != Needs::Weights
    }

    /// Finds a criterion whose samples are missing; the path of a key, and what is wrong with it.
    fn check_samples(&self) -> Result<(), Wrong> {
        let criterion = self.prune.criterion.method();
        if self.calibrates() && self.data.train.is_none() {
            let (name, needs) = (criterion.name, criterion.needs.text());
            let problem = format!("{name} needs {needs}: give data.train, or --train on the command line");
            return Err(("prune.criterion".into(), problem));
        }
        Ok(())
    }

    /// Finds what no key alone shows; the path of a key, and what is wrong with it.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let wrong = |path: &str, problem: &str| Err((path.to_owned(), problem.to_owned()));
        let share = |path: String, value: Option<f64>, top: f64| match value {
            Some(value) if !(0.0..=top).contains(&value) => Err((path, format!("{value} is not from 0 to {top}"))),
            _ => Ok(()),
        };
        if let Some(sparsity) = self.prune.sparsity
            && !(0.0..1.0).contains(&sparsity)
        {
            return wrong(
                "prune.sparsity",
                &format!("sparsity {sparsity} is not from 0 to below 1 (0.9 = 90 % of the weights removed)"),
            );
        }
        if let Some(fraction) = self.prune.structured
            && !(0.0..1.0).contains(&fraction)
        {
            return wrong(
                "prune.structured",
                &format!("{fraction} is not from 0 to below 1 (0.5 = half of the channels removed)"),
            );
        }
        if let Some(share) = self.prune.macs {
            if !(share > 0.0 && share < 1.0) {
                return wrong(
                    "prune.macs",
                    &format!("{share} is not between 0 and 1 (0.5 = half of the multiplications stay)"),
                );
            }
            if self.prune.structured.is_some() {
                return wrong(
                    "prune.macs",
                    "decides how many channels go: leave structured out, or macs",
                );
            }
        }
        let isomorphic = self.prune.scope == Scope::Isomorphic;
        if isomorphic && (self.prune.structured.is_none() || self.prune.sparsity.is_some_and(|asked| asked > 0.0)) {
            return wrong(
                "prune.scope",
                "isomorphic is for structured, and without a sparsity of weights",
            );
        }
        if self.removal().is_some() {
            if !isomorphic && !matches!(self.prune.scope, Scope::Global | Scope::Uniform) {
                return wrong(
                    "prune.scope",
                    "must be global, uniform or isomorphic where channels are removed",
                );
            }
            if self.schedule.kind != Kind::OneShot {
                return wrong(
                    "schedule.kind",
                    "must be one-shot with prune.structured or prune.macs: channels are removed in one go",
                );
            }
            if self.schedule.between == Between::Rewind {
                return wrong(
                    "schedule.between",
                    "cannot be rewind with prune.structured or prune.macs: the network had other channels then",
                );
            }
        }
        if !(1..=1024).contains(&self.prune.round_to) {
            return wrong("prune.round_to", "must be from 1 to 1024");
        }
        let pattern = self.prune.pattern;
        if let (Some(asked), Some(fixed)) = (self.prune.sparsity, pattern.0.fixed_sparsity())
            && (asked - fixed).abs() > 1e-9
        {
            let problem = format!("pattern {pattern} fixes the sparsity at {fixed}, not {asked}: leave it out");
            return wrong("prune.sparsity", &problem);
        }
        share("prune.alpha".into(), self.prune.alpha, 1.0)?;
        share("prune.min".into(), Some(self.prune.min), self.prune.max)?;
        share("prune.max".into(), Some(self.prune.max), 1.0)?;
        if self.schedule.rounds == 0 || self.schedule.rounds > 1000 {
            return wrong("schedule.rounds", "must be from 1 to 1000");
        }
        let [begin, end] = self.schedule.span;
        if !(0.0 <= begin && begin < end && end <= 1.0) {
            return wrong("schedule.span", "must be two fractions from 0 to 1, the lower first");
        }
        if matches!(self.schedule.every, Length::Epochs(0) | Length::Steps(0)) {
            return wrong("schedule.every", "must be at least \"1it\"");
        }
        for (name, training) in [("train", &self.train), ("retrain", &self.retrain)] {
            training.as_ref().map_or(Ok(()), |training| training.check(name))?;
        }
        if let Some(Training {
            schedule: Some(Rate::Retraining(_)),
            ..
        }) = &self.train
        {
            return wrong("train.schedule", "goes only after pruning: use it in [retrain]");
        }
        if let Some(distill) = &self.distill {
            share("distill.weight".into(), Some(distill.weight.into()), 1.0)?;
            if !(distill.temperature.is_finite() && distill.temperature > 0.0) {
                return wrong("distill.temperature", "must be greater than 0");
            }
        }
        if self.data.calibration == 0 {
            return wrong("data.calibration", "must be at least 1");
        }
        for (class, &value) in &self.data.shares {
            share(format!("data.shares.{class}"), Some(value), 1.0)?;
        }
        if let Err(error) = self.export.encoding.parse::<EncodingChoice>() {
            return wrong("export.encoding", &error);
        }
        for (index, rule) in self.rule.iter().enumerate() {
            let path = |key: &str| format!("rule.{index}.{key}");
            if let Err(error) = Regex::new(&rule.layers) {
                return Err((path("layers"), format!("is no regular expression ({error})")));
            }
            for (key, value) in [
                ("sparsity", rule.sparsity),
                ("min", rule.min),
                ("max", rule.max),
                ("alpha", rule.alpha),
            ] {
                share(path(key), value, 1.0)?;
            }
            if rule.sparsity == Some(1.0) {
                return Err((path("sparsity"), "must be below 1".into()));
            }
        }
        Ok(())
    }

    /// Finds what has to be there to run it, and what contradicts something else. Paths are as in the file.
    pub fn check_complete(&self) -> Result<(), Wrong> {
        let wrong = |path: &str, problem: &str| Err((path.to_owned(), problem.to_owned()));
        if self.model.is_none() {
            return wrong("model", "is missing: name a model file or a network");
        }
        if self.prune.max_drop.is_none() && self.sparsity().is_none() && self.prune.alpha.is_none() {
            return wrong(
                "prune.sparsity",
                "is missing: give it, or max_drop, or an N:M pattern, or structured alone",
            );
        }
        if self.prune.alpha.is_some() {
            self.check_alpha()?;
        }
        if let Some(method) = self.prune.reconstruct
            && method.0.chooses()
            && self.prune.pattern.0 == Pattern::Kernel
        {
            let problem = format!("{method} does not choose whole kernels: use least-squares, or another pattern");
            return Err(("prune.reconstruct".into(), problem));
        }
        if self.prune.round_to != 1 && self.removal().is_none() {
            return wrong(
                "prune.round_to",
                "rounds what prune.structured or prune.macs leaves: give one too",
            );
        }
        self.check_samples()?;
        self.check_dynamic()?;
        if self.needs_samples() && self.data.train.is_none() {
            return wrong(
                "data.train",
                "is missing: the recipe trains, corrects or reconstructs; give it, or --train on the command line",
            );
        }
        if self.prune.max_drop.is_some() && self.data.validation.is_none() && self.data.test.is_none() {
            return wrong("data.validation", "is missing: max_drop has to be measured");
        }
        if self.prune.max_drop.is_some() && self.prune.pattern.0.fixed_sparsity().is_some() {
            return wrong(
                "prune.max_drop",
                "cannot be searched for: the pattern fixes the sparsity",
            );
        }
        let kept = self.schedule.kind == Kind::OneShot && self.schedule.between == Between::Keep;
        let changes = [
            ("prune.reconstruct", self.prune.reconstruct.is_some()),
            ("prune.permute", self.prune.permute),
        ];
        if let Some((key, _)) = changes.into_iter().find(|(_, asked)| *asked && !kept) {
            return wrong(key, "is for schedule.kind = \"one-shot\" with between = \"keep\"");
        }
        if self.prune.permute && self.prune.pattern.0.fixed_sparsity().is_none() {
            return wrong("prune.permute", "is for N:M patterns, such as 2:4");
        }
        if self.schedule.kind != Kind::OneShot && self.retrain.is_none() {
            return wrong("retrain", "is missing: iterative, gradual and dynamic pruning train");
        }
        if self.distill.is_some() && self.retrain.is_none() {
            return wrong("retrain", "is missing: distillation is a way to retrain");
        }
        let rewinds = self.schedule.between == Between::Rewind;
        let to_beginning = matches!(self.schedule.rewind_to, Length::Steps(0) | Length::Epochs(0));
        if self.data.subset.is_some() && (self.train.is_none() || rewinds && to_beginning) {
            return wrong(
                "data.subset",
                "is for [train], until schedule.rewind_to: that is missing, or nothing comes before it",
            );
        }
        match &self.data.subset {
            Some(subset) if subset.size == 0 => {
                return wrong("data.subset.size", "is missing: say how many samples, at least 1");
            }
            Some(subset) if subset.take != Take::Random && subset.scores.is_none() => {
                return wrong(
                    "data.subset.scores",
                    "is missing: take = \"easiest\" and \"hardest\" need what `secateur difficulty` writes",
                );
            }
            _ => {}
        }
        if self.schedule.resume && !rewinds {
            return wrong("schedule.resume", "is for between = \"rewind\"");
        }
        if rewinds && self.train.is_none() && !to_beginning {
            return wrong(
                "schedule.rewind_to",
                "needs [train]: there is no training to rewind into",
            );
        }
        if let Some(Rate::Retraining(retraining)) = self.retrain.as_ref().and_then(|retrain| retrain.schedule.as_ref())
            && retraining.needs_original()
            && self.train.is_none()
        {
            return wrong(
                "retrain.schedule",
                "is a function of the training before pruning: describe it in [train], or use llr",
            );
        }
        Ok(())
    }

    /// Finds what a share of importance cannot be asked for with.
    fn check_alpha(&self) -> Result<(), Wrong> {
        let wrong = |path: &str, problem: &str| Err((path.to_owned(), problem.to_owned()));
        if self.prune.scope.prefix().is_none() {
            return wrong(
                "prune.alpha",
                "is a share of importance: use it with scope = \"importance\"",
            );
        }
        if self.prune.sparsity.is_some() || self.prune.max_drop.is_some() {
            return wrong(
                "prune.alpha",
                "decides the sparsity: leave sparsity and max_drop out, or alpha",
            );
        }
        if self.schedule.kind == Kind::Gradual {
            return wrong(
                "prune.alpha",
                "gives no sparsity that could rise gradually: use kind = \"iterative\", or sparsity",
            );
        }
        Ok(())
    }

    /// Finds rules that match none of a model's layers.
    pub fn check_layers(&self, layers: &[String]) -> Result<(), Wrong> {
        for (index, rule) in self.rule.iter().enumerate() {
            let matches = |regex: &Regex| layers.iter().any(|layer| regex.is_match(layer));
            if !Regex::new(&rule.layers).is_ok_and(|regex| matches(&regex)) {
                let near = suggestion(&rule.layers, layers.iter().map(String::as_str));
                let all = layers.join(", ");
                let problem = format!("`{}` matches no layer{near}; the layers are {all}", rule.layers);
                return Err((format!("rule.{index}.layers"), problem));
            }
        }
        Ok(())
    }

    /// The sparsity of weights: as asked, that of the pattern, or 0 where only channels are removed.
    pub fn sparsity(&self) -> Option<f64> {
        let alone = self.removal().map(|_| 0.0);
        let alone = alone.filter(|_| self.prune.max_drop.is_none() && self.prune.pattern.0 == Pattern::Unstructured);
        let asked = self.prune.sparsity.or(self.prune.pattern.0.fixed_sparsity());
        asked.or(alone)
    }

    /// How much is removed by channels.
    fn removal(&self) -> Option<Target> {
        let channels = self.prune.structured.map(Target::Channels);
        channels.or(self.prune.macs.map(Target::Multiplications))
    }

    /// Which channels to remove.
    pub fn channels(&self) -> Option<ChannelOptions> {
        Some(ChannelOptions {
            target: self.removal()?,
            refit: self.prune.reconstruct.is_some_and(|method| !method.0.chooses()),
            round_to: self.prune.round_to,
            criterion: self.prune.criterion.clone(),
            scope: self.prune.scope,
            rules: self.rules(),
            seed: self.seed,
        })
    }

    fn rules(&self) -> Vec<Rule> {
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

impl Training {
    fn check(&self, table: &str) -> Result<(), Wrong> {
        let positive = |key: &str, value: Option<f64>| match value {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err((format!("{table}.{key}"), format!("{value} is not greater than 0")))
            }
            _ => Ok(()),
        };
        positive("epochs", self.epochs.map(|epochs| epochs as f64))?;
        positive("batch", self.batch.map(|batch| batch as f64))?;
        positive("rate", self.rate)?;
        positive("clip", self.clip)?;
        positive("equalize", self.equalize)?;
        for (key, value) in [
            ("momentum", self.momentum),
            ("smoothing", self.smoothing),
            ("weight_decay", self.weight_decay),
        ] {
            if let Some(value) = value
                && !(0.0..1.0).contains(&value)
            {
                return Err((format!("{table}.{key}"), format!("{value} is not from 0 to below 1")));
            }
        }
        if self.crop.is_some_and(|crop| crop > 255) {
            return Err((format!("{table}.crop"), "must be at most 255".into()));
        }
        if self.epochs.is_some_and(|epochs| epochs > 1_000_000) {
            return Err((format!("{table}.epochs"), "must be at most 1000000".into()));
        }
        if self.batch.is_some_and(|batch| batch > 65_536) {
            return Err((format!("{table}.batch"), "must be at most 65536".into()));
        }
        Ok(())
    }

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

    fn resolve(&self, seed: u64, samples: usize, rate: Rate) -> Resolved {
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
