//! Recipes, their runs, and what compares the results.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{DATA, Folder, MODEL, bytes, number};

const TRAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/digits.safetensors");

/// A folder with `recipe.toml`: two rounds with rewinding, trained on the digits.
fn folder() -> Folder {
    let folder = Folder::new();
    let data = format!(
        "file = '{TRAIN}'\ninputs_key = 'images'\nlabels_key = 'labels'\nrows = [0, 256]\n[preprocess]\nscale = 0.0625\n"
    );
    folder.write("train.toml", data.as_bytes());
    let recipe = format!(
        "model = '{MODEL}'\n[data]\ntrain = 'train.toml'\ntest = '{DATA}'\n[prune]\nsparsity = 0.8\n[schedule]\n\
         kind = 'iterative'\nrounds = 2\nbetween = 'rewind'\nrewind_to = '5it'\n[train]\nepochs = 2\nbatch = 16\n\
         [retrain]\nepochs = 2\nschedule = 'lrw'\n[correct]\nnorms = true\nbiases = true\n"
    );
    folder.write("recipe.toml", recipe.as_bytes());
    folder
}

/// The files that a recipe decides to the last byte.
const DECIDED: [&str; 5] = [
    "recipe.toml",
    "metrics.jsonl",
    "masks.safetensors",
    "model.safetensors",
    "model.sct",
];

#[test]
fn a_run_killed_ten_times_ends_with_the_same_bytes() {
    let folder = folder();
    let report = folder.json(&["prune", "--recipe", "recipe.toml", "--run", "whole"]);
    assert_eq!(report["report"]["runtime_agrees"], true);
    assert!((number(&report["report"], "sparsity") - 0.8).abs() < 1e-3);
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
}

#[test]
fn a_changed_recipe_is_refused_with_the_difference() {
    let folder = folder();
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
fn flags_are_a_recipe() {
    let folder = Folder::new();
    let args = ["prune", MODEL, "--sparsity", "0.7", "--skip", "conv1", "--scope", "erk"];
    let recipe = folder.json(&[&args[..], &["--dry-run", "--set", "seed=5"]].concat());
    assert_eq!(recipe["prune"]["sparsity"], 0.7);
    assert_eq!(recipe["prune"]["scope"], "erk");
    assert_eq!(recipe["seed"], 5);
    assert_eq!(recipe["rule"], json!([{ "layers": "conv1", "sparsity": 0.0 }]));
    assert!(folder.files().is_empty());
    let text = folder.ok(&["recipe", "show", "lottery"]);
    folder.write("mine.toml", text.as_bytes());
    folder.ok(&["recipe", "check", "mine.toml"]);
    folder.write("wrong.toml", b"[prune]\nsparsty = 0.5\n");
    let message = folder.fails(2, &["recipe", "check", "wrong.toml"]);
    assert!(message.contains("wrong.toml: line 2, column 1"), "{message}");
    assert!(message.contains("did you mean `sparsity`?"), "{message}");
    assert!(
        folder
            .fails(2, &["recipe", "show", "lotery"])
            .contains("did you mean `lottery`?")
    );
    assert!(folder.ok(&["recipe", "list"]).contains("gradual"));
    assert_eq!(folder.json(&["recipe", "schema"])["title"], "Secateur recipe");
}

#[test]
fn models_are_compared() {
    let folder = Folder::with_pruned();
    let masks = folder.json(&["masks", MODEL, "a.sct"]);
    assert!((number(&masks["all"], "jaccard") - 0.3).abs() < 1e-3);
    assert_eq!(masks["layers"].as_array().unwrap().len(), 4);
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
    // What is measured is not measured again.
    assert_eq!(folder.json(&args), found);
}

#[test]
fn rules_that_match_nothing_have_a_place() {
    let folder = Folder::new();
    let recipe = format!("model = '{MODEL}'\n[prune]\nsparsity = 0.5\n\n[[rule]]\nlayers = 'conv9'\nsparsity = 0.0\n");
    folder.write("r.toml", recipe.as_bytes());
    for how in [["-o", "a.sct"], ["--run", "r"]] {
        let message = folder.fails(2, &[&["prune", "--recipe", "r.toml"], &how[..]].concat());
        assert!(message.contains("r.toml: line 6, column 10"), "{message}");
        assert!(message.contains("conv1, conv2, conv3, fc"), "{message}");
    }
}

#[test]
fn criteria_take_samples_of_the_training_data_or_else_of_the_test_data() {
    let folder = folder();
    let prune = |output: &str, more: &[&str]| {
        let args = ["prune", MODEL, "-o", output, "--sparsity", "0.8", "--data", DATA];
        folder.run(&[&args, more].concat())
    };
    for (output, criterion) in [
        ("snip.sct", "snip:batch=64"),
        ("wanda.sct", "wanda"),
        ("fisher.sct", "fisher"),
    ] {
        let outcome = prune(
            output,
            &["--criterion", criterion, "--train", "train.toml", "--scope", "row"],
        );
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{criterion}");
        assert!(
            outcome.stdout.contains(&format!("pruned by {criterion}")),
            "{}",
            outcome.stdout
        );
    }
    let outcome = prune("test.sct", &["--criterion", "snip", "--scope", "row"]);
    assert!(
        outcome.stderr.contains("give others with --train"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.code, 0);
    let fails = |criterion: &str| {
        folder.fails(
            2,
            &[
                "prune",
                MODEL,
                "-o",
                "no.sct",
                "--sparsity",
                "0.8",
                "--criterion",
                criterion,
            ],
        )
    };
    let missing = fails("wanda");
    assert!(
        missing.contains("--criterion: `prune.criterion`: wanda needs samples"),
        "{missing}"
    );
    assert!(fails("wnada").contains("did you mean `wanda`?"));
    assert!(fails("ria:alpha=9").contains("a number from 0 to 2"));
}

#[test]
fn a_run_scores_with_its_settings_and_says_so() {
    let folder = folder();
    let set = [
        "--set",
        "prune.criterion={ name = 'snip', rounds = 3 }",
        "--set",
        "data.calibration=64",
    ];
    folder.ok(&[&["prune", "--recipe", "recipe.toml", "--run", "run"][..], &set].concat());
    let recipe = String::from_utf8(bytes(folder.path("run/recipe.toml"))).unwrap();
    for line in [
        "calibration = 64",
        "[prune.criterion]",
        "name = \"snip\"",
        "rounds = 3",
        "batch = 128",
    ] {
        assert!(recipe.contains(line), "{line}: {recipe}");
    }
    let report: serde_json::Value = serde_json::from_slice(&bytes(folder.path("run/report.json"))).unwrap();
    assert!((number(&report, "sparsity") - 0.8).abs() < 1e-3);
}

#[test]
fn the_list_shows_every_criterion_and_setting() {
    let folder = Folder::new();
    let list = folder.json(&["recipe", "list"]);
    let text = folder.ok(&["recipe", "list"]);
    let criteria = list["criteria"].as_array().unwrap();
    assert!(criteria.len() >= 14);
    for criterion in criteria {
        let name = criterion["name"].as_str().unwrap();
        assert!(text.contains(criterion["summary"].as_str().unwrap()), "{name}");
        for setting in criterion["settings"].as_array().unwrap() {
            assert!(text.contains(&format!("{name}.{}", setting["name"].as_str().unwrap())));
        }
    }
}
