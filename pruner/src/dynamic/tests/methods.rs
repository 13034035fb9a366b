//! What methods do in particular.

use secateur_format::TensorId;

use super::support::{PER_EPOCH, STEPS, model, recipe, run};
use crate::criterion::method::uniform;
use crate::dynamic::{Dynamic, Pruner, Task};
use crate::layer::{Layer, layers};
use crate::prune::Quotas;
use crate::recipe::Recipe;
use crate::train::{Optimizer, State};

/// A recipe for a method with settings.
fn with(name: &str, settings: &[(&str, toml::Value)]) -> Recipe {
    let mut recipe = recipe(Dynamic::named(name).unwrap().method(), "");
    let chosen = recipe.schedule.method.as_mut().unwrap();
    settings.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
    recipe
}

fn pruner(recipe: &Recipe) -> Box<dyn Pruner> {
    let options = recipe.options(recipe.sparsity());
    let task = Task {
        quotas: Quotas::new(&model().graph, &options).unwrap(),
        pattern: options.pattern,
        steps: STEPS,
        per_epoch: PER_EPOCH,
        optimizer: Optimizer::Sgd {
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        },
        seed: recipe.seed,
    };
    let chosen = recipe.schedule.method.as_ref().unwrap();
    (chosen.method().begin)(chosen, task).unwrap()
}

fn all_layers(state: &State) -> Vec<Layer> {
    layers(state.graph(), &state.graph().shapes().unwrap())
}

fn kept(state: &State, layer: &Layer) -> usize {
    state.mask(layer.tensor).unwrap().iter().filter(|&&keep| keep).count()
}

#[test]
fn rewiring_keeps_counts_and_changes_masks_and_rigl_differs_from_set() {
    let untouched = |name| with(name, &[("fraction", 0.0.into())]);
    let first = run(&untouched("rigl"), 1, &[]).state;
    let [set, rigl] = ["set", "rigl"].map(|name| run(&with(name, &[]), 1, &[]).state);
    // ERK leaves the others dense.
    let layer = &all_layers(&first)[1];
    let of = |state: &State| state.mask(layer.tensor).unwrap().to_vec();
    assert_eq!(
        (kept(&set, layer), kept(&rigl, layer)),
        (kept(&first, layer), kept(&first, layer))
    );
    assert!(of(&set) != of(&first) && of(&rigl) != of(&first) && of(&set) != of(&rigl));
}

#[test]
fn k_starts_ends_with_one_of_its_masks_for_all_layers() {
    let recipe = with("k-starts", &[]);
    let state = run(&recipe, 1, &[]).state;
    // The mask that keeps the highest of random numbers, as the eight were drawn.
    let drawn = |layer: &Layer, start: u64| {
        let order = uniform(layer.weights(), &layer.name, recipe.seed + ((start + 1) << 32));
        let mut ranks: Vec<usize> = (0..order.len()).collect();
        ranks.sort_by(|&a, &b| order[b].total_cmp(&order[a]));
        let mut mask = vec![false; order.len()];
        ranks
            .iter()
            .take(kept(&state, layer))
            .for_each(|&place| mask[place] = true);
        mask
    };
    let is = |start: &u64| {
        let of = |layer: &Layer| state.mask(layer.tensor).unwrap() == drawn(layer, *start);
        all_layers(&state).iter().all(of)
    };
    assert_eq!((0..8).filter(is).count(), 1);
    assert!(state.memory().is_empty());
}

#[test]
fn turns_keep_gradients_from_what_they_do_not_keep() {
    let mut pruner = pruner(&with("k-starts", &[]));
    let mut state = State::new(model().graph).unwrap();
    pruner.before_step(&mut state, 0).unwrap();
    let mut masks = Vec::new();
    for step in [0, 1, 8] {
        let effective = pruner.effective(&state, step).unwrap();
        let mut gradients: Vec<Vec<f32>> = state.graph().tensors.iter().map(|t| vec![1.0; t.data.len()]).collect();
        assert!(pruner.gradients(&mut state, step, &mut gradients).unwrap());
        for (id, weights) in &effective {
            let reached = gradients[usize::from(id.0)].iter().map(|&g| g != 0.0);
            assert!(reached.eq(weights.iter().map(|&w| w != 0.0)));
        }
        masks.push(effective);
    }
    assert!(masks[0] != masks[1] && masks[0] == masks[2]);
}

#[test]
fn what_has_moved_least_makes_the_rest_of_the_sparsity() {
    let sparsity = |tau: f64, rest: &str| {
        let recipe = with("dissipating", &[("tau", tau.into()), ("rest", rest.into())]);
        run(&recipe, 1, &[]).state.sparsity()
    };
    let kept = [0.0, 0.05, 0.2].map(|tau| sparsity(tau, "keep"));
    assert!(kept.is_sorted_by(|a, b| a < b) && kept[2] < 0.79, "{kept:?}");
    assert!((sparsity(0.0, "prune") - 0.8).abs() < 1e-3);
    assert!((sparsity(1000.0, "keep") - 0.8).abs() < 1e-3);
}

#[test]
fn adam_with_weight_decay_is_refused_where_it_hides_what_moves() {
    let mut recipe = with("dissipating", &[]);
    let retrain = recipe.retrain.as_mut().unwrap();
    (retrain.optimizer, retrain.weight_decay) = (Some(crate::recipe::Optimizer::Adam), Some(0.1));
    let error = std::panic::catch_unwind(|| run(&recipe, 1, &[])).unwrap_err();
    let error = error.downcast::<String>().unwrap();
    assert!(error.contains("set retrain.weight_decay to 0"), "{error}");
}

#[test]
fn what_stays_small_shrinks_and_is_pruned() {
    // algorithms.md 7.11.
    let mut pruner = pruner(&with("iss-p", &[("until", 1.0.into())]));
    let mut state = State::new(model().graph).unwrap();
    for _ in 0..100 {
        pruner.after_step(&mut state, 0, 0.1).unwrap();
    }
    let before = model().graph;
    let mut small = 0;
    for layer in all_layers(&state) {
        let weights = |graph: &secateur_format::graph::Graph| graph.tensor(layer.tensor).unwrap().data.clone();
        for (now, then) in weights(state.graph()).into_iter().zip(weights(&before)) {
            let shrunk = (now - 0.366_032 * then).abs() < 1e-5 * then.abs();
            assert!(now == then || shrunk, "{now} of {then}");
            small += usize::from(now != then);
        }
    }
    pruner.finish(&mut state).unwrap();
    let masks = (0..6).filter_map(|id| state.mask(TensorId(id)));
    assert_eq!(masks.flatten().filter(|&&keep| !keep).count(), small);
}

#[test]
fn thresholds_stop_at_exactly_the_sparsity() {
    for (start, reached) in [(-1.0, true), (-3.0, false)] {
        let state = run(&with("str", &[("start", start.into())]), 1, &[]).state;
        let masks = (0..6).filter_map(|id| state.mask(TensorId(id))).flatten();
        let pruned = masks.clone().filter(|&&keep| !keep).count() as f64 / masks.count() as f64;
        assert_eq!((pruned - 0.8).abs() < 1e-4, reached, "{start}: {pruned}");
        assert!(pruned <= 0.8 + 1e-4 && state.memory().is_empty(), "{start}: {pruned}");
    }
}

#[test]
fn n_of_m_comes_by_frames_and_by_factors() {
    for (decay, expected) in [
        // 3:4 in the first half of the frames, 2:4 in the second.
        ("stepwise", [0.0, 0.25, 0.5]),
        ("geometric", [0.0, 0.5, 0.5]),
        ("linear", [0.0, 0.0, 0.0]),
        ("exponential", [0.0, 0.0, 0.0]),
    ] {
        let settings = [("decay", decay.into()), ("dense", 0.25.into()), ("fine", 0.25.into())];
        let mut pruner = pruner(&with("decaying", &settings));
        let mut state = State::new(model().graph).unwrap();
        for (step, expected) in [0, 10, 26].into_iter().zip(expected) {
            let effective = pruner.effective(&state, step).unwrap();
            let weights = effective.iter().flat_map(|(_, weights)| weights);
            let zeros = weights.clone().filter(|w| **w == 0.0).count() as f64 / weights.count().max(1) as f64;
            assert_eq!(zeros, expected, "{decay}, {step}");
        }
        pruner.before_step(&mut state, 27).unwrap();
        assert_eq!(state.sparsity(), 0.5, "{decay}");
        assert!(pruner.effective(&state, 27).unwrap().is_empty());
    }
}
