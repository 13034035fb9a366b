//! The learning rate as a function of the step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// A learning rate over the steps of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub rate: f64,
    /// Steps that first rise to it, linearly.
    pub warmup: u64,
    /// What follows.
    pub shape: Decay,
}

/// How a learning rate changes after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// It does not.
    Constant,
    /// Times `factor` every so many steps.
    Step {
        /// Steps between.
        every: u64,
        /// The factor.
        factor: f64,
    },
    /// Times `factor` at each of these steps, counted from the end of the warm-up.
    MultiStep {
        /// The steps.
        at: Vec<u64>,
        /// The factor.
        factor: f64,
    },
    /// Half a cosine down to `end` times the rate (arXiv 1608.03983, without restarts).
    Cosine {
        /// A fraction of the highest rate.
        end: f64,
    },
    /// A line down to 0.
    Linear,
    /// From a 25th up along a cosine over the first 30 % of the steps, then down to a 250 000th
    /// (arXiv 1708.07120, with the numbers of PyTorch).
    OneCycle,
    /// Another schedule from one of its steps on, as far as steps are left: replayed where as many are left of
    /// it, else compressed or stretched.
    Replay {
        /// The schedule.
        schedule: Box<Schedule>,
        /// Its steps.
        steps: u64,
        /// The first that is replayed.
        from: u64,
    },
}

impl Schedule {
    /// The rate of step `step` of `total`, counted from 0.
    pub fn at(&self, step: u64, total: u64) -> f64 {
        if step < self.warmup {
            return self.rate * (step + 1) as f64 / self.warmup as f64;
        }
        let (step, total) = (step - self.warmup, total.saturating_sub(self.warmup).max(1));
        let done = step as f64 / total as f64;
        self.rate
            * match &self.shape {
                Decay::Constant => 1.0,
                Decay::Step { every, factor } => factor.powf((step / (*every).max(1)) as f64),
                Decay::MultiStep { at, factor } => factor.powf(at.iter().filter(|&&at| step >= at).count() as f64),
                Decay::Cosine { end } => cosine(1.0, *end, done),
                Decay::Linear => 1.0 - done,
                Decay::OneCycle => one_cycle(step as f64, total as f64),
                Decay::Replay { schedule, steps, from } => {
                    let left = u128::from(steps.saturating_sub(*from));
                    let at = from + (u128::from(step) * left / u128::from(total)) as u64;
                    schedule.at(at, *steps) / self.rate
                }
            }
    }
}

/// From `a` to `b` along half a cosine.
fn cosine(a: f64, b: f64, done: f64) -> f64 {
    b + (a - b) * (1.0 + (PI * done).cos()) / 2.0
}

fn one_cycle(step: f64, total: f64) -> f64 {
    let (start, end) = (1.0 / 25.0, 1.0 / 25.0 / 1e4);
    let top = 0.3 * total - 1.0;
    if step <= top {
        return cosine(start, 1.0, step / top);
    }
    let down = total - 1.0 - top;
    cosine(1.0, end, ((step - top) / down.max(1.0)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(shape: Decay, warmup: u64, total: u64) -> Vec<f64> {
        let schedule = Schedule {
            rate: 0.1,
            warmup,
            shape,
        };
        (0..total).map(|step| schedule.at(step, total)).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-9, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn shapes_have_their_values() {
        close(&rates(Decay::Constant, 0, 3), &[0.1; 3]);
        close(&rates(Decay::Linear, 0, 4), &[0.1, 0.075, 0.05, 0.025]);
        close(&rates(Decay::Linear, 2, 4), &[0.05, 0.1, 0.1, 0.05]);
        let step = Decay::Step { every: 2, factor: 0.5 };
        close(&rates(step, 0, 5), &[0.1, 0.1, 0.05, 0.05, 0.025]);
        let steps = Decay::MultiStep {
            at: vec![1, 3],
            factor: 0.1,
        };
        close(&rates(steps, 0, 4), &[0.1, 0.01, 0.01, 0.001]);
        close(
            &rates(Decay::Cosine { end: 0.0 }, 0, 4),
            &[0.1, 0.085_355_339_06, 0.05, 0.014_644_660_94],
        );
    }

    #[test]
    fn one_cycle_is_that_of_pytorch() {
        // torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=10), PyTorch 2.
        let expected = [
            0.00400000000,
            0.05200000000,
            0.10000000000,
            0.09504846320,
            0.08117456539,
            0.06112620219,
            0.03887419781,
            0.01882583461,
            0.00495193680,
            0.00000040000,
        ];
        close(&rates(Decay::OneCycle, 0, 10), &expected);
    }
}
