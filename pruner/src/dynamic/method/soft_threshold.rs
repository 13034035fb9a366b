//! STR: a threshold per layer is learned with the weights.

use super::{Kind, LayerMasks, Method, Patterns, Pruner, Scope, Setting, Task, Weights};
use crate::prune::PruneError;
use crate::train::State;

const START: Setting = Setting {
    name: "start",
    kind: Kind::Real(-5.0, [-10_000.0, 0.0]),
    help: "s at the beginning: thresholds are sigmoid(s). Weight decay, as that of the weights, raises it.",
    ours: true,
};

/// s of each layer, and what the optimiser keeps of them.
const THRESHOLDS: [&str; 3] = ["s", "s.first", "s.second"];

pub(super) const METHOD: Method = Method {
    name: "str",
    summary: "sign(w) · max(|w| − sigmoid(s), 0) goes forward, s of each layer is learned, until the sparsity is reached",
    source: "Soft Threshold Weight Reparameterization for Learnable Sparsity, arXiv 2002.03231",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Global],
    settings: &[START],
    begin: |chosen, task| {
        Ok(Box::new(SoftThreshold {
            start: chosen.real(&START) as f32,
            kept: task.kept()[0],
            gradients: vec![0.0; task.layers().len()],
            task,
        }))
    },
};

struct SoftThreshold {
    task: Task,
    start: f32,
    /// How many weights are asked for.
    kept: usize,
    /// Of s, in the step.
    gradients: Vec<f32>,
}

impl SoftThreshold {
    /// The thresholds; none after they have done their work.
    fn thresholds<'s>(&self, state: &'s State) -> impl Iterator<Item = f32> + use<'s> {
        let s = state.memory().get(THRESHOLDS[0]);
        s.into_iter().flatten().map(|&s| sigmoid(s))
    }

    fn prune(&self, state: &mut State, masks: LayerMasks) {
        let thresholds: Vec<f32> = self.thresholds(state).collect();
        for (layer, threshold) in self.task.layers().iter().zip(thresholds) {
            state.change_each(layer.tensor, |(_, w)| *w = shrunk(*w, threshold));
        }
        self.task.set_masks(state, masks);
        state.memory_mut().clear();
    }
}

impl Pruner for SoftThreshold {
    /// Where the sparsity is reached, the mask with exactly that is fixed.
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        if step == 0 {
            let layers = self.task.layers().len();
            for (name, value) in THRESHOLDS.into_iter().zip([self.start, 0.0, 0.0]) {
                state.memory_mut().insert(name.into(), vec![value; layers]);
            }
        }
        let layers = self.task.layers().iter().zip(self.thresholds(state));
        let over = layers.map(|(layer, threshold)| {
            let weights = self.task.weights(state.graph(), layer).iter();
            weights.map(|w| f64::from(w.abs()) - f64::from(threshold)).collect()
        });
        let over: Vec<Vec<f64>> = over.collect();
        let left = over.iter().flatten().filter(|&&over| over > 0.0).count();
        if !over.is_empty() && left <= self.kept {
            let masks = self.task.select(over);
            self.prune(state, masks);
        }
        Ok(())
    }

    fn effective(&mut self, state: &State, _: u64) -> Result<Weights, PruneError> {
        let layers = self.task.layers().iter().zip(self.thresholds(state));
        let weights = layers.map(|(layer, threshold)| {
            let weights = self.task.weights(state.graph(), layer).iter();
            (layer.tensor, weights.map(|&w| shrunk(w, threshold)).collect())
        });
        Ok(weights.collect())
    }

    fn gradients(&mut self, state: &mut State, _: u64, gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        let layers = self.task.layers().iter().zip(self.thresholds(state));
        for ((layer, threshold), of_s) in layers.zip(&mut self.gradients) {
            let weights = self.task.weights(state.graph(), layer);
            *of_s = back(&mut gradients[usize::from(layer.tensor.0)], weights, threshold);
        }
        Ok(true)
    }

    fn after_step(&mut self, state: &mut State, _: u64, rate: f64) -> Result<(), PruneError> {
        let updates = state.updates();
        let memory = state.memory_mut();
        let [Some(mut s), Some(mut first), Some(mut second)] = THRESHOLDS.map(|name| memory.remove(name)) else {
            return Ok(());
        };
        let slots = [first.as_mut_slice(), second.as_mut_slice()];
        self.task
            .optimizer
            .update(rate, updates, &mut s, &self.gradients, 1.0, slots);
        memory.extend(THRESHOLDS.map(String::from).into_iter().zip([s, first, second]));
        Ok(())
    }

    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        self.before_step(state, self.task.steps)?;
        // The sparsity was not reached: what the thresholds leave stays.
        let effective = self.effective(state, self.task.steps)?;
        if !effective.is_empty() {
            let masks = effective
                .iter()
                .map(|(_, weights)| weights.iter().map(|&w| w != 0.0).collect());
            self.prune(state, masks.collect());
        }
        Ok(())
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// `sign(w) · max(|w| − threshold, 0)`
fn shrunk(w: f32, threshold: f32) -> f32 {
    (w.abs() - threshold).max(0.0).copysign(w)
}

/// From gradients of what went forward to those of the weights; returns that of s.
fn back(gradients: &mut [f32], weights: &[f32], threshold: f32) -> f32 {
    let mut sum = 0.0;
    for (g, w) in gradients.iter_mut().zip(weights) {
        if w.abs() > threshold {
            sum += f64::from(*g * w.signum());
        } else {
            *g = 0.0;
        }
    }
    (-sum) as f32 * threshold * (1.0 - threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_and_gradients_are_those_of_the_worked_example() {
        // algorithms.md 6.20.
        let threshold = sigmoid(-2.0);
        assert!((threshold - 0.119_203).abs() < 1e-6);
        let weights = [0.5, -0.1];
        let forward = weights.map(|w| shrunk(w, threshold));
        assert!(
            (forward[0] - 0.380_797).abs() < 1e-6 && forward[1] == 0.0,
            "{forward:?}"
        );
        let mut gradients = [0.7, 0.3];
        let of_s = back(&mut gradients, &weights, threshold);
        assert_eq!(gradients, [0.7, 0.0]);
        assert!((of_s + 0.7 * 0.119_203 * 0.880_797).abs() < 1e-6, "{of_s}");
    }

    #[test]
    fn the_gradient_of_s_is_that_of_differences() {
        let (weights, g) = ([0.5, -0.3, 0.05, -0.9], [0.2, -0.7, 0.4, 0.1]);
        let loss = |s: f32| -> f64 {
            let pairs = weights.iter().zip(&g);
            pairs
                .map(|(&w, &g)| f64::from(g) * f64::from(shrunk(w, sigmoid(s))))
                .sum()
        };
        let found = back(&mut g.clone(), &weights, sigmoid(-1.5));
        let expected = (loss(-1.49) - loss(-1.51)) / 0.02;
        assert!(
            (f64::from(found) - expected).abs() < 1e-4,
            "{found} instead of {expected}"
        );
    }
}
