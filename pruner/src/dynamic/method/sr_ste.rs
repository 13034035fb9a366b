//! SR-STE: the mask of the largest weights goes forward; what it prunes is trained on, and pulled to zero.

use super::{Kind, LayerMasks, Method, Patterns, Pruner, Scope, Setting, Task, Weights};
use crate::prune::PruneError;
use crate::train::State;

const LAMBDA: Setting = Setting {
    name: "lambda",
    kind: Kind::Real(2e-4, [0.0, 1.0]),
    help: "Times a pruned weight, added to its gradient; 0 is the plain straight-through estimator.",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "sr-ste",
    summary: "each step goes forward with the largest weights of now; the gradients of all g + lambda · pruned w",
    source: "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch, arXiv 2102.04010",
    patterns: Patterns::Any,
    scopes: &[Scope::Uniform, Scope::Row, Scope::Global, Scope::Erk],
    settings: &[LAMBDA],
    begin: |chosen, task| {
        Ok(Box::new(SrSte {
            task,
            lambda: chosen.real(&LAMBDA) as f32,
            masks: LayerMasks::new(),
        }))
    },
};

struct SrSte {
    task: Task,
    lambda: f32,
    /// Of the step.
    masks: LayerMasks,
}

impl Pruner for SrSte {
    fn effective(&mut self, state: &State, _: u64) -> Result<Weights, PruneError> {
        self.masks = self.task.largest(state.graph())?;
        Ok(self.task.masked(state.graph(), &self.masks, 0.0))
    }

    fn gradients(&mut self, state: &mut State, _: u64, gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        for (layer, mask) in self.task.layers().iter().zip(&self.masks) {
            let weights = self.task.weights(state.graph(), layer);
            pull(&mut gradients[usize::from(layer.tensor.0)], weights, mask, self.lambda);
        }
        Ok(true)
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        self.task.keep_largest(state)
    }
}

/// `g + lambda · (1 − m) · w`.
fn pull(gradients: &mut [f32], weights: &[f32], mask: &[bool], lambda: f32) {
    let all = gradients.iter_mut().zip(weights).zip(mask);
    all.filter(|(_, keep)| !**keep).for_each(|((g, w), _)| *g += lambda * w);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruned_weights_are_pulled_to_zero() {
        // algorithms.md 6.16: 2:4 keeps the second and the third.
        let mut gradients = [1.0; 4];
        pull(
            &mut gradients,
            &[0.1, -0.9, 0.5, 0.2],
            &[false, true, true, false],
            2e-4,
        );
        assert_eq!(gradients, [1.000_02, 1.0, 1.0, 1.000_04]);
    }
}
