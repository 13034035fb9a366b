//! A criterion as it was chosen: what only criteria have.

use super::{CriterionError, Kind, METHODS, Method, Scores, Setting, Subject, Unit, Value};
use crate::registry::{Choice, Entry};

/// A criterion of the registry with its settings.
pub type Criterion = Choice<Method>;

/// The setting that says in how many rounds a criterion prunes.
pub(super) const ROUNDS: &str = "rounds";

impl Entry for Method {
    const NOUN: [&'static str; 2] = ["criterion", "criteria"];
    const SCHEMA: [&'static str; 2] = [
        "Criterion",
        "Which weights go first: a criterion's name, or a table with its name and settings.",
    ];

    fn all() -> &'static [Self] {
        METHODS
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn settings(&self) -> &'static [Setting] {
        self.settings
    }
}

impl Default for Criterion {
    /// Magnitude.
    fn default() -> Self {
        Self::new(&METHODS[0])
    }
}

impl Setting {
    /// The samples of each gradient: no source says how many.
    pub(super) const fn batch(default: u32, help: &'static str) -> Self {
        Self {
            name: "batch",
            kind: Kind::Whole(default, [1, 65_536]),
            help,
            ours: true,
        }
    }
}

impl Criterion {
    /// How the scores of weights make that of a unit.
    pub fn unit(&self) -> Unit {
        self.method().unit
    }

    /// In how many rounds it prunes, each scoring what the one before has left.
    pub fn rounds(&self) -> u32 {
        match self.setting(ROUNDS) {
            Some(Value::Whole(rounds)) => rounds,
            _ => 1,
        }
    }

    /// A score for each weight of each layer of the subject: a vector per layer, in the layout of its weights.
    ///
    /// # Errors
    /// A [`CriterionError`]: weights or scores are not finite, or samples are missing or do not fit.
    pub fn scores(&self, subject: &Subject<'_>) -> Result<Scores, CriterionError> {
        let criterion = self.method().name;
        let finite = |scores: &[f64]| scores.iter().all(|score| score.is_finite());
        for layer in subject.layers {
            if !subject.weights(layer).iter().all(|w| w.is_finite()) {
                let layer = layer.name.clone();
                return Err(CriterionError::Weights { criterion, layer });
            }
        }
        let scores = (self.method().score)(subject, self)?;
        match subject.layers.iter().zip(&scores).find(|(_, scores)| !finite(scores)) {
            Some((layer, _)) => Err(CriterionError::Scores {
                criterion,
                layer: layer.name.clone(),
            }),
            None => Ok(scores),
        }
    }
}
