//! What recipes ask for.

use serde_json::{Value, json};

use crate::support::{DATA, Folder, MODEL, ONNX, OTHER, TRAIN, bytes, number, recipe_folder};

#[test]
fn channels_alone_are_removed_and_what_does_not_go_with_it_is_refused() {
    let folder = recipe_folder();
    let run = |set: &[&str]| {
        let args = ["prune", "--recipe", "recipe.toml", "--run", "r", "--structured", "0.5"];
        let more: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        folder.run(&[&args[..], &more].concat())
    };
    for (set, complaint) in [
        (&[][..], "`schedule.kind`: must be one-shot"),
        (&["schedule.kind=one-shot"], "`schedule.between`: cannot be rewind"),
        (
            &["prune.scope=erk"],
            "`prune.scope`: must be global, uniform or isomorphic",
        ),
        (&["prune.round_to=0"], "`prune.round_to`: must be from 1 to 1024"),
    ] {
        let refused = run(set);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(complaint), "{}", refused.stderr);
    }
    let recipe = format!("model = '{MODEL}'\n[data]\ntest = '{DATA}'\n");
    folder.write("recipe.toml", recipe.as_bytes());
    let done = run(&[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report = folder.json(&["prune", "--resume", "r"]);
    assert_eq!(report["report"]["sparsity"], 0.0);
    let structured = &report["report"]["structured"];
    assert!(number(&structured["after"], "multiplications") < 0.5 * number(&structured["before"], "multiplications"));
}

#[test]
fn a_recipe_says_how_the_file_is_written() {
    let folder = Folder::new();
    let plain = format!("model = '{MODEL}'\n[prune]\nsparsity = 0.5\n");
    folder.write("plain.toml", plain.as_bytes());
    let lean = plain + "[export]\nvalues = 'f16'\nscratch = 'none'\nstrip = true\n";
    folder.write("lean.toml", lean.as_bytes());
    folder.ok(&["prune", "--recipe", "plain.toml", "-o", "plain.sct"]);
    folder.ok(&["prune", "--recipe", "lean.toml", "-o", "lean.sct"]);
    folder.ok(&["prune", "--recipe", "lean.toml", "--run", "r"]);
    let flags = ["--values", "f16", "--scratch", "none", "--strip"];
    folder.ok(&[&["prune", "--recipe", "plain.toml", "-o", "flags.sct"], &flags[..]].concat());
    let lean = bytes(folder.path("lean.sct"));
    assert!(lean == bytes(folder.path("r/model.sct")));
    assert!(lean == bytes(folder.path("flags.sct")));
    let [plain, lean] = ["plain.sct", "lean.sct"].map(|file| folder.json(&["inspect", file]));
    assert!(number(&lean, "arena_bytes") < number(&plain, "arena_bytes"));
    assert_ne!(plain["info"], json!([]));
    assert_eq!(lean["info"], json!([]));
    folder.ok(&["prune", "--recipe", "lean.toml", "-o", "wide.sct", "--values", "f32"]);
    assert!(bytes(folder.path("wide.sct")).len() > bytes(folder.path("lean.sct")).len());
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
fn impact_and_dimension_are_of_the_network_before_and_after() {
    let folder = Folder::with_pruned();
    folder.ok(&["convert", MODEL, "-o", "d.sct"]);
    let found = folder.json(&["impact", "d.sct", "a.sct", "--data", DATA, "--samples", "20"]);
    let classes = found["per_class"].as_array().unwrap();
    assert_eq!(classes.len(), 10);
    let dense = folder.json(&["eval", "d.sct", "--data", DATA]);
    for (class, dense) in classes.iter().zip(dense["per_class"].as_array().unwrap()) {
        assert_eq!(class["accuracy_dense"], dense["accuracy"]);
        let within = |index: usize| class["interval"][index].as_f64().unwrap();
        let excess = number(class, "excess_loss");
        assert!(within(0) <= excess && excess <= within(1), "{class}");
    }
    let same = folder.json(&["impact", "d.sct", "d.sct", "--data", DATA, "--samples", "5"]);
    assert_eq!((number(&same, "shift"), number(&same, "violation")), (0.0, 0.0));
    let refused = folder.fails(2, &["impact", "d.sct", OTHER, "--data", DATA]);
    assert!(refused.contains("the same parameters"), "{refused}");

    let found = folder.json(&["dimension", "d.sct", "a.sct", "--data", DATA, "--samples", "100"]);
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    for layer in layers {
        assert!(
            number(layer, "dimension") > 1.0 && layer["dimension"] != layer["dimension_sparse"],
            "{layer}"
        );
    }
    assert!(
        folder
            .fails(2, &["dimension", "d.sct", ONNX, "--data", DATA])
            .contains("other layers")
    );
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
fn layers_are_reconstructed_on_samples_without_labels() {
    let folder = Folder::new();
    let data = format!("file = '{TRAIN}'\ninputs_key = 'images'\nrows = [0, 512]\n[preprocess]\nscale = 0.0625\n");
    folder.write("train.toml", data.as_bytes());
    let prune = [
        "prune",
        MODEL,
        "--sparsity",
        "0.8",
        "--scope",
        "uniform",
        "--data",
        DATA,
    ];
    let plain = folder.json(&[&prune[..], &["-o", "plain.sct"]].concat());
    for method in ["obc", "sparsegpt", "least-squares", "alps"] {
        let how = ["--train", "train.toml", "--reconstruct", method];
        let args = [&prune[..], &how].concat();
        let found = folder.json(&[&args[..], &["-o", "a.sct", "--force"]].concat());
        for layer in found["reconstruction"].as_array().unwrap() {
            assert!(
                number(layer, "reconstructed") < number(layer, "masked"),
                "{method}: {layer}"
            );
        }
        assert!(
            number(&found, "accuracy_after") > number(&plain, "accuracy_after"),
            "{method}: {found}"
        );
        // In a run, the same happens.
        let run = folder.json(&[&args[..], &["--run", method]].concat());
        assert_eq!(run["report"]["sparse"]["accuracy"], found["accuracy_after"]);
        let metrics = String::from_utf8(bytes(folder.path(method).join("metrics.jsonl"))).unwrap();
        let line: serde_json::Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        assert_eq!(line["reconstruction"], found["reconstruction"]);
    }
    let message = folder.fails(2, &[&prune[..], &["--reconstruct", "alps", "-o", "b.sct"]].concat());
    assert!(message.contains("--train"), "{message}");
    let message = folder.fails(2, &[&prune[..], &["--reconstruct", "alp", "-o", "b.sct"]].concat());
    assert!(message.contains("did you mean `alps`?"), "{message}");
}

#[test]
fn permuted_channels_keep_the_accuracy_of_the_dense_model() {
    let folder = Folder::new();
    let prune = ["prune", MODEL, "--pattern", "2:4", "--data", DATA, "--permute"];
    let found = folder.json(&[&prune[..], &["-o", "a.sct"]].concat());
    let run = folder.json(&[&prune[..], &["--run", "r"]].concat());
    assert_eq!(run["report"]["sparse"]["accuracy"], found["accuracy_after"]);
    let message = folder.fails(2, &["prune", MODEL, "--sparsity", "0.5", "--permute", "-o", "b.sct"]);
    assert!(message.contains("N:M"), "{message}");
}

#[test]
fn criteria_take_samples_of_the_training_data() {
    let folder = recipe_folder();
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
        missing.contains("--criterion: `prune.criterion`: wanda needs samples: give data.train, or --train"),
        "{missing}"
    );
    assert!(fails("wnada").contains("did you mean `wanda`?"));
    assert!(fails("ria:alpha=9").contains("a number from 0 to 2"));
}

#[test]
fn a_run_scores_with_its_settings_and_says_so() {
    let folder = recipe_folder();
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
fn the_list_shows_every_method_and_setting() {
    let folder = Folder::new();
    let list = folder.json(&["recipe", "list"]);
    let text = folder.ok(&["recipe", "list"]);
    let [criteria, dynamic] = ["criteria", "dynamic"].map(|kind| list[kind].as_array().unwrap());
    assert!(criteria.len() >= 14 && dynamic.len() >= 9);
    for method in criteria.iter().chain(dynamic) {
        let name = method["name"].as_str().unwrap();
        assert!(text.contains(method["summary"].as_str().unwrap()), "{name}");
        for setting in method["settings"].as_array().unwrap() {
            assert!(text.contains(&format!("{name}.{}", setting["name"].as_str().unwrap())));
        }
    }
}

#[test]
fn a_description_without_weights_is_trained_and_pruned() {
    let folder = recipe_folder();
    let nodes = "{ name = 'conv', op = 'conv2d', out_channels = 8, kernel = 3, activation = 'relu' }, \
                 { name = 'flat', op = 'flatten' }, { name = 'fc', op = 'linear', out_features = 10 }";
    let net = format!("format = 1\ninput = {{ name = 'x', shape = [1, 8, 8] }}\nnode = [{nodes}]\n");
    folder.write("net.toml", net.as_bytes());
    let recipe = "model = 'net.toml'\n[data]\ntrain = 'train.toml'\ntest = 'train.toml'\n[prune]\nsparsity = 0.5\n\
                  [train]\nepochs = 8\nbatch = 16\n";
    folder.write("net-recipe.toml", recipe.as_bytes());
    let report = folder.json(&["prune", "--recipe", "net-recipe.toml", "--run", "fresh"]);
    assert!(number(&report["report"]["dense"], "accuracy") > 0.8, "{report}");
    folder.ok(&[
        "train",
        "net.toml",
        "--data",
        "train.toml",
        "--epochs",
        "1",
        "-o",
        "trained",
    ]);
    folder.ok(&["inspect", "trained"]);

    let message = folder.fails(3, &["inspect", "net.toml"]);
    assert!(message.contains("`secateur train` draws weights"), "{message}");
}

#[test]
fn rounds_of_a_share_of_importance_end_where_it_leads() {
    let folder = recipe_folder();
    let set = [
        "prune.criterion=nnrelief",
        "prune.scope=importance",
        "prune.pattern=kernel",
        "prune.alpha=0.9",
    ];
    let recipe = String::from_utf8(bytes(folder.path("recipe.toml"))).unwrap();
    folder.write("recipe.toml", recipe.replace("sparsity = 0.8\n", "").as_bytes());
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let run = |name: &str| {
        let report = folder.json(&[&["prune", "--recipe", "recipe.toml", "--run", name][..], &set].concat());
        number(&report["report"], "sparsity")
    };
    let sparsity = run("a");
    assert_eq!(sparsity, run("b"));
    let metrics = String::from_utf8(bytes(folder.path("a/metrics.jsonl"))).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rounds: Vec<f64> = lines
        .filter(|line| line["round"].is_number())
        .map(|line| number(&line, "sparsity"))
        .collect();
    assert!(
        rounds.len() == 2 && 0.1 < rounds[0] && rounds[0] < rounds[1],
        "{rounds:?}"
    );
    assert!((rounds[1] - sparsity).abs() < 1e-9);
}

#[test]
fn channels_go_to_a_budget_of_multiplications() {
    let folder = recipe_folder();
    let prune = |criterion: &str, macs: &str| {
        let set = format!("prune.macs={macs}");
        let args = [
            "prune",
            MODEL,
            "-o",
            "m.sct",
            "--force",
            "--train",
            "train.toml",
            "--criterion",
            criterion,
            "--set",
            &set,
        ];
        let json = folder.json(&args);
        let size = |when: &str| json["structured"][when]["multiplications"].as_f64().unwrap();
        size("after") / size("before")
    };
    for criterion in ["channel-fisher", "magnitude", "coreset:choice=rank"] {
        let left = prune(criterion, "0.5");
        assert!(left <= 0.5 && left > 0.3, "{criterion}: {left}");
    }
    let set = ["prune", MODEL, "-o", "no.sct", "--set"];
    for (key, problem) in [
        ("prune.macs=1.5", "between 0 and 1"),
        ("prune.macs=0.0001", "allow more"),
        ("prune.latency=0", "between 0 and 1"),
        ("prune.latency=0.0001", "predicted time"),
        ("prune.collapse.layers=1", "from 2 to 64"),
    ] {
        let error = folder.fails(2, &[&set[..], &[key]].concat());
        assert!(error.contains(problem), "{error}");
    }
    let both = [&set[..], &["prune.macs=0.5", "--set", "prune.latency=0.5"]].concat();
    assert!(folder.fails(2, &both).contains("leave it out"));
}
