//! Criteria: which weights matter least.
//!
//! A criterion scores each weight; low scores are pruned first. [`method`] is the registry, one file per criterion;
//! `CONTRIBUTING.md` shows how to add one.

mod choice;
pub mod method;
mod subject;
mod unit;

use thiserror::Error;

pub use choice::Criterion;
pub use method::METHODS;
pub use subject::{Scores, Subject};
pub use unit::Unit;

use crate::eval::EvalError;
pub use crate::registry::{Kind, Setting, Value};

/// One way to say which weights matter least.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What recipes call it.
    pub name: &'static str,
    /// Other names that are understood.
    pub aliases: &'static [&'static str],
    /// The score of a weight, in a line.
    pub summary: &'static str,
    /// The paper, with its arXiv id if it has one.
    pub source: &'static str,
    /// What it looks at.
    pub needs: Needs,
    /// How it can be changed.
    pub settings: &'static [Setting],
    /// The score of what is pruned together.
    pub unit: Unit,
    /// Scores every weight of every layer of the subject, finite and `[rows, cols]` as the weights are.
    pub score: fn(&Subject<'_>, &Criterion) -> Result<Scores, CriterionError>,
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a criterion looks at. Each includes what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// The weights.
    Weights,
    /// Samples, without their labels.
    Inputs,
    /// Samples and labels.
    Labels,
}

impl Needs {
    /// For tables.
    pub fn text(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Inputs => "samples",
            Self::Labels => "samples, labels",
        }
    }
}

/// Why a criterion cannot score a network.
#[derive(Debug, Error)]
pub enum CriterionError {
    /// Weights that no criterion can rank.
    #[error(
        "layer `{layer}` has weights that are infinite or not a number: {criterion} cannot rank them; train it anew, \
         at a lower rate"
    )]
    Weights {
        /// The criterion.
        criterion: &'static str,
        /// The layer.
        layer: String,
    },
    /// Scores that cannot be ranked.
    #[error(
        "{criterion} gives layer `{layer}` scores that are infinite or not a number: its activations or gradients \
         overflow; check the samples and their preprocessing, or use another criterion"
    )]
    Scores {
        /// The criterion.
        criterion: &'static str,
        /// The layer.
        layer: String,
    },
    /// No samples were given.
    #[error("{criterion} needs samples: give data.train, or --train on the command line")]
    NoSamples {
        /// The criterion.
        criterion: &'static str,
    },
    /// The samples do not fit.
    #[error("{criterion} cannot use the samples: {problem}")]
    Samples {
        /// The criterion.
        criterion: &'static str,
        /// Why.
        problem: EvalError,
    },
}

#[cfg(test)]
mod tests;
