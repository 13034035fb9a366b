//! Dropping weights and growing as many others: what SET and RigL have in common.

use std::f64::consts::PI;

use super::{Begun, Dynamic, Kind, Pruner, Setting, Task};
use crate::mask::prune_count;
use crate::prune::PruneError;
use crate::train::State;

const EVERY: Setting = Setting {
    name: "every",
    kind: Kind::Whole(100, [1, 1_000_000]),
    help: "Steps from one rewiring to the next.",
    ours: false,
};

const UNTIL: Setting = Setting {
    name: "until",
    kind: Kind::Real(0.75, [0.0, 1.0]),
    help: "The part of the training in which it rewires; the masks then stay.",
    ours: false,
};

const FRACTION: Setting = Setting {
    name: "fraction",
    kind: Kind::Real(0.3, [0.0, 1.0]),
    help: "The share of a layer's weights that the first rewiring drops; it falls by half a cosine.",
    ours: false,
};

pub(super) const SETTINGS: &[Setting] = &[EVERY, UNTIL, FRACTION];

/// Which weights grow.
#[derive(Clone, Copy)]
pub(super) enum Growth {
    /// Any.
    Random,
    /// Those with the largest gradients.
    Gradient,
}

/// A training with a fixed number of weights in each layer.
pub(super) struct Rewiring {
    task: Task,
    growth: Growth,
    every: u64,
    end: u64,
    fraction: f64,
}

impl Rewiring {
    pub(super) fn begin(growth: Growth, chosen: &Dynamic, task: Task) -> Begun {
        Ok(Box::new(Self {
            growth,
            every: chosen.whole(&EVERY) as u64,
            end: task.step_at(chosen.real(&UNTIL)),
            fraction: chosen.real(&FRACTION),
            task,
        }))
    }
}

impl Pruner for Rewiring {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        if step == 0 {
            let scores = self.task.scores(state.graph(), "random", self.task.seed)?;
            self.task.set_masks(state, self.task.select(scores));
        }
        Ok(())
    }

    /// As in the authors' code, a rewiring takes the place of the optimiser's step.
    fn gradients(&mut self, state: &mut State, step: u64, gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        if step == 0 || step >= self.end || !step.is_multiple_of(self.every) {
            return Ok(true);
        }
        let growth = match self.growth {
            Growth::Random => self
                .task
                .scores(state.graph(), "random", self.task.seed.wrapping_add(step))?,
            Growth::Gradient => {
                let layers = self.task.layers().iter();
                let gradients = layers.map(|layer| &gradients[usize::from(layer.tensor.0)]);
                gradients
                    .map(|g| g.iter().map(|g| f64::from(g.abs())).collect())
                    .collect()
            }
        };
        let share = dropped_share(self.fraction, step as f64 / self.end as f64);
        for (layer, growth) in self.task.layers().iter().zip(growth) {
            let weights = self.task.weights(state.graph(), layer);
            let mask = state
                .mask(layer.tensor)
                .map(|mask| rewired(mask, weights, &growth, share));
            state.set_mask(layer.tensor, mask);
        }
        Ok(false)
    }
}

/// `fraction / 2 · (1 + cos(π · done))`: the share that is dropped when `done` of all rewirings are.
fn dropped_share(fraction: f64, done: f64) -> f64 {
    fraction / 2.0 * (1.0 + (PI * done).cos())
}

/// Drops a share of the weights that `mask` keeps, the smallest, and keeps as many others that have the highest
/// growth. What is dropped may grow again, and then has not changed. Ties go by place.
fn rewired(mask: &[bool], weights: &[f32], growth: &[f64], share: f64) -> Vec<bool> {
    let mut mask = mask.to_vec();
    let mut kept: Vec<usize> = (0..mask.len()).filter(|&i| mask[i]).collect();
    let count = prune_count(share, kept.len());
    kept.sort_by(|&a, &b| weights[a].abs().total_cmp(&weights[b].abs()));
    kept.iter().take(count).for_each(|&i| mask[i] = false);
    let mut free: Vec<usize> = (0..mask.len()).filter(|&i| !mask[i]).collect();
    free.sort_by(|&a, &b| growth[b].total_cmp(&growth[a]));
    free.iter().take(count).for_each(|&i| mask[i] = true);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_go_and_those_with_the_largest_gradients_come() {
        // algorithms.md 6.19.
        let weights = [0.9, -0.1, 0.4, 0.0, 0.0, 0.0];
        let mask = [true, true, true, false, false, false];
        let growth = [0.0, 0.0, 0.0, 0.2, 0.7, 0.1];
        let found = rewired(&mask, &weights, &growth, 1.0 / 3.0);
        assert_eq!(found, [true, false, true, false, true, false]);
        // What is dropped grows again where its gradient is the largest.
        assert_eq!(
            rewired(&mask, &weights, &[0.0, 0.9, 0.0, 0.2, 0.7, 0.1], 1.0 / 3.0),
            mask
        );
        assert_eq!(rewired(&mask, &weights, &growth, 0.0), mask);
    }

    #[test]
    fn what_is_dropped_falls_by_half_a_cosine() {
        // algorithms.md 6.19.
        for (done, expected) in [(0.0, 0.3), (1.0 / 3.0, 0.225), (2.0 / 3.0, 0.075), (1.0, 0.0)] {
            assert!((dropped_share(0.3, done) - expected).abs() < 1e-12, "{done}");
        }
    }
}
