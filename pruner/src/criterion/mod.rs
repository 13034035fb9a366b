//! Criteria: which weights matter least. One file per criterion.
//!
//! A criterion scores each weight; the score of a block is the sum over its
//! weights. Low scores are pruned first.

mod magnitude;
mod random;

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A criterion that needs nothing but the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Criterion {
    /// |w|: the L1 norm of a block
    #[default]
    #[value(name = "magnitude", alias = "l1")]
    #[serde(rename = "magnitude")]
    L1,
    /// w²: the L2 norm of a block (the same as L1 for single weights)
    #[value(name = "l2", alias = "magnitude-l2")]
    L2,
    /// Uniformly random, from the seed: the baseline every criterion must beat
    Random,
}

impl Criterion {
    /// One score per weight. `layer` distinguishes the random streams of layers.
    pub fn scores(self, weights: &[f32], layer: &str, seed: u64) -> Vec<f64> {
        match self {
            Self::L1 => magnitude::l1(weights),
            Self::L2 => magnitude::l2(weights),
            Self::Random => random::scores(weights.len(), layer, seed),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1 => "magnitude",
            Self::L2 => "l2",
            Self::Random => "random",
        })
    }
}
