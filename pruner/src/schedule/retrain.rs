//! The learning rate of retraining, as BIMP compares them (arXiv 2111.00843).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::train::{Decay, Schedule};

/// How the learning rate goes after pruning. All but `ft` and `lrw` first rise for a tenth of the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Retraining {
    /// Fine-tuning: the last rate of the original training.
    Ft,
    /// Learning-rate rewinding: the last steps of the original training (arXiv 2003.02389).
    Lrw,
    /// Scaled: the whole original schedule, compressed (arXiv 2105.03193).
    Slr,
    /// Cyclic: half a cosine from the highest to the last rate.
    Clr,
    /// Linear from the highest rate to 0.
    #[default]
    Llr,
    /// Linear to 0 from a rate that follows from how much the pruning took.
    Allr,
}

/// The training that the dense network had.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    /// Its learning rate.
    pub schedule: Schedule,
    /// Its steps.
    pub steps: u64,
}

impl Original {
    fn last(&self) -> f64 {
        self.schedule.at(self.steps.saturating_sub(1), self.steps)
    }
}

/// What a pruning took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The length of what was removed over that of all prunable weights.
    pub drop: f64,
    /// The fraction of the remaining weights that was removed.
    pub fraction: f64,
}

impl Retraining {
    /// Whether it is a function of the original training.
    pub fn needs_original(self) -> bool {
        matches!(self, Self::Ft | Self::Lrw | Self::Slr | Self::Clr)
    }

    /// The schedule of `steps` steps whose highest rate is `rate`. Without an original training, its place is
    /// taken by a constant rate as long as the retraining.
    pub fn schedule(self, rate: f64, steps: u64, original: Option<&Original>, cut: Cut) -> Schedule {
        let constant = Original {
            schedule: Schedule {
                rate,
                warmup: 0,
                shape: Decay::Constant,
            },
            steps,
        };
        let original = original.unwrap_or(&constant);
        let replay = |from| Decay::Replay {
            schedule: Box::new(original.schedule.clone()),
            steps: original.steps,
            from,
        };
        let highest = original.schedule.rate;
        let (rate, shape) = match self {
            Self::Ft => (original.last(), Decay::Constant),
            Self::Lrw => (highest, replay(original.steps.saturating_sub(steps))),
            Self::Slr => (highest, replay(original.schedule.warmup)),
            Self::Clr => {
                let end = original.last() / highest;
                (rate, Decay::Cosine { end })
            }
            Self::Llr => (rate, Decay::Linear),
            Self::Allr => {
                let share = steps as f64 / original.steps.max(1) as f64;
                (adapted(rate, cut, share), Decay::Linear)
            }
        };
        let warmup = match self {
            Self::Ft | Self::Lrw => 0,
            _ => steps / 10,
        };
        Schedule { rate, warmup, shape }
    }
}

/// `highest · drop / √fraction`, at least the share of the budget of the highest rate, at most that.
fn adapted(highest: f64, cut: Cut, share: f64) -> f64 {
    let wanted = highest * cut.drop / cut.fraction.max(f64::MIN_POSITIVE).sqrt();
    wanted.max(share.min(1.0) * highest).min(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut {
        drop: 0.2,
        fraction: 0.64,
    };

    fn original() -> Original {
        let shape = Decay::MultiStep {
            at: vec![50, 75],
            factor: 0.1,
        };
        Original {
            schedule: Schedule {
                rate: 0.1,
                warmup: 0,
                shape,
            },
            steps: 100,
        }
    }

    fn rates(retraining: Retraining, steps: u64) -> Vec<f64> {
        let schedule = retraining.schedule(0.1, steps, Some(&original()), CUT);
        (0..steps).map(|step| schedule.at(step, steps)).collect()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
    }

    #[test]
    fn fine_tuning_stays_at_the_last_rate() {
        rates(Retraining::Ft, 10)
            .into_iter()
            .for_each(|rate| close(rate, 0.001));
    }

    #[test]
    fn rate_rewinding_replays_the_last_steps() {
        let found = rates(Retraining::Lrw, 40);
        for (step, rate) in found.into_iter().enumerate() {
            close(rate, original().schedule.at(60 + step as u64, 100));
        }
    }

    #[test]
    fn the_scaled_schedule_has_every_stage_of_the_original() {
        let found = rates(Retraining::Slr, 10);
        // One step of warm-up, then nine that cover a hundred.
        close(found[0], 0.1);
        close(found[5], 0.1);
        close(found[6], 0.01);
        close(found[9], 0.001);
    }

    #[test]
    fn cyclic_and_linear_go_down_from_the_highest_rate() {
        let (cyclic, linear) = (rates(Retraining::Clr, 20), rates(Retraining::Llr, 20));
        for found in [&cyclic, &linear] {
            close(found[0], 0.05);
            close(found[2], 0.1);
        }
        close(cyclic[11], 0.001 + 0.099 / 2.0);
        close(linear[11], 0.05);
    }

    #[test]
    fn the_adapted_rate_is_that_of_the_paper() {
        // algorithms.md 5.4: 0.1 * 0.2 / 0.8 = 0.025, at least 5 of 100 epochs' share.
        close(adapted(0.1, CUT, 0.05), 0.025);
        close(adapted(0.1, Cut { drop: 0.01, ..CUT }, 0.05), 0.005);
        close(adapted(0.1, Cut { drop: 1.0, ..CUT }, 0.05), 0.1);
        close(rates(Retraining::Allr, 5)[0], 0.025);
    }
}
