//! Gradients and steps of PyTorch; `tests/train/make_goldens.py` makes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use secateur_format::graph::{Graph, Tensor};

use crate::data::{Dataset, Preprocess};
use crate::source;
use crate::train::{
    Adam, Augment, Decay, Hooks, Loss, Optimizer, Plan, Samples, Schedule, State, Statistics, TrainError, Trainer,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/train")
}

/// Tensors by name, with their shapes.
fn golden() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(folder().join("golden.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let data = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
        (name, (view.shape().to_vec(), data.collect()))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// A golden tensor in our layout.
fn ours((shape, data): &(Vec<usize>, Vec<f32>)) -> Vec<f32> {
    match *shape.as_slice() {
        [o, i, h, w] => {
            let shape = [o, i, h, w].map(|d| d as u32);
            Tensor::from_oihw("", shape, data).unwrap().data
        }
        _ => data.clone(),
    }
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-2, |max: f32, x| max.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let off = (found - expected).abs();
        assert!(off <= tolerance * largest, "{what}: {found} instead of {expected}");
    }
}

const LOSS: Loss = Loss::CrossEntropy { smoothing: 0.1 };

/// Steps over all samples at a time.
fn trained(
    graph: &Graph,
    optimizer: Optimizer,
    rate: f64,
    steps: u64,
    hooks: &mut dyn Hooks,
) -> Result<State, TrainError> {
    let golden = golden();
    let (x, labels) = (&golden["x"], &golden["labels"].1);
    let labels = labels.iter().map(|&label| label as u32).collect();
    let dataset = Dataset::new(x.1.clone(), x.0[1..].to_vec(), Some(labels)).unwrap();
    let samples = Samples {
        dataset: &dataset,
        preprocess: &Preprocess::default(),
    };
    let plan = Plan {
        epochs: steps,
        batch: dataset.len(),
        optimizer,
        schedule: Schedule {
            rate,
            warmup: 0,
            shape: Decay::Constant,
        },
        loss: LOSS,
        distillation: None,
        equalize: None,
        augment: Augment::default(),
        clip: None,
        statistics: Statistics::Batch,
        seed: 0,
    };
    let mut state = State::new(graph.clone()).unwrap();
    Trainer::new(graph, samples, None, plan)?.train(&mut state, hooks)?;
    Ok(state)
}

#[test]
fn gradients_are_those_of_pytorch() {
    let graph = source::load(&folder().join("model.toml")).unwrap().graph;
    let golden = golden();
    // With a rate of 1 and nothing else, one step subtracts the gradient.
    let plain = Optimizer::Sgd {
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    };
    let state = trained(&graph, plain, 1.0, 1, &mut ()).unwrap();
    let mut checked = 0;
    for (before, after) in graph.tensors.iter().zip(&state.graph().tensors) {
        let Some(expected) = golden.get(&format!("grad.{}", before.name)) else {
            assert!(before.name.contains("running"), "{}", before.name);
            continue;
        };
        let found: Vec<f32> = before.data.iter().zip(&after.data).map(|(b, a)| b - a).collect();
        // Subtracting from weights of order 1 costs digits.
        close(&before.name, &found, &ours(expected), 2e-5);
        checked += 1;
    }
    assert_eq!(checked, 16);
}

#[test]
fn optimisers_are_those_of_pytorch() {
    let graph = source::load(&folder().join("model.toml")).unwrap().graph;
    let golden = golden();
    let sgd = |momentum, nesterov, weight_decay| Optimizer::Sgd {
        momentum,
        nesterov,
        weight_decay,
    };
    let adam = |weight_decay| Adam {
        weight_decay,
        ..Adam::default()
    };
    for (name, optimizer, rate) in [
        ("sgd", sgd(0.9, false, 0.01), 0.1),
        ("nesterov", sgd(0.8, true, 0.01), 0.1),
        ("plain", sgd(0.0, false, 0.0), 0.1),
        ("adam", Optimizer::Adam(adam(0.02)), 0.01),
        ("adamw", Optimizer::AdamW(adam(0.1)), 0.01),
    ] {
        let state = trained(&graph, optimizer, rate, 3, &mut ()).unwrap();
        for tensor in &state.graph().tensors {
            let expected = ours(&golden[&format!("{name}.{}", tensor.name)]);
            close(&format!("{name} {}", tensor.name), &tensor.data, &expected, 1e-4);
        }
    }
}

/// Watches the loss of the first epoch.
struct FirstLoss(Option<f64>);

impl Hooks for FirstLoss {
    fn after_epoch(&mut self, _: &State, epoch: u64, seen: crate::train::Sums) -> Result<(), TrainError> {
        if epoch == 1 {
            self.0 = Some(seen.mean_loss());
        }
        Ok(())
    }
}

#[test]
fn the_loss_is_that_of_pytorch() {
    let graph = source::load(&folder().join("model.toml")).unwrap().graph;
    let mut first = FirstLoss(None);
    trained(&graph, Optimizer::Adam(Adam::default()), 0.01, 1, &mut first).unwrap();
    let expected = f64::from(golden()["grad.loss"].1[0]);
    assert!((first.0.unwrap() - expected).abs() < 1e-5);
}
