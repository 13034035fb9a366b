//! Every command where all is well, but for those of speed and of recipes.

use serde_json::json;

use secateur::data::npy;
use secateur::save::Overwrite;

use crate::support::{DATA, Folder, LAYER, MODEL, ONNX, WEIGHTS, bytes, keys, number};

#[test]
fn inspect_shows_the_same_network_whatever_its_form() {
    let folder = Folder::with_pruned();
    let copy = |from: &str, to: &str| std::fs::copy(from, folder.path(to)).map(drop).unwrap();
    copy(MODEL, "model.toml");
    copy(WEIGHTS, "cnn.safetensors");
    let forms = ["a.sct", "model.toml", ".", "cnn.safetensors"].map(|form| folder.json(&["inspect", form]));
    for found in &forms {
        let expected = [
            "arena_bytes",
            "arena_lower_bound_bytes",
            "file_bytes",
            "groups",
            "info",
            "inputs",
            "name",
            "nodes",
            "outputs",
            "parameters",
            "preprocess",
        ];
        assert_eq!(keys(found), expected);
        assert_eq!(found["parameters"], 15_338);
        assert_eq!(found["inputs"], json!([{"name": "input", "shape": [1, 8, 8]}]));
        assert_eq!(found["outputs"], json!([{"name": "fc", "shape": [10]}]));
        assert_eq!(found["preprocess"]["scale"], 0.0625);
        assert_eq!(found["arena_bytes"], forms[0]["arena_bytes"]);
        let nodes = found["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 7);
        let expected = [
            "bytes", "encoding", "inputs", "name", "op", "shape", "values", "weights", "zeros",
        ];
        assert_eq!(keys(&nodes[0]), expected);
        assert_eq!(
            (&nodes[0]["name"], &nodes[0]["weights"]),
            (&json!("conv1"), &json!(144))
        );
        for field in ["weights", "zeros", "encoding", "values", "bytes"] {
            assert!(nodes[2][field].is_null(), "{field}");
        }
    }
    let stored = &forms[0]["nodes"][1];
    assert_eq!(
        (&stored["encoding"], &stored["values"]),
        (&json!("bitmask"), &json!("f32"))
    );
    assert!(number(stored, "bytes") < 4.0 * number(stored, "weights"));
    let keys = forms[0]["info"].as_array().unwrap().iter().map(|pair| &pair["key"]);
    assert_eq!(keys.collect::<Vec<_>>(), ["generator", "pruning"]);
    for form in &forms[1..] {
        assert_eq!(form["info"], json!([]));
        let stored = &form["nodes"][1];
        assert!(stored["encoding"].is_null() && stored["values"].is_null() && stored["bytes"].is_null());
    }
    assert_eq!(forms[0]["file_bytes"], bytes(folder.path("a.sct")).len());
    assert!(forms[2]["file_bytes"].is_null());
    assert!(folder.ok(&["inspect", "a.sct"]).contains("15 338 parameters"));
    assert_eq!(folder.json(&["inspect", ONNX])["name"], "resnet8");
}

#[test]
fn prune_reports_what_it_wrote() {
    let folder = Folder::new();
    let arguments = ["prune", MODEL, "-o", "p.sct", "--sparsity", "0.5", "--data", DATA];
    let found = folder.json(&arguments);
    let expected = [
        "accuracy_after",
        "accuracy_before",
        "arena_bytes",
        "arena_lower_bound_bytes",
        "bytes",
        "check_error",
        "check_lowering_error",
        "check_tolerance",
        "collapsed",
        "dense_bytes",
        "layers",
        "output",
        "pruning",
        "ratio",
        "reconstruction",
        "sparsity",
        "structured",
    ];
    assert_eq!(keys(&found), expected);
    assert!(found["structured"].is_null());
    assert_eq!(found["output"], "p.sct");
    assert_eq!(found["bytes"], bytes(folder.path("p.sct")).len());
    let ratio = number(&found, "dense_bytes") / number(&found, "bytes");
    assert!((number(&found, "ratio") / ratio - 1.0).abs() < 1e-12);
    assert!((number(&found, "sparsity") - 0.5).abs() < 1e-3);
    assert_eq!(number(&found, "accuracy_before"), 351.0 / 360.0);
    assert!(number(&found, "accuracy_after") > 0.9);
    assert!(number(&found, "check_error") <= number(&found, "check_tolerance"));
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    for layer in layers {
        assert_eq!(keys(layer), LAYER);
        let weights = number(layer, "rows") * number(layer, "cols");
        assert!((number(layer, "sparsity") - (1.0 - number(layer, "nonzeros") / weights)).abs() < 1e-12);
        assert_eq!(number(layer, "dense_bytes"), 4.0 * weights);
    }
    let pruning = &found["pruning"];
    assert_eq!(keys(pruning), ["layers", "model_sparsity", "sparsity"]);
    let pruned = pruning["layers"].as_array().unwrap();
    let expected = ["name", "note", "op", "pattern", "skipped", "weights", "zeros"];
    assert_eq!(keys(&pruned[0]), expected);
    assert!(pruned.iter().all(|layer| layer["skipped"] == false));
    assert_eq!(pruned[1]["pattern"], "unstructured");

    let accuracy = folder.json(&["eval", "p.sct", "--data", DATA]);
    assert_eq!(accuracy["accuracy"], found["accuracy_after"]);
}

#[test]
fn prune_follows_rules_patterns_and_seeds() {
    let folder = Folder::new();
    let prune = |name: &str, more: &[&str]| {
        let found = folder.json(&[&["prune", MODEL, "-o", name, "--sparsity", "0.5"], more].concat());
        found["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| number(layer, "sparsity"))
            .collect::<Vec<f64>>()
    };
    let found = prune("a.sct", &["--scope", "layer", "--skip", "conv1", "--layer", "^fc$=0.9"]);
    assert_eq!(found[..3], [0.0, 0.5, 0.5]);
    assert!((found[3] - 0.9).abs() < 1e-3);
    // One input channel is not divisible by 2; neither are 10 outputs by 4.
    let blocks = prune("b.sct", &["--pattern", "4x2", "--scope", "layer"]);
    assert_eq!(blocks, [0.0, 0.5, 0.5, 0.0]);
    let substituted = prune(
        "c.sct",
        &["--pattern", "4x2", "--scope", "layer", "--fallback", "unstructured"],
    );
    assert_eq!(substituted, [0.5; 4]);
    for (name, seed) in [("r1.sct", "1"), ("r2.sct", "1"), ("r3.sct", "2")] {
        prune(name, &["--criterion", "random", "--seed", seed]);
    }
    let [same, again, other] = ["r1.sct", "r2.sct", "r3.sct"].map(|name| bytes(folder.path(name)));
    assert!(same == again && same != other);
    let nm = folder.json(&["prune", ONNX, "-o", "nm.sct", "--pattern", "2:4"]);
    assert!(
        nm["layers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|layer| layer["sparsity"] == 0.5)
    );
    assert!(nm["accuracy_before"].is_null() && nm["accuracy_after"].is_null());
}

#[test]
fn layers_are_skipped_and_never_emptied() {
    let folder = Folder::new();
    let prune = |name: &str, more: &[&str]| {
        let outcome = folder.run(&[&["prune", MODEL, "-o", name, "--json"], more].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        (found["pruning"]["layers"].as_array().unwrap().clone(), outcome.stderr)
    };
    // What a rule asked for needs no warning.
    let rules = ["--sparsity", "0.5", "--skip", "conv1", "--layer", "^fc$=0"];
    let (layers, warnings) = prune("skip.sct", &rules);
    let skipped: Vec<bool> = layers.iter().map(|layer| layer["skipped"] == true).collect();
    assert_eq!(skipped, [true, false, false, true]);
    for layer in [&layers[0], &layers[3]] {
        assert!(layer["pattern"].is_null() && layer["note"].as_str().unwrap().contains("skipped by the rule"));
    }
    assert!(!warnings.contains("warning"), "{warnings}");

    // N:M fixes the sparsity; rules may name it, or skip.
    let (layers, warnings) = prune(
        "nm.sct",
        &["--pattern", "2:4", "--layer", "conv2=0.5", "--layer", "conv3=0"],
    );
    assert_eq!(layers[1]["pattern"], "2:4");
    assert_eq!(layers[2]["skipped"], true);
    assert!(warnings.contains("warning: conv1: left dense"), "{warnings}");

    for (name, scope) in [("layer.sct", "layer"), ("global.sct", "global")] {
        let (layers, warnings) = prune(name, &["--sparsity", "0.999", "--scope", scope]);
        for (i, layer) in layers.iter().enumerate() {
            let (weights, zeros) = (number(layer, "weights"), number(layer, "zeros"));
            let floor = if i == 3 { 10.0 } else { (weights / 1000.0).ceil() };
            assert!(weights - zeros >= floor, "{layer}");
        }
        assert!(warnings.contains("so that the layer stays connected"), "{warnings}");
        assert!(layers[3]["note"].as_str().unwrap().contains("connected"));
    }
}

#[test]
fn eval_counts_per_class() {
    let folder = Folder::new();
    for kernels in ["best", "scalar"] {
        let found = folder.json(&["eval", MODEL, "--data", DATA, "--isa", kernels]);
        assert_eq!(keys(&found), ["accuracy", "correct", "count", "per_class"]);
        assert_eq!((&found["correct"], &found["count"]), (&json!(351), &json!(360)));
        assert_eq!(number(&found, "accuracy"), 0.975);
        let classes = found["per_class"].as_array().unwrap();
        assert_eq!(classes.len(), 10);
        assert_eq!(keys(&classes[3]), ["accuracy", "class", "correct", "count", "name"]);
        let total = |field| classes.iter().map(|class| number(class, field)).sum::<f64>();
        assert_eq!((total("correct"), total("count")), (351.0, 360.0));
    }
    assert!(
        folder
            .ok(&["eval", MODEL, "--data", DATA])
            .contains("accuracy 97.5 % (351 of 360)")
    );
}

/// Flags come before the data's description, and that before the model's own.
#[test]
fn preprocessing_has_an_order_of_precedence() {
    let folder = Folder::new();
    let correct = |model: &str, data: &str, more: &[&str]| {
        folder.json(&[&["eval", model, "--data", data], more].concat())["correct"].clone()
    };
    let digits = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/digits.safetensors");
    let head = format!("file = {digits:?}\nrows = [1437, 1797]\n");
    folder.write("none.toml", head.as_bytes());
    folder.write("zero.toml", format!("{head}[preprocess]\nscale = 1e-9\n").as_bytes());
    folder.ok(&["convert", MODEL, "-o", "own.sct"]);
    folder.ok(&["convert", MODEL, "-o", "flag.sct", "--scale", "1e-9"]);
    folder.ok(&["convert", MODEL, "-o", "strip.sct", "--strip"]);
    let good = ["--scale", "0.0625"];
    assert_eq!(correct("own.sct", "none.toml", &[]), 351);
    assert_ne!(correct("flag.sct", "none.toml", &[]), 351);
    assert_ne!(correct("own.sct", "zero.toml", &[]), 351);
    assert_eq!(correct("own.sct", "zero.toml", &good), 351);
    assert_eq!(correct("flag.sct", DATA, &[]), 351);
    assert_eq!(correct("strip.sct", "none.toml", &good), 351);
    assert!(folder.json(&["inspect", "strip.sct"])["preprocess"].is_null());
}

#[test]
fn verify_compares_with_the_source() {
    let folder = Folder::with_pruned();
    let found = folder.json(&["verify", "a.sct", "--against", MODEL]);
    let expected = [
        "error",
        "failure",
        "tolerance",
        "valid",
        "weights_equal",
        "weights_pruned",
    ];
    assert_eq!(keys(&found), expected);
    assert_eq!((&found["valid"], &found["failure"]), (&json!(true), &json!(null)));
    assert!(number(&found, "error") <= number(&found, "tolerance"));
    // 70 % of 15,248 weights; 90 biases.
    assert_eq!(
        (&found["weights_pruned"], &found["weights_equal"]),
        (&json!(10_674), &json!(4_664))
    );
    assert!(folder.json(&["verify", "a.sct"])["weights_equal"].is_null());
    folder.ok(&["convert", ONNX, "-o", "half.sct", "--values", "f16"]);
    assert_eq!(
        folder.json(&["verify", "half.sct", "--against", ONNX])["weights_pruned"],
        0
    );
}

/// Prepared or not, with the best kernels or the simplest: the same outputs but for rounding.
#[test]
fn run_gives_the_same_however_it_runs() {
    let folder = Folder::with_pruned();
    let x: Vec<f32> = (0..128).map(|i| (i % 17) as f32 / 17.0).collect();
    npy::write_f32(&folder.path("x.npy"), &[2, 1, 8, 8], &x, Overwrite::Keep).unwrap();
    let outputs = |name: &str, more: &[&str]| {
        folder.ok(&[&["run", "a.sct", "--input", "x.npy", "-o", name], more].concat());
        npy::read_f32(&folder.path(name)).unwrap().1
    };
    let expected = outputs("a.npy", &["--no-prepare", "--isa", "scalar"]);
    assert_eq!(expected.len(), 20);
    for (name, more) in [
        ("b.npy", &[][..]),
        ("c.npy", &["--no-prepare"]),
        ("d.npy", &["--isa", "portable"]),
    ] {
        let found = outputs(name, more);
        assert!(
            found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3),
            "{more:?}"
        );
    }
}

#[test]
fn demo_needs_nothing() {
    let folder = Folder::new();
    let found = folder.json(&["demo"]);
    assert!(found["output"].is_null() && folder.files().is_empty());
    assert!(folder.ok(&["demo"]).contains("-o FILE.sct"));
    let found = folder.json(&["demo", "-o", "demo.sct"]);
    assert_eq!(folder.files(), ["demo.sct"]);
    assert_eq!(keys(&found), ["output", "samples", "variants"]);
    assert_eq!((&found["output"], &found["samples"]), (&json!("demo.sct"), &json!(360)));
    let variants = found["variants"].as_array().unwrap();
    let expected = [
        "accuracy",
        "arena_bytes",
        "bytes",
        "median_us",
        "name",
        "sparsity",
        "speedup",
    ];
    assert!(variants.iter().all(|variant| keys(variant) == expected));
    assert_eq!(
        (&variants[0]["name"], &variants[0]["speedup"]),
        (&json!("dense f32"), &json!(1.0))
    );
    assert_eq!(number(&variants[0], "accuracy"), 0.975);
    let written = bytes(folder.path("demo.sct")).len();
    assert!(variants.iter().any(|variant| variant["bytes"] == written));
    folder.ok(&["verify", "demo.sct"]);
}

#[test]
fn prune_removes_channels_and_prunes_what_is_left() {
    let folder = Folder::new();
    let prune = |name: &str, more: &[&str]| {
        folder.json(
            &[
                &["prune", ONNX, "-o", name, "--structured", "0.5", "--scope", "layer"],
                more,
            ]
            .concat(),
        )
    };
    let dense = prune("dense.sct", &[]);
    let structured = &dense["structured"];
    assert_eq!(keys(structured), ["after", "before", "groups"]);
    assert_eq!(keys(&structured["after"]), ["bytes", "multiplications", "parameters"]);
    let groups = structured["groups"].as_array().unwrap();
    assert_eq!(keys(&groups[0]), ["after", "before", "layers", "name", "note"]);
    for group in groups {
        let part = if group["note"].is_null() { 0.5 } else { 1.0 };
        assert_eq!(number(group, "after"), part * number(group, "before"), "{group}");
    }
    assert_eq!(dense["pruning"]["sparsity"], 0.0);
    let parameters = |name: &str| number(&folder.json(&["inspect", name]), "parameters");
    // Batch norms are folded in the file.
    assert!(parameters("dense.sct") <= number(&structured["after"], "parameters"));
    assert!(parameters("dense.sct") < 0.3 * number(&structured["before"], "parameters"));
    assert_eq!(folder.json(&["inspect", "dense.sct"])["info"][1]["key"], "structured");

    let both = prune("both.sct", &["--sparsity", "0.8"]);
    assert_eq!(both["structured"]["after"], structured["after"]);
    assert!((number(&both["pruning"], "sparsity") - 0.8).abs() < 0.01);
    assert!(number(&both, "bytes") < number(&dense, "bytes"));

    let rounded = prune("rounded.sct", &["--round-to", "16"]);
    for group in rounded["structured"]["groups"].as_array().unwrap() {
        assert!(
            !group["note"].is_null() || number(group, "after") % 16.0 == 0.0,
            "{group}"
        );
    }
    let name = groups[1]["name"].as_str().unwrap();
    let skipped = prune("skipped.sct", &["--skip", &format!("^{name}$")]);
    let skipped = &skipped["structured"]["groups"][1];
    assert_eq!(skipped["after"], skipped["before"]);

    let text = folder.ok(&["prune", ONNX, "-o", "t.sct", "--structured", "0.5"]);
    assert!(
        text.contains("multiplications: ") && text.contains("is an input of the graph"),
        "{text}"
    );
    folder.fails(1, &["verify", "t.sct", "--against", ONNX]);
}

#[test]
fn inspect_shows_what_is_coupled_and_why() {
    let folder = Folder::new();
    let found = folder.json(&["inspect", ONNX]);
    let groups = found["groups"].as_array().unwrap();
    let expected = ["channels", "layers", "members", "name", "pins", "ties", "width"];
    assert_eq!(keys(&groups[0]), expected);
    assert!(groups[0]["pins"][0].as_str().unwrap().contains("input of the graph"));
    let texts = |field: &str| -> String {
        let lists = groups.iter().filter_map(|group| group[field].as_array());
        lists.flatten().filter_map(|text| text.as_str()).collect()
    };
    assert!(texts("ties").contains("joins"));
    let member = &groups[1]["members"][0];
    assert_eq!(keys(member), ["count", "node", "tensor", "what"]);
    assert_eq!((&member["what"], &member["count"]), (&json!("rows"), &json!(1)));

    let text = folder.ok(&["inspect", ONNX, "--groups"]);
    for line in ["  stays: ", "  coupled: add ", "  with each: 1 rows of "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!folder.ok(&["inspect", ONNX]).contains("coupled"));
}
