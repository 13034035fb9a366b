//! What a [`Recipe`] lacks, and what in it contradicts something else.

use regex::Regex;

use super::{Between, Kind, Length, Rate, Recipe, Training};
use crate::emit::EncodingChoice;
use crate::mask::{Pattern, Scope};
use crate::reconstruct::LEAST_SQUARES;
use crate::source::nearest::suggestion;
use crate::train::Take;

/// The path of a key, and what is wrong with it.
pub(super) type Wrong = (String, String);

impl Recipe {
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
        let budgets = [
            ("prune.macs", self.prune.macs, "multiplications"),
            ("prune.latency", self.prune.latency, "predicted time"),
        ];
        let mut decides = self.prune.structured.map(|_| "prune.structured");
        for (key, share, of) in budgets {
            let Some(share) = share else { continue };
            if !(share > 0.0 && share < 1.0) {
                return wrong(
                    key,
                    &format!("{share} is not between 0 and 1 (0.5 = half of the {of} stays)"),
                );
            }
            if let Some(other) = decides.replace(key) {
                return wrong(key, &format!("decides how many channels go: leave it out, or {other}"));
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
                    "must be one-shot with prune.structured, macs or latency: channels are removed in one go",
                );
            }
            if self.schedule.between == Between::Rewind {
                return wrong(
                    "schedule.between",
                    "cannot be rewind with prune.structured, macs or latency: the network had other channels then",
                );
            }
        }
        if let Some(collapse) = &self.prune.collapse {
            if !(2..=64).contains(&collapse.layers) {
                return wrong("prune.collapse.layers", "must be from 2 to 64");
            }
            if !(1..=64).contains(&collapse.interval) {
                return wrong("prune.collapse.interval", "must be from 1 to 64");
            }
            if !(-1.0..=1.0).contains(&collapse.similarity) {
                return wrong("prune.collapse.similarity", "is a cosine: from -1 to 1");
            }
            if self.schedule.kind != Kind::OneShot || self.schedule.between == Between::Rewind {
                return wrong(
                    "prune.collapse",
                    "is for schedule.kind = \"one-shot\", without rewinding: the network had other layers then",
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
                "is missing: give it, or max_drop, or an N:M pattern, or structured, macs, latency or collapse alone",
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
        if let Some(method) = self.prune.reconstruct
            && method.0.name != LEAST_SQUARES.name
            && self.sparsity() == Some(0.0)
        {
            let problem =
                format!("{method} makes up for weights that are pruned: give prune.sparsity, or use least-squares");
            return Err(("prune.reconstruct".into(), problem));
        }
        if self.prune.round_to != 1 && self.removal().is_none() {
            return wrong(
                "prune.round_to",
                "rounds what prune.structured, macs or latency leaves: give one too",
            );
        }
        self.check_samples()?;
        self.check_dynamic()?;
        if self.needs_samples() && self.data.train.is_none() {
            return wrong(
                "data.train",
                "is missing: the recipe trains, corrects, reconstructs or collapses; give it, or --train on the command line",
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
        if self.prune.permute && self.prune.alpha.is_some() {
            return wrong(
                "prune.permute",
                "needs prune.sparsity: alpha does not say how many blocks will stay",
            );
        }
        if self.prune.permute && matches!(self.prune.pattern.0, Pattern::Unstructured | Pattern::Kernel) {
            return wrong(
                "prune.permute",
                "is for patterns of channels that meet: N:M, such as 2:4, or blocks, such as 4x1",
            );
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
}
