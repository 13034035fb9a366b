//! ISS-P: the smallest weights shrink in each step, and may come back, until they are pruned.

use super::{Kind, Method, Patterns, Pruner, Scope, Setting, Task};
use crate::prune::PruneError;
use crate::train::State;

const RATIO: Setting = Setting {
    name: "ratio",
    kind: Kind::Real(0.99, [0.0, 1.0]),
    help: "What is left of the smallest weights after each step; 0 is iterative hard thresholding.",
    ours: false,
};

const UNTIL: Setting = Setting {
    name: "until",
    kind: Kind::Real(0.5, [0.0, 1.0]),
    help: "The part of the training in which they shrink; then they are pruned, and the rest is fine-tuned.",
    ours: true,
};

pub(super) const METHOD: Method = Method {
    name: "iss-p",
    summary: "after each step the smallest weights of now shrink, those of the last step of it are pruned",
    source: "Iterative Soft Shrinkage Learning for Efficient Image Super-Resolution, arXiv 2303.09650",
    patterns: Patterns::Any,
    scopes: &[Scope::Uniform, Scope::Row, Scope::Global, Scope::Erk],
    settings: &[RATIO, UNTIL],
    begin: |chosen, task| {
        let (ratio, end) = (chosen.real(&RATIO) as f32, task.step_at(chosen.real(&UNTIL)));
        Ok(Box::new(Shrinking { task, ratio, end }))
    },
};

struct Shrinking {
    task: Task,
    ratio: f32,
    end: u64,
}

impl Pruner for Shrinking {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        match step == self.end {
            true => self.task.keep_largest(state),
            false => Ok(()),
        }
    }

    fn after_step(&mut self, state: &mut State, step: u64, _: f64) -> Result<(), PruneError> {
        if step < self.end {
            let masks = self.task.largest(state.graph())?;
            for (layer, mask) in self.task.layers().iter().zip(masks) {
                let small = |(place, w): (usize, &mut f32)| *w *= if mask[place] { 1.0 } else { self.ratio };
                state.change_each(layer.tensor, small);
            }
        }
        Ok(())
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        // A training that shrinks to its very end prunes here.
        self.before_step(state, self.task.steps)
    }
}
