//! Dissipating gradients: weights that stay where they began go.
//!
//! Of the paper only the abstract could be read: all beyond the idea is ours.

use super::{Dynamic, Kind, Method, Patterns, Pruner, Scope, Setting, Task};
use crate::layer::Layer;
use crate::prune::PruneError;
use crate::train::{Optimizer, State};

/// Weights that began smaller count as having begun here.
const FLOOR: f32 = 1e-8;

/// What a weight of 1 without gradients would be, and what the optimiser keeps of it.
const PATH: &str = "path";

pub(super) const TAU: Setting = Setting {
    name: "tau",
    kind: Kind::Real(0.1, [0.0, 1000.0]),
    help: "Weights go that have moved by at most this share of their initial value.",
    ours: true,
};

pub(super) const EPOCHS: Setting = Setting {
    name: "epochs",
    kind: Kind::Whole(5, [1, 1_000_000]),
    help: "Epochs after each of which weights may go.",
    ours: true,
};

/// With another default where the target is to be met.
pub(super) const fn rest(names: &'static [&'static str]) -> Setting {
    Setting {
        name: "rest",
        kind: Kind::Name(names),
        help: "If too few have gone after the last of them: keep the rest, or prune what has moved least to the sparsity \
               asked for.",
        ours: true,
    }
}

const REST: Setting = rest(&["keep", "prune"]);

pub(super) const METHOD: Method = Method {
    name: "dissipating",
    summary: "weights that stay close to their initial values in the first epochs go, until the sparsity is reached",
    source: "What to Prune and What Not to Prune at Initialization, arXiv 2209.02201",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Global, Scope::Uniform, Scope::Row, Scope::Erk],
    settings: &[TAU, EPOCHS, REST],
    begin: |chosen, task| {
        let first = task.per_epoch;
        Ok(Box::new(Dissipating::new(chosen, &REST, task, first)?))
    },
};

/// Prunes what does not move. The memory has the initial weights of each layer, and the [`PATH`] of weight decay.
pub(super) struct Dissipating {
    task: Task,
    tau: f64,
    prunes_rest: bool,
    /// The steps before the first and the last check.
    checks: [u64; 2],
}

impl Dissipating {
    pub(super) fn new(chosen: &Dynamic, rest: &Setting, task: Task, first: u64) -> Result<Self, PruneError> {
        if let Optimizer::Adam(adam) = task.optimizer
            && adam.weight_decay != 0.0
        {
            return Err(PruneError::Training(format!(
                "{} cannot tell what adam's weight decay moves from what gradients move: set retrain.weight_decay to 0, \
                 or retrain.optimizer to adamw or sgd",
                chosen.method().name
            )));
        }
        let epochs = chosen.whole(&EPOCHS) as u64;
        let last = first.saturating_add((epochs - 1).saturating_mul(task.per_epoch));
        Ok(Self {
            tau: chosen.real(&TAU),
            prunes_rest: chosen.name_of(rest) == "prune",
            checks: [first.min(task.steps), last.min(task.steps)],
            task,
        })
    }

    fn check(&self, state: &mut State, last: bool) {
        let path = state
            .memory()
            .get(PATH)
            .and_then(|path| path.first())
            .copied()
            .unwrap_or(1.0);
        let scores: Vec<Vec<f64>> = self
            .task
            .layers()
            .iter()
            .map(|layer| moves(state, layer, path))
            .collect();
        let mut masks = self.task.select(scores.clone());
        if !(last && self.prunes_rest) {
            for (mask, scores) in masks.iter_mut().zip(scores) {
                let moved = mask.iter_mut().zip(scores).filter(|(_, score)| *score > self.tau);
                moved.for_each(|(keep, _)| *keep = true);
            }
        }
        self.task.set_masks(state, masks);
        if last {
            state.memory_mut().clear();
        }
    }
}

impl Pruner for Dissipating {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        let [first, last] = self.checks;
        if step == 0 {
            for layer in self.task.layers() {
                let weights = self.task.weights(state.graph(), layer).to_vec();
                state.memory_mut().insert(key(layer), weights);
            }
            state.memory_mut().insert(PATH.into(), vec![1.0, 0.0, 0.0]);
        } else if (first..=last).contains(&step) && (step.is_multiple_of(self.task.per_epoch) || step == last) {
            self.check(state, step == last);
        }
        Ok(())
    }

    fn after_step(&mut self, state: &mut State, _: u64, rate: f64) -> Result<(), PruneError> {
        let updates = state.updates();
        if let Some([weight, first, second]) = state.memory_mut().get_mut(PATH).map(Vec::as_mut_slice) {
            let slots = [first, second].map(std::slice::from_mut);
            let weight = std::slice::from_mut(weight);
            self.task.optimizer.update(rate, updates, weight, &[0.0], 1.0, slots);
        }
        Ok(())
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        // A search to the very end has its last check here.
        self.before_step(state, self.task.steps)
    }
}

fn key(layer: &Layer) -> String {
    format!("initial.{}", layer.tensor.0)
}

/// How far each weight of a layer has moved, see [`shares_moved`]; what is pruned already comes first.
fn moves(state: &State, layer: &Layer, path: f32) -> Vec<f64> {
    let initial = state.memory().get(&key(layer)).map_or(&[][..], Vec::as_slice);
    let weights = state
        .graph()
        .tensor(layer.tensor)
        .map_or(&[][..], |tensor| &tensor.data);
    let mut moves = shares_moved(weights, initial, path);
    let gone = state.mask(layer.tensor).into_iter().flatten().zip(&mut moves);
    gone.filter(|(keep, _)| !**keep)
        .for_each(|(_, share)| *share = f64::NEG_INFINITY);
    moves
}

/// How far weights have moved from where they would be without gradients, as a share of their initial values.
fn shares_moved(weights: &[f32], initial: &[f32], path: f32) -> Vec<f64> {
    let share = |(&w, &w0): (&f32, &f32)| f64::from((w - w0 * path).abs()) / f64::from(w0.abs().max(FLOOR));
    weights.iter().zip(initial).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_moved_by_a_tenth_goes() {
        // algorithms.md 5.2.
        let moved = shares_moved(&[0.52, -0.30, 0.10], &[0.5, -0.2, 0.1], 1.0);
        assert_eq!(
            moved.iter().map(|&share| share > 0.1).collect::<Vec<_>>(),
            [false, true, false]
        );
        // Weight decay alone moves nothing.
        assert_eq!(shares_moved(&[0.25, -0.05], &[0.5, -0.1], 0.5), [0.0, 0.0]);
        assert_eq!(shares_moved(&[0.0, 1.0], &[0.0, 0.0], 1.0)[0], 0.0);
    }
}
