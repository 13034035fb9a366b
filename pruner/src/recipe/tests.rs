//! The parser beside the schema, and what recipes become.

use serde_json::Value;

use super::*;
use crate::train::zoo::NETWORKS;
use crate::train::{Decay, Optimizer as Engine};

/// Recipes that are wrong: the text, where, and a part of the complaint.
const WRONG: [(&str, &str, &str); 22] = [
    ("[prune]\nsparsty = 0.9", "line 2, column 1", "did you mean `sparsity`?"),
    ("[prunee]\n", "line 1, column 2", "did you mean `prune`?"),
    (
        "seed = 1\n[schedule]\n kind = \"itrative\"",
        "line 3, column 9",
        "iterative",
    ),
    ("[prune]\nsparsity = 1.5", "line 2, column 12", "below 1"),
    ("[prune]\nsparsity = \"much\"", "line 2, column 12", "expected f64"),
    ("[prune]\nmax_drop = \"0.5\"", "line 2, column 12", "write \"0.5pp\""),
    ("[train]\nwarmup = \"10\"", "line 2, column 10", "\"10ep\""),
    ("[train]\nrate = -1.0", "line 2, column 8", "greater than 0"),
    ("[train]\nmomentum = 1.5", "line 2, column 12", "below 1"),
    ("[retrain]\nschedule = \"lrl\"", "line 2, column 12", "llr"),
    ("[schedule]\nrounds = 0", "line 2, column 10", "from 1"),
    ("[[rule]]\nlayer = \"x\"", "line 2, column 1", "did you mean `layers`?"),
    ("[[rule]]\nsparsity = 0.5", "line 1, column 1", "missing field `layers`"),
    (
        "[[rule]]\nlayers = \"x\"\nsparsity = 2.0",
        "line 3, column 12",
        "from 0 to 1",
    ),
    ("[export]\nvalues = \"f33\"", "line 2, column 10", "f32"),
    (
        "[prune]\nreconstruct = \"alp\"",
        "line 2, column 15",
        "did you mean `alps`?",
    ),
    (
        "[prune]\ncriterion = \"snap\"",
        "line 2, column 13",
        "did you mean `snip`?",
    ),
    (
        "[prune]\ncriterion = { name = \"snap\" }",
        "line 2, column 22",
        "did you mean `snip`?",
    ),
    (
        "[prune]\ncriterion = { name = \"ria\", alhpa = 1.0 }",
        "line 2, column 13",
        "did you mean `alpha`?",
    ),
    (
        "[prune.criterion]\nname = \"ria\"\nalpha = 3",
        "line 1, column 1",
        "a number from 0 to 2",
    ),
    ("[data]\ncalibration = 0", "line 2, column 15", "at least 1"),
    ("[prune]\npattern = \"3by4\"", "line 2, column 11", "is not a pattern"),
];

fn read(text: &str) -> Result<Recipe, RecipeError> {
    parse(&[Layer::file("r.toml", text)])
}

/// Checks a value against the part of JSON Schema that recipes use.
fn accepts(schema: &Value, root: &Value, value: &Value) -> bool {
    if let Some(path) = schema["$ref"].as_str() {
        return accepts(root.pointer(&path[1..]).unwrap(), root, value);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            return choices.iter().any(|choice| accepts(choice, root, value));
        }
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let right_kind = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    let one_of = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    let constant = schema.get("const").is_none_or(|only| only == value);
    let matches = |pattern: &str| regex::Regex::new(pattern).unwrap().is_match(value.as_str().unwrap());
    let form = schema["pattern"]
        .as_str()
        .filter(|_| value.is_string())
        .is_none_or(matches);
    let number = value.as_f64();
    let least = schema["minimum"]
        .as_f64()
        .zip(number)
        .is_none_or(|(least, x)| x >= least);
    let most = schema["maximum"].as_f64().zip(number).is_none_or(|(most, x)| x <= most);
    let items = value
        .as_array()
        .is_none_or(|items| items.iter().all(|item| accepts(&schema["items"], root, item)));
    let members = value.as_object().is_none_or(|object| {
        let known = object.iter().all(|(key, value)| match schema["properties"].get(key) {
            Some(schema) => accepts(schema, root, value),
            None => schema["additionalProperties"] != false,
        });
        let required = schema["required"].as_array().into_iter().flatten();
        known
            && required
                .into_iter()
                .all(|key| object.contains_key(key.as_str().unwrap()))
    });
    right_kind && one_of && constant && form && least && most && items && members
}

fn valid(text: &str) -> bool {
    let schema = schema();
    let value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    accepts(&schema, &schema, &value)
}

#[test]
fn what_is_wrong_has_a_place_and_a_remedy() {
    for (text, place, problem) in WRONG {
        let error = read(text).unwrap_err();
        assert_eq!(error.place, format!("r.toml: {place}"), "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
    }
}

#[test]
fn the_schema_accepts_presets_and_rejects_what_the_parser_rejects() {
    for preset in PRESETS {
        let recipe = read(preset.text).unwrap();
        assert!(valid(preset.text), "{}", preset.name);
        assert!(!preset.purpose().is_empty());
        // A resolved recipe is a recipe.
        let resolved = toml::to_string_pretty(&recipe).unwrap();
        assert!(valid(&resolved), "{resolved}");
        assert_eq!(read(&resolved).unwrap(), recipe);
    }
    for (text, ..) in WRONG {
        // A bound that a number may not reach is none in a schema made of types.
        let open = text.contains("rate = -1.0");
        assert!(open || !valid(text), "{text}");
    }
}

#[test]
fn the_published_schema_is_that_of_the_parser() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipe.schema.json");
    let published = std::fs::read_to_string(path).unwrap_or_default();
    let own = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert!(
        published == own,
        "write it anew: secateur recipe schema > docs/recipe.schema.json"
    );
}

#[test]
fn settings_win_and_are_checked_as_files_are() {
    let layers = |set: &str| {
        parse(&[
            Layer::file("r.toml", preset("iterative").unwrap().text),
            Layer::set(set),
        ])
    };
    assert_eq!(layers("prune.sparsity=0.5").unwrap().prune.sparsity, Some(0.5));
    assert_eq!(layers("model=resnet-20").unwrap().model.as_deref(), Some("resnet-20"));
    let rewound = layers("schedule.rewind_to=500it").unwrap();
    assert_eq!(rewound.schedule.rewind_to, Length::Steps(500));
    assert_eq!(rewound.schedule.rounds, 3);
    let ria = layers("prune.criterion={ name = \"ria\", alpha = 0.7 }").unwrap();
    assert_eq!(ria.prune.criterion.to_string(), "ria:alpha=0.7");
    // Another criterion has other settings.
    let text = toml::to_string(&ria).unwrap();
    let other = parse(&[
        Layer::file("r.toml", text),
        Layer::set("prune.criterion={ name = \"fisher\", batch = 8 }"),
    ]);
    assert_eq!(other.unwrap().prune.criterion.to_string(), "fisher:batch=8");
    let error = layers("prune.sparsty=0.5").unwrap_err();
    assert_eq!(error.place, "--set prune.sparsty=0.5");
    assert!(error.problem.contains("did you mean `sparsity`?"));
}

#[test]
fn differences_name_keys_and_values() {
    let recipe = read("[prune]\nsparsity = 0.9").unwrap();
    let other = read("seed = 3\n[prune]\nsparsity = 0.8").unwrap();
    let expected = [("prune.sparsity", "0.9", "0.8"), ("seed", "0", "3")];
    let expected = expected.map(|(key, a, b)| (key.to_owned(), a.to_owned(), b.to_owned()));
    assert_eq!(difference(&recipe, &other), expected);
    assert!(difference(&recipe, &recipe).is_empty());
}

#[test]
fn keys_that_contradict_each_other_are_found() {
    let complaint = |prune: &str, schedule: &str| {
        let text = format!("model = \"m\"\n[data]\ntrain = \"d\"\n[prune]\n{prune}\n[schedule]\n{schedule}\n[retrain]");
        read(&text).unwrap().check_complete().err()
    };
    let reconstruct = "sparsity = 0.5\nreconstruct = \"obc\"";
    assert_eq!(complaint(reconstruct, ""), None);
    let (path, problem) = complaint(reconstruct, "kind = \"iterative\"").unwrap();
    assert_eq!(path, "prune.reconstruct");
    assert!(problem.contains("one-shot"), "{problem}");
    let alone = complaint("structured = 0.5\nreconstruct = \"woodfisher\"", "").unwrap();
    assert_eq!(alone.0, "prune.reconstruct");
    assert_eq!(complaint("structured = 0.5\nreconstruct = \"least-squares\"", ""), None);
    let permute = "pattern = \"2:4\"\npermute = true";
    assert_eq!(complaint(permute, ""), None);
    assert_eq!(complaint("sparsity = 0.5\npattern = \"4x1\"\npermute = true", ""), None);
    for (prune, schedule, remedy) in [
        ("sparsity = 0.5\npermute = true", "", "2:4"),
        (permute, "between = \"reinit\"", "keep"),
        (permute, "kind = \"gradual\"", "one-shot"),
    ] {
        let (path, problem) = complaint(prune, schedule).unwrap();
        assert_eq!(path, "prune.permute");
        assert!(problem.contains(remedy), "{problem}");
    }
}

#[test]
fn subsets_that_are_never_seen_are_found() {
    let complaint = |data: &str, schedule: &str, train: &str| {
        let text = format!(
            "model = \"m\"\n[data]\ntrain = \"d\"\n{data}\n[prune]\nsparsity = 0.5\n[schedule]\n{schedule}\n{train}\n[retrain]"
        );
        let recipe = read(&text).unwrap();
        recipe.check_complete().err().map(|(path, _)| path)
    };
    let (subset, found) = ("subset = { size = 8 }", Some("data.subset".to_owned()));
    assert_eq!(complaint(subset, "", "[train]"), None);
    assert_eq!(complaint(subset, "", ""), found);
    let rewind = "between = \"rewind\"";
    assert_eq!(complaint(subset, rewind, "[train]"), found);
    for (subset, key) in [
        ("take = \"easiest\"", "size"),
        ("size = 8, take = \"easiest\"", "scores"),
    ] {
        let found = complaint(&format!("subset = {{ {subset} }}"), "", "[train]");
        assert_eq!(found, Some(format!("data.subset.{key}")));
    }
    assert_eq!(complaint("", "resume = true", ""), Some("schedule.resume".to_owned()));
    let error = read("[data]\nshares = { cat = 1.5 }").unwrap_err();
    assert!(error.problem.contains("`data.shares.cat`"), "{error}");
    assert_eq!(
        complaint(subset, &format!("{rewind}\nrewind_to = \"8it\""), "[train]"),
        None
    );
}

#[test]
fn rounds_that_would_not_train_are_found() {
    let recipe = |rewind_to: &str| {
        let text = "model = \"m\"\n[prune]\nsparsity = 0.5\n[schedule]\nkind = \"iterative\"\nbetween = \"rewind\"\nresume = true\n\
                    [train]\nepochs = 4\nbatch = 10\n[retrain]\nepochs = 2\n";
        read(&text.replace("resume", &format!("rewind_to = \"{rewind_to}\"\nresume"))).unwrap()
    };
    assert_eq!(recipe("19it").check_steps(100), Ok(()));
    let (path, problem) = recipe("2ep").check_steps(100).unwrap_err();
    assert_eq!(path, "schedule.rewind_to");
    assert!(problem.contains("step 20"), "{problem}");
    // Of more samples an epoch has more steps.
    assert_eq!(recipe("20it").check_steps(101), Ok(()));
}

#[test]
fn shares_of_importance_are_asked_for_alone() {
    let complaint = |prune: &str, kind: &str| {
        let text = format!(
            "model = \"m\"\n[data]\ntrain = \"d\"\n[prune]\ncriterion = \"nnrelief\"\n{prune}\n[schedule]\nkind = \"{kind}\"\n[retrain]"
        );
        read(&text).unwrap().check_complete().err()
    };
    let own = "scope = \"importance\"\nalpha = 0.95";
    assert_eq!(complaint(own, "iterative"), None);
    assert_eq!(complaint("scope = \"importance\"\nsparsity = 0.5", "gradual"), None);
    for (prune, kind, remedy) in [
        ("alpha = 0.95", "one-shot", "scope = \"importance\""),
        (&format!("{own}\nsparsity = 0.5"), "one-shot", "leave sparsity"),
        (own, "gradual", "iterative"),
    ] {
        let (path, problem) = complaint(prune, kind).unwrap();
        assert_eq!(path, "prune.alpha");
        assert!(problem.contains(remedy), "{problem}");
    }
    let kernels = format!("{own}\npattern = \"kernel\"\nreconstruct = \"obc\"");
    assert_eq!(complaint(&kernels, "one-shot").unwrap().0, "prune.reconstruct");
    // Every round keeps the share of what is left.
    let text = format!("[prune]\n{own}\n[schedule]\nkind = \"iterative\"\nrounds = 2");
    let expected = [1, 2].map(|round| Phase::Prune { round, sparsity: None });
    assert_eq!(read(&text).unwrap().phases(0.0), expected);
}

#[test]
fn criteria_whose_samples_are_missing_are_found() {
    let recipe = |text: &str| {
        read(&format!(
            "model = \"m\"\n{text}[prune]\nsparsity = 0.5\ncriterion = \"wanda\""
        ))
        .unwrap()
    };
    let (path, problem) = recipe("").check_complete().unwrap_err();
    assert_eq!(path, "prune.criterion");
    assert!(problem.contains("wanda needs samples: give data.train"), "{problem}");
    assert_eq!(recipe("[data]\ntrain = \"d\"\n").check_complete(), Ok(()));
}

#[test]
fn rules_that_match_nothing_are_found() {
    let recipe = read("[[rule]]\nlayers = \"conv9\"\nsparsity = 0.0").unwrap();
    let (path, problem) = recipe.check_layers(&["conv1".into(), "fc".into()]).unwrap_err();
    assert_eq!(path, "rule.0.layers");
    assert!(problem.contains("did you mean `conv1`?"), "{problem}");
}

#[test]
fn a_budget_is_searched_by_halving() {
    let mut trials = Vec::new();
    // Within the budget up to 0.7.
    while let Some(sparsity) = budget_target(0.99, &trials) {
        trials.push((sparsity, sparsity <= 0.7));
    }
    let best = trials
        .iter()
        .filter(|(_, within)| *within)
        .map(|(sparsity, _)| *sparsity);
    let best = best.fold(0.0, f64::max);
    assert!(best <= 0.7 && best > 0.7 - 0.99 / 63.0, "{trials:?}");
    assert_eq!(budget_target(0.9, &[(0.9, true)]), None);
}

#[test]
fn phases_are_those_of_the_schedule() {
    let recipe = read(preset("iterative").unwrap().text).unwrap();
    let phases = recipe.phases(0.9);
    assert_eq!(phases.len(), 6);
    assert_eq!(phases[5], Phase::Retrain { round: 3 });
    assert!(matches!(phases[4], Phase::Prune { round: 3, sparsity } if sparsity == Some(0.9)));
    assert_eq!(read("").unwrap().phases(0.5).len(), 1);
}

#[test]
fn networks_recommend_how_they_are_trained_and_recipes_win() {
    for network in &NETWORKS {
        let asked: Training = toml::from_str(network.training).unwrap();
        assert_eq!(Training::recommended(network.name), asked, "{}", network.name);
    }
    let plan = |train: &str| {
        let recipe = read(&format!("model = \"lenet-5\"\n[train]\n{train}")).unwrap();
        recipe.training(1000).unwrap()
    };
    let own = plan("");
    assert_eq!((own.schedule.rate, own.schedule.shape), (0.003, Decay::OneCycle));
    assert!(matches!(own.optimizer, Engine::Adam(_)));
    assert_eq!(own.augment.crop, 1);
    assert_eq!(plan("rate = 0.01\ncrop = 0").schedule.rate, 0.01);
    // The rate of adam is not that of sgd.
    assert_eq!(plan("optimizer = \"sgd\"").schedule.rate, 0.05);
    assert_eq!(read("model = \"lenet-5\"").unwrap().init(), Init::GlorotUniform);
    assert_eq!(Training::recommended("lenet-5.onnx"), Training::default());
}
