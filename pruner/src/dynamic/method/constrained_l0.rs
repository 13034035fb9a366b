//! Constrained L0: a random gate per weight is learned, under the constraint of the density asked for.

use super::{Kind, Method, Patterns, Pruner, Scope, Setting, Task, Weights};
use crate::criterion::method::uniform;
use crate::layer::Layer;
use crate::prune::PruneError;
use crate::train::{Optimizer, State};

const DUAL_RATE: Setting = Setting {
    name: "dual_rate",
    kind: Kind::Real(1e-4, [0.0, 1000.0]),
    help: "The rate of the multiplier. It is for some 100 000 steps; shorter trainings need more.",
    ours: false,
};

const DROP: Setting = Setting {
    name: "drop",
    kind: Kind::Real(0.5, [0.01, 0.99]),
    help: "The share that gates take at the beginning; weights are divided by what they leave.",
    ours: false,
};

pub(super) const METHOD: Method = Method {
    name: "constrained-l0",
    summary: "random gates are learned with the weights, pressed by a multiplier to the density asked for",
    source: "Controlled Sparsity via Constrained Optimization, arXiv 2208.04425",
    patterns: Patterns::Unstructured,
    scopes: &[Scope::Global],
    settings: &[DUAL_RATE, DROP],
    begin: |chosen, task| {
        let [kept, all] = task.kept().map(|count| count.max(1) as f64);
        Ok(Box::new(Gated {
            optimizer: task.optimizer.without_decay(),
            weights: all,
            density: kept / all,
            dual_rate: chosen.real(&DUAL_RATE),
            drop: chosen.real(&DROP),
            gates: Vec::new(),
            gradients: Vec::new(),
            task,
        }))
    },
};

/// β, and the interval that gates are stretched to before they are clipped to 0..1.
const TEMPERATURE: f64 = 2.0 / 3.0;
const STRETCHED: [f64; 2] = [-0.1, 1.1];

/// What log α is clamped to, as a fraction.
const CLAMP: [f64; 2] = [0.01, 100.0];

/// λ.
const MULTIPLIER: &str = "multiplier";

/// The memory has, by constant, log α of each gate and what the optimiser keeps of it; and the multiplier.
struct Gated {
    task: Task,
    optimizer: Optimizer,
    weights: f64,
    /// The greatest expected density.
    density: f64,
    dual_rate: f64,
    drop: f64,
    /// Of the step, by layer: the gates with their derivatives, and the gradients of log α.
    gates: Vec<Vec<[f64; 2]>>,
    gradients: Vec<Vec<f32>>,
}

impl Pruner for Gated {
    fn before_step(&mut self, state: &mut State, step: u64) -> Result<(), PruneError> {
        if step == 0 {
            let log_alpha = libm::log((1.0 - self.drop) / self.drop) as f32;
            for layer in self.task.layers() {
                for (part, value) in PARTS.into_iter().zip([log_alpha, 0.0, 0.0]) {
                    state
                        .memory_mut()
                        .insert(key(part, layer), vec![value; layer.weights()]);
                }
                state.change_each(layer.tensor, |(_, w)| *w /= (1.0 - self.drop) as f32);
            }
            state.memory_mut().insert(MULTIPLIER.into(), vec![0.0]);
        }
        Ok(())
    }

    fn effective(&mut self, state: &State, step: u64) -> Result<Weights, PruneError> {
        self.gates.clear();
        let mut effective = Weights::new();
        for layer in self.task.layers() {
            let noise = uniform(
                layer.weights(),
                &layer.name,
                self.task.seed.wrapping_add((step + 1) << 20),
            );
            let gates: Vec<[f64; 2]> = log_alpha(state, layer)
                .iter()
                .zip(noise)
                .map(|(&a, u)| gate(a, u))
                .collect();
            let weights = self.task.weights(state.graph(), layer).iter().zip(&gates);
            effective.push((layer.tensor, weights.map(|(w, [z, _])| w * *z as f32).collect()));
            self.gates.push(gates);
        }
        Ok(effective)
    }

    fn gradients(&mut self, state: &mut State, _: u64, gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        let press = f64::from(multiplier(state)) / self.weights;
        let mut expected = 0.0;
        self.gradients.clear();
        for (layer, gates) in self.task.layers().iter().zip(&self.gates) {
            let weights = self.task.weights(state.graph(), layer);
            let of_weights = &mut gradients[usize::from(layer.tensor.0)];
            let all = of_weights
                .iter_mut()
                .zip(weights)
                .zip(gates)
                .zip(log_alpha(state, layer));
            let of_gates = all.map(|(((g, w), [z, slope]), &a)| {
                let open = probability(a);
                expected += open;
                let of_gate = f64::from(*g * w) * slope + press * open * (1.0 - open);
                *g *= *z as f32;
                of_gate as f32
            });
            self.gradients.push(of_gates.collect());
        }
        let next = raised(
            multiplier(state).into(),
            self.dual_rate,
            expected / self.weights,
            self.density,
        );
        state.memory_mut().insert(MULTIPLIER.into(), vec![next as f32]);
        Ok(true)
    }

    fn after_step(&mut self, state: &mut State, _: u64, rate: f64) -> Result<(), PruneError> {
        let updates = state.updates();
        let memory = state.memory_mut();
        for (layer, gradients) in self.task.layers().iter().zip(&self.gradients) {
            let parts = PARTS.map(|part| memory.remove(&key(part, layer)).unwrap_or_default());
            let [mut a, mut first, mut second] = parts;
            let slots = [first.as_mut_slice(), second.as_mut_slice()];
            self.optimizer.update(rate, updates, &mut a, gradients, 1.0, slots);
            let [low, high] = CLAMP.map(|alpha| libm::log(alpha) as f32);
            a.iter_mut().for_each(|a| *a = a.clamp(low, high));
            memory.extend(PARTS.map(|part| key(part, layer)).into_iter().zip([a, first, second]));
        }
        Ok(())
    }

    /// Gates of the test: half of the noise. Those stay that are open most likely.
    fn finish(&mut self, state: &mut State) -> Result<(), PruneError> {
        let alphas = self.task.layers().iter().map(|layer| log_alpha(state, layer).to_vec());
        let alphas: Vec<Vec<f32>> = alphas.collect();
        let scores = alphas.iter().map(|a| a.iter().map(|&a| a.into()).collect());
        let masks = self.task.select(scores.collect());
        for (layer, alphas) in self.task.layers().iter().zip(alphas) {
            state.change_each(layer.tensor, |(place, w)| *w *= gate(alphas[place], 0.5)[0] as f32);
        }
        self.task.set_masks(state, masks);
        state.memory_mut().clear();
        Ok(())
    }
}

const PARTS: [&str; 3] = ["gates", "gates.first", "gates.second"];

fn key(part: &str, layer: &Layer) -> String {
    format!("{part}.{}", layer.tensor.0)
}

fn log_alpha<'s>(state: &'s State, layer: &Layer) -> &'s [f32] {
    state.memory().get(&key(PARTS[0], layer)).map_or(&[], Vec::as_slice)
}

fn multiplier(state: &State) -> f32 {
    let kept = state.memory().get(MULTIPLIER).and_then(|kept| kept.first());
    kept.copied().unwrap_or(0.0)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// The gate with log α `a` for noise from 0 to 1, and its derivative by log α.
fn gate(a: f32, noise: f64) -> [f64; 2] {
    let u = 1e-6 + (1.0 - 2e-6) * noise;
    let y = sigmoid((libm::log(u) - libm::log(1.0 - u) + f64::from(a)) / TEMPERATURE);
    let [low, high] = STRETCHED;
    let z = y * (high - low) + low;
    match z > 0.0 && z < 1.0 {
        true => [z, (high - low) * y * (1.0 - y) / TEMPERATURE],
        false => [z.clamp(0.0, 1.0), 0.0],
    }
}

/// How likely a gate is not zero.
fn probability(a: f32) -> f64 {
    let [low, high] = STRETCHED;
    sigmoid(f64::from(a) - TEMPERATURE * libm::log(-low / high))
}

/// The multiplier after a step up; 0 where the constraint holds.
fn raised(multiplier: f64, rate: f64, expected: f64, density: f64) -> f64 {
    match expected > density {
        true => multiplier + rate * (expected - density),
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_and_multipliers_are_those_of_the_worked_example() {
        // algorithms.md 7.13.
        assert!((probability(0.0) - 0.831_822).abs() < 1e-6);
        assert!((gate(1.0, 0.5)[0] - 0.881_089).abs() < 1e-6);
        assert!((raised(0.5, 0.1, 0.6, 0.3) - 0.53).abs() < 1e-12);
        assert_eq!(raised(0.5, 0.1, 0.2, 0.3), 0.0);
    }

    #[test]
    fn slopes_are_those_of_differences_and_clipped_gates_have_none() {
        for (a, noise) in [(0.3, 0.4), (-1.0, 0.7), (2.0, 0.2)] {
            let difference = (gate(a + 0.01, noise)[0] - gate(a - 0.01, noise)[0]) / 0.02;
            assert!((gate(a, noise)[1] - difference).abs() < 1e-4, "{a} {noise}");
        }
        assert_eq!((gate(4.0, 0.99), gate(-4.0, 0.01)), ([1.0, 0.0], [0.0, 0.0]));
    }
}
