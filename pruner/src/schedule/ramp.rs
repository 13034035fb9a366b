//! Sparsity over rounds and steps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the sparsity rises during training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ramp {
    /// Fast at first, slow at the end (arXiv 1710.01878).
    #[default]
    Cubic,
    /// Evenly.
    Linear,
    /// The same fraction of what is left each time (arXiv 2006.05467).
    Exponential,
}

impl Ramp {
    /// The sparsity when `done`, from 0 to 1, of the way to `target` is done.
    pub fn at(self, target: f64, done: f64) -> f64 {
        let done = done.clamp(0.0, 1.0);
        match self {
            Self::Cubic => target - target * (1.0 - done).powi(3),
            Self::Linear => target * done,
            Self::Exponential => 1.0 - (1.0 - target).powf(done),
        }
    }
}

/// The sparsity after each of `count` rounds that prune the same fraction of what is left (arXiv 1506.02626).
pub fn rounds(target: f64, count: u32) -> Vec<f64> {
    let at = |round: u32| match round == count {
        // Exactly, not but for rounding.
        true => target,
        false => Ramp::Exponential.at(target, f64::from(round) / f64::from(count)),
    };
    (1..=count).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn ramps_have_their_published_values() {
        // algorithms.md 4.2.
        close(Ramp::Cubic.at(0.9, 0.5), 0.7875);
        close(Ramp::Linear.at(0.9, 0.5), 0.45);
        close(Ramp::Exponential.at(0.99, 0.5), 0.9);
        for ramp in [Ramp::Cubic, Ramp::Linear, Ramp::Exponential] {
            close(ramp.at(0.9, 0.0), 0.0);
            close(ramp.at(0.9, 1.0), 0.9);
            close(ramp.at(0.9, 7.0), 0.9);
        }
    }

    #[test]
    fn rounds_prune_the_same_fraction_of_what_is_left() {
        close(rounds(0.9, 2)[0], 0.683_772);
        // algorithms.md 5.4.
        for (found, left) in rounds(0.9, 3).into_iter().zip([0.464_159, 0.215_443, 0.1]) {
            close(1.0 - found, left);
        }
        close(rounds(1.0 - 0.8f64.powi(20), 20)[3], 0.5904);
        close(rounds(1.0 - 0.8f64.powi(20), 20)[19], 0.988_471);
    }
}
