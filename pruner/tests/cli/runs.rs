//! Runs of recipes: killed, continued, refused, compared.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{DATA, Folder, MODEL, OTHER, WEIGHTS, bytes, digits, number, recipe_folder};

/// The files that a recipe decides to the last byte.
const DECIDED: [&str; 5] = [
    "recipe.toml",
    "metrics.jsonl",
    "masks.safetensors",
    "model.safetensors",
    "model.sct",
];

/// Runs the recipe of a folder in `whole`, and in `killed` with interruptions: the bytes must be the same.
fn killed_ten_times(folder: &Folder) -> Value {
    let report = folder.json(&["prune", "--recipe", "recipe.toml", "--run", "whole"]);
    let mut kills = 0;
    loop {
        let begun = folder.path("killed/recipe.toml").exists();
        let args: &[&str] = match begun {
            true => &["prune", "--resume", "killed"],
            false => &["prune", "--recipe", "recipe.toml", "--run", "killed"],
        };
        if kills == 10 {
            folder.ok(args);
            break;
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_secateur"))
            .args(args)
            .current_dir(folder.path(""))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Times that have nothing to do with each other or with the phases.
        std::thread::sleep(Duration::from_millis(20 + 7919 * (kills + 1) % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    for file in DECIDED {
        let [whole, killed] = ["whole", "killed"].map(|run| bytes(folder.path(run).join(file)));
        assert!(whole == killed, "{file}");
    }
    report["report"].clone()
}

#[test]
fn a_run_killed_ten_times_ends_with_the_same_bytes() {
    let report = killed_ten_times(&recipe_folder());
    assert_eq!(report["prediction_differences"], 0);
    assert!((number(&report, "sparsity") - 0.8).abs() < 1e-3);
    assert!(report["structured"].is_null());
}

#[test]
fn a_run_that_removes_channels_ends_with_the_same_bytes() {
    let folder = recipe_folder();
    let data = "[data]\ntrain = 'train.toml'\n";
    let recipe = format!(
        "model = '{MODEL}'\n{data}test = '{DATA}'\n[prune]\nstructured = 0.5\nround_to = 4\nsparsity = 0.5\n\
         [train]\nepochs = 2\nbatch = 16\n[retrain]\nepochs = 3\nrate = 0.01\nschedule = 'allr'\n[distill]\n\
         [correct]\nnorms = true\nbiases = true\n[[rule]]\nlayers = 'conv1'\nsparsity = 0.0\n"
    );
    folder.write("recipe.toml", recipe.as_bytes());
    let report = killed_ten_times(&folder);
    assert_eq!(report["prediction_differences"], 0);
    assert!((number(&report, "sparsity") - 0.5).abs() < 0.02);
    let structured = &report["structured"];
    let [before, after] = ["before", "after"].map(|when| number(&structured[when], "parameters"));
    assert!(after < 0.6 * before, "{structured}");
    let mut groups = structured["groups"].as_array().unwrap().iter();
    let conv1 = groups.find(|group| group["name"] == "conv1").unwrap();
    assert_eq!(conv1["before"], conv1["after"]);
    // The files are those of the smaller network, which has learned to do what the larger did.
    for model in ["whole/model.toml", "whole/model.sct"] {
        assert_eq!(
            number(&folder.json(&["inspect", model]), "parameters"),
            after,
            "{model}"
        );
        let found = number(&folder.json(&["eval", model, "--data", DATA]), "accuracy");
        assert_eq!(found, number(&report["sparse"], "accuracy"), "{model}");
        assert!(found > 0.8, "{found}");
    }
}

#[test]
fn a_run_that_prunes_while_it_trains_ends_with_the_same_bytes() {
    let folder = recipe_folder();
    let recipe = format!(
        "model = '{MODEL}'\n[data]\ntrain = 'train.toml'\ntest = '{DATA}'\n[prune]\nsparsity = 0.8\nscope = 'erk'\n\
         [schedule]\nkind = 'dynamic'\nmethod = {{ name = 'k-starts-dissipating', starts = 4, children = 'yes' }}\n\
         [retrain]\nepochs = 6\nbatch = 16\n"
    );
    folder.write("recipe.toml", recipe.as_bytes());
    let report = killed_ten_times(&folder);
    assert_eq!(report["prediction_differences"], 0);
    assert!((number(&report, "sparsity") - 0.8).abs() < 0.01);
}

#[test]
fn a_changed_recipe_is_refused_with_the_difference() {
    let folder = recipe_folder();
    let quick = ["--set", "retrain.epochs=1", "--set", "train.epochs=1"];
    folder.ok(&[&["prune", "--recipe", "recipe.toml", "--run", "r"], &quick[..]].concat());
    let again = folder.run(&["prune", "--recipe", "recipe.toml", "--run", "r"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("--resume"), "{}", again.stderr);
    let changed = folder.run(&["prune", "--resume", "r", "--set", "seed=7"]);
    assert_eq!(changed.code, 2);
    assert!(changed.stderr.contains("seed: 0 there, 7 now"), "{}", changed.stderr);
}

#[test]
fn changed_inputs_are_refused_by_name() {
    let folder = recipe_folder();
    for (source, name) in [(MODEL, "model.toml"), (WEIGHTS, "cnn.safetensors")] {
        folder.write(name, &bytes(source));
    }
    let quick = [
        "model=model.toml",
        "distill.teacher=model.toml",
        "retrain.epochs=1",
        "train.epochs=1",
    ];
    let quick: Vec<&str> = quick.iter().flat_map(|set| ["--set", set]).collect();
    folder.ok(&[&["prune", "--recipe", "recipe.toml", "--run", "r"], &quick[..]].concat());
    folder.ok(&["prune", "--resume", "r"]);
    let environment: Value = serde_json::from_slice(&bytes(folder.path("r/environment.json"))).unwrap();
    assert!(!environment["cpu"].as_str().unwrap().is_empty());
    assert!(
        environment["instruction_sets"]
            .as_array()
            .unwrap()
            .contains(&json!("scalar"))
    );

    let refused = |file: &str, change: &dyn Fn(&mut Vec<u8>), name: &str| {
        let before = bytes(folder.path(file));
        let mut changed = before.clone();
        change(&mut changed);
        folder.write(file, &changed);
        let message = folder.fails(2, &["prune", "--resume", "r"]);
        assert!(message.contains(&format!("{name} is not what it was")), "{message}");
        folder.write(file, &before);
        folder.ok(&["prune", "--resume", "r"]);
    };
    // A sample less, or a bit of a weight.
    refused("train.toml", &|text| *text = digits(255).into(), "train.toml");
    refused(
        "cnn.safetensors",
        &|bytes| *bytes.last_mut().unwrap() ^= 1,
        "model.toml",
    );
}

#[test]
fn models_are_compared() {
    let folder = Folder::with_pruned();
    let masks = &folder.json(&["masks", MODEL, "a.sct"])["pairs"][0];
    assert!((number(&masks["all"], "jaccard") - 0.3).abs() < 1e-3);
    assert_eq!(masks["layers"].as_array().unwrap().len(), 4);
    let refused = folder.fails(2, &["masks", MODEL, "a.sct", "--svg", "s.svg"]);
    assert!(refused.contains("two runs of iterative pruning"), "{refused}");
    let refused = folder.fails(2, &["masks", MODEL, OTHER]);
    assert!(refused.contains("other layers"), "{refused}");
    let same = folder.json(&["compare", "a.sct", "a.sct", "--data", DATA, "--max-drop", "0pp"]);
    assert_eq!((&same["flips"], &same["drop"]), (&json!(0), &json!(0.0)));
    assert_eq!(same["within"], true);
    let gate = folder.run(&["compare", MODEL, "a.sct", "--data", DATA, "--max-drop", "0.5pp"]);
    assert_eq!(gate.code, 1, "{}", gate.stderr);
    assert!(gate.stderr.contains("more than 0.5pp"), "{}", gate.stderr);
    let args = [
        "sensitivity",
        MODEL,
        "--data",
        DATA,
        "--sparsities",
        "0.5,0.9",
        "--output",
        "s.json",
    ];
    let found = folder.json(&[&args[..], &["--svg", "s.svg"]].concat());
    assert_eq!(found["points"].as_array().unwrap().len(), 8);
    assert!(
        String::from_utf8(bytes(folder.path("s.svg")))
            .unwrap()
            .contains("</svg>")
    );
    // What is measured is not measured again, and of nothing else.
    assert_eq!(folder.json(&args), found);
    let other = |at: usize, value: &str| {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        args[at] = value.into();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        folder.fails(2, &args)
    };
    assert!(other(1, OTHER).contains("the model is not what it was when s.json was written"));
    folder.write("fewer.toml", digits(99).as_bytes());
    assert!(other(3, "fewer.toml").contains("the data is not what it was"));
    let scaled = folder.fails(2, &[&args[..], &["--scale", "2"]].concat());
    assert!(scaled.contains("the preprocessing is not what it was"), "{scaled}");
}

#[test]
fn a_run_begins_with_the_samples_that_are_scored_easiest() {
    let folder = recipe_folder();
    let score = [
        "difficulty",
        MODEL,
        "--data",
        "train.toml",
        "-o",
        "s.npy",
        "--runs",
        "2",
    ];
    let scored = folder.json(&score);
    assert_eq!(number(&scored, "samples"), 256.0);
    assert!(folder.fails(2, &score).contains("s.npy exists"));
    let set = |subset: &str| {
        let set = ["data.shares={ 8 = 0.5 }", subset, "schedule.resume=true"];
        let set = set.map(|set| ["--set", set]).concat();
        folder.run(&[&["prune", "--recipe", "recipe.toml", "--run", "r"], &set[..]].concat())
    };
    // Half of class 8 is gone, so the scores are those of other samples.
    let refused = set("data.subset={ size = 64, take = 'easiest', scores = 's.npy' }");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("score the same samples"), "{}", refused.stderr);
    let few = set("data.subset={ size = 300 }");
    assert!(few.stderr.contains("another size or offset"), "{}", few.stderr);
    assert_eq!(set("data.subset={ size = 64, balanced = true }").code, 0);

    let easy = [
        "--set",
        "data.subset={ size = 64, scores = 's.npy' }",
        "--set",
        "data.subset.take=easiest",
    ];
    folder.ok(&[&["prune", "--recipe", "recipe.toml", "--run", "e"], &easy[..]].concat());
    folder.ok(&[&score[..], &["--force", "--seed", "9"]].concat());
    let changed = folder.fails(2, &["prune", "--resume", "e"]);
    assert!(changed.contains("s.npy is not what it was"), "{changed}");
}

#[test]
fn masks_of_runs_are_compared_over_rounds() {
    let folder = recipe_folder();
    for (run, seed) in [("a", "seed=1"), ("b", "seed=2"), ("c", "prune.criterion=random")] {
        folder.ok(&["prune", "--recipe", "recipe.toml", "--run", run, "--set", seed]);
    }
    let found = folder.json(&["masks", "a", "b", "c", "--svg", "s.svg"]);
    let pairs = found["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        let rounds = pair["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 2);
        assert_eq!(rounds[1]["jaccard"], pair["all"]["jaccard"]);
    }
    // From the same weights magnitude keeps much the same, and random scores have nothing to do with it.
    let above = |pair: &Value| number(&pair["all"], "jaccard") / number(&pair["all"], "chance");
    assert!(above(&pairs[0]) > 3.0, "{}", pairs[0]["all"]);
    assert!((above(&pairs[1]) - 1.0).abs() < 0.2, "{}", pairs[1]["all"]);
    let svg = String::from_utf8(bytes(folder.path("s.svg"))).unwrap();
    assert_eq!(svg.matches("by chance").count(), 3);

    let found = folder.json(&["masks", "a", "--svg", "s.svg"]);
    assert_eq!(found["rounds"].as_array().unwrap().len(), 2);
    let conv = &found["layers"][0];
    assert_eq!(number(&conv["structure"]["kernels"], "count"), 16.0);
    // Rewound to step 5, trained again: near where they began, but not there.
    let moved = number(&found["all"]["stability"], "displacement");
    assert!(moved > 0.0 && moved < 1.0, "{moved}");
    assert!(number(&found["all"]["stability"], "correlation") > 0.5);
    // A file knows its zeros only, which are those of the mask.
    let file = folder.json(&["masks", "a/model.sct"]);
    assert_eq!(file["all"]["kept"], found["all"]["kept"]);
    assert!(file["all"]["stability"].is_null());
}
