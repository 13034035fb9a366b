//! What holds for every method of the registry.

use super::support::{STEPS, recipe, run};
use crate::dynamic::{Dynamic, METHODS};
use crate::layer::layers;
use crate::mask::Scope;
use crate::recipe::{Recipe, schema};

#[test]
fn neither_threads_nor_interruptions_change_a_bit() {
    for method in METHODS {
        let recipe = recipe(method, "");
        let whole = run(&recipe, 1, &[]).state;
        // Within an epoch, at its end, where methods act, and where a training of another kind may begin.
        let stops = [1, 6, 8, 13, 24, 35, STEPS];
        assert!(whole == run(&recipe, 3, &stops).state, "{}", method.name);
    }
}

#[test]
fn masks_are_final_and_what_they_prune_is_zero() {
    for method in METHODS {
        let recipe = recipe(method, "");
        let state = run(&recipe, 2, &[]).state;
        let (mut pruned, mut all) = (0.0, 0.0);
        for layer in layers(state.graph(), &state.graph().shapes().unwrap()) {
            let mask = state.mask(layer.tensor).unwrap();
            let weights = &state.graph().tensors[usize::from(layer.tensor.0)].data;
            let gone = weights.iter().zip(mask).filter(|(_, keep)| !**keep);
            assert!(gone.clone().all(|(w, _)| *w == 0.0), "{}", method.name);
            pruned += gone.count() as f64;
            all += mask.len() as f64;
        }
        let asked = recipe.sparsity().unwrap() * all;
        // Each layer's count is rounded. What does not move, or a threshold, may leave more than what is asked for.
        let met = (pruned - asked).abs() <= 3.0
            || ["dissipating", "str"].contains(&method.name) && (1.0..asked).contains(&pruned);
        assert!(met, "{}: {pruned} of {all} instead of {asked}", method.name);
    }
}

#[test]
fn entries_are_described_and_every_form_of_them_is_read_again() {
    let schema = schema().to_string();
    for method in METHODS {
        let name = method.name;
        assert!(
            !method.summary.is_empty() && method.source.contains(char::is_numeric),
            "{name}"
        );
        assert!(
            schema.contains(&format!("\"{name}\"")) && !method.scopes.is_empty(),
            "{name}"
        );
        let chosen: Dynamic = name.parse().unwrap();
        let mut recipe = Recipe::default();
        recipe.schedule.method = Some(chosen.clone());
        let again: Recipe = toml::from_str(&toml::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, recipe);
        for setting in method.settings {
            let mut same = chosen.clone();
            same.set(setting.name, &setting.default().into()).unwrap();
            assert_eq!(same, chosen, "{name} {}", setting.name);
            assert!(
                same.set(setting.name, &"nonsense".into()).is_err(),
                "{name} {}",
                setting.name
            );
        }
    }
    let error = "rigel".parse::<Dynamic>().unwrap_err();
    assert!(error.contains("did you mean `rigl`?"), "{error}");
}

#[test]
fn what_a_method_cannot_do_is_refused_with_its_key() {
    let complaint = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = recipe(Dynamic::named("rigl").unwrap().method(), "");
        recipe.data.train = Some("d".into());
        assert_eq!(recipe.check_complete(), Ok(()));
        change(&mut recipe);
        recipe.check_complete().unwrap_err()
    };
    for (change, key, remedy) in [
        (
            &(|recipe: &mut Recipe| {
                recipe.prune.pattern = "2:4".parse().unwrap();
                recipe.prune.sparsity = None;
            }) as &dyn Fn(&mut Recipe),
            "prune.pattern",
            "unstructured",
        ),
        (
            &|recipe| recipe.prune.scope = Scope::Global,
            "prune.scope",
            "erk, uniform",
        ),
        (
            &|recipe| recipe.prune.criterion = "random".parse().unwrap(),
            "prune.criterion",
            "leave it out",
        ),
        (
            &|recipe| recipe.schedule.method = None,
            "schedule.method",
            "recipe list",
        ),
        (
            &|recipe| recipe.schedule.kind = Default::default(),
            "schedule.method",
            "\"dynamic\"",
        ),
        (&|recipe| recipe.retrain = None, "retrain", "train"),
        (&|recipe| recipe.prune.sparsity = None, "prune.sparsity", "give it"),
    ] {
        let (path, problem) = complaint(change);
        assert_eq!(path, key, "{problem}");
        assert!(problem.contains(remedy), "{problem}");
    }
}
