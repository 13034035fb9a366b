//! Decaying N:M masks: what N:M prunes fades, or the pattern becomes sparser from frame to frame.

use super::{Kind, Method, Patterns, Pruner, Scope, Setting, Task, Weights};
use crate::mask::Pattern;
use crate::prune::PruneError;
use crate::train::State;

const DECAY: Setting = Setting {
    name: "decay",
    kind: Kind::Name(&["exponential", "linear", "stepwise", "geometric"]),
    help: "Of the pruned weights' factor (exponential, linear), or of the pattern (stepwise M-1:M, M/2:M, M/4:M to N:M; \
           geometric 8N:8M, 4N:4M, 2N:2M, N:M).",
    ours: true,
};

const DENSE: Setting = Setting {
    name: "dense",
    kind: Kind::Real(0.1, [0.0, 1.0]),
    help: "The part of the training that is dense, at its beginning.",
    ours: true,
};

const FINE: Setting = Setting {
    name: "fine",
    kind: Kind::Real(0.2, [0.0, 1.0]),
    help: "The part of the training with a fixed mask, at its end.",
    ours: true,
};

/// Exponential decay ends at e to the power of minus this.
const REACH: f64 = 5.0;

pub(super) const METHOD: Method = Method {
    name: "decaying",
    summary: "dense at first; then what N:M prunes goes forward with a factor that decays, or N:M comes by and by",
    source: "Training Recipe for N:M Structured Sparsity with Decaying Pruning Mask, arXiv 2209.07617",
    patterns: Patterns::Nm,
    scopes: &[Scope::Global, Scope::Uniform],
    settings: &[DECAY, DENSE, FINE],
    begin: |chosen, task| {
        let begin = task.step_at(chosen.real(&DENSE));
        let end = task.step_at(1.0 - chosen.real(&FINE)).max(begin);
        let decay = match (chosen.name_of(&DECAY), task.pattern) {
            ("linear", _) => Decay::Linear,
            ("stepwise", Pattern::Nm { n, m }) => Decay::Structure(stepwise(&task, n, m)),
            ("geometric", _) => Decay::Structure(geometric(&task)),
            _ => Decay::Exponential,
        };
        Ok(Box::new(Decaying {
            task,
            decay,
            begin,
            end,
        }))
    },
};

/// What changes between the dense beginning and the fixed mask.
enum Decay {
    Linear,
    Exponential,
    /// The pattern, in frames of the same length.
    Structure(Vec<Task>),
}

struct Decaying {
    task: Task,
    decay: Decay,
    begin: u64,
    end: u64,
}

impl Pruner for Decaying {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        match step == self.end {
            true => self.task.keep_largest(state),
            false => Ok(()),
        }
    }

    fn effective(&mut self, state: &State, step: u64) -> Result<Weights, PruneError> {
        // The state after the last step has no mask yet.
        let fixed = self
            .task
            .layers()
            .iter()
            .any(|layer| state.mask(layer.tensor).is_some());
        if step < self.begin || fixed {
            return Ok(Weights::new());
        }
        let (t, frame) = (step - self.begin, (self.end - self.begin).max(1));
        let (task, rest) = match &self.decay {
            Decay::Linear => (&self.task, linear(1.0 / frame as f64, t)),
            Decay::Exponential => (&self.task, exponential(REACH / frame as f64, t)),
            Decay::Structure(frames) => {
                let index = (t * frames.len() as u64 / frame) as usize;
                (frames.get(index).unwrap_or(&self.task), 0.0)
            }
        };
        let masks = task.largest(state.graph())?;
        Ok(task.masked(state.graph(), &masks, rest as f32))
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        // A decay to the very end has its mask here.
        self.before_step(state, self.task.steps)
    }
}

/// `max(0, 1 − c t)`
fn linear(c: f64, t: u64) -> f64 {
    (1.0 - c * t as f64).max(0.0)
}

/// `exp(−c t)`
fn exponential(c: f64, t: u64) -> f64 {
    (-c * t as f64).exp()
}

/// The patterns M-1:M, M/2:M, M/4:M, …, N:M.
fn frames(n: u8, m: u8) -> Vec<u8> {
    let halves = (1..8).map(|power| m >> power).filter(|&half| half > n);
    let mut kept: Vec<u8> = std::iter::once(m - 1).chain(halves).chain([n]).collect();
    kept.dedup();
    kept
}

fn stepwise(task: &Task, n: u8, m: u8) -> Vec<Task> {
    let with = |n: u8| {
        task.with_patterns(|_, pattern| match pattern {
            Pattern::Nm { .. } => Pattern::Nm { n, m },
            other => other,
        })
    };
    frames(n, m).into_iter().map(with).collect()
}

/// Layers whose channels the larger groups do not divide have the largest that do.
fn geometric(task: &Task) -> Vec<Task> {
    let with = |times: u8| {
        task.with_patterns(|layer, pattern| match pattern {
            Pattern::Nm { n, m } => {
                let wider = [8, 4, 2, 1].into_iter().filter(|&wide| wide <= times);
                let wider = wider.map(|wide| Pattern::Nm {
                    n: n * wide,
                    m: m * wide,
                });
                wider
                    .into_iter()
                    .find(|wider| wider.fits(layer).is_ok())
                    .unwrap_or(pattern)
            }
            other => other,
        })
    };
    [8, 4, 2, 1].map(with).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_frames_are_those_of_the_worked_example() {
        // algorithms.md 7.12.
        assert!((linear(0.01, 30) - 0.7).abs() < 1e-12 && linear(0.01, 101) == 0.0);
        assert!((exponential(0.01, 30) - 0.740_818).abs() < 1e-6);
        assert_eq!(frames(1, 16), [15, 8, 4, 2, 1]);
        assert_eq!(frames(2, 4), [3, 2]);
        assert_eq!(frames(3, 4), [3]);
    }
}
