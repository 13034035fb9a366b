//! Why layers run as they do, and how fast.

use serde_json::json;

use crate::support::{Folder, LAYER, MODEL, ONNX, bytes, keys, number};

#[test]
fn explain_gives_candidates_and_reasons() {
    let folder = Folder::with_pruned();
    for model in ["a.sct", MODEL] {
        let found = folder.json(&["explain", model]);
        let layers = found["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 4);
        for layer in layers {
            let own = ["candidates", "kernel", "margin", "outlooks", "speedup", "ways"];
            let mut expected = [&LAYER[..], &own].concat();
            expected.sort_unstable();
            assert_eq!(keys(layer), expected);
            let candidates = layer["candidates"].as_array().unwrap();
            assert_eq!(keys(&candidates[0]), ["bytes", "encoding", "stored"]);
            assert!(candidates.is_sorted_by_key(|candidate| candidate["bytes"].as_u64()));
            let chosen = |candidate: &&serde_json::Value| candidate["encoding"] == layer["encoding"];
            assert_eq!(candidates.iter().find(chosen).unwrap()["bytes"], layer["bytes"]);
            assert_ne!(layer["kernel"], "none");
        }
    }
    let (few, all) = (
        folder.ok(&["explain", "a.sct"]),
        folder.ok(&["explain", "a.sct", "--all"]),
    );
    assert!(few.contains("more (--all)") && !all.contains("more (--all)") && all.len() > few.len());
}

#[test]
fn explain_tells_what_each_way_costs_and_what_would_change() {
    let folder = Folder::with_pruned();
    let found = folder.json(&["explain", "a.sct"]);
    let layers = found["layers"].as_array().unwrap();
    let expected = [
        "bytes",
        "encoding",
        "kernel",
        "level",
        "measured_us",
        "predicted_us",
        "vectors",
        "window",
    ];
    for layer in layers {
        let ways = layer["ways"].as_array().unwrap();
        assert!(ways.len() >= 2, "{layer}");
        assert_eq!(keys(&ways[0]), expected);
        assert_eq!(ways[0]["kernel"], layer["kernel"]);
        // The best sparse way and the dense one were measured, and fit some cache.
        let measured = ways
            .iter()
            .filter(|way| number(way, "bytes") > 0.0 && way["measured_us"].is_number());
        assert!(measured.count() >= 2, "{layer}");
        assert_eq!(ways[0]["level"], "L1");
        assert!(number(layer, "speedup") > 0.0);
    }
    // What other patterns would do is predicted for convolutions only.
    let conv = &layers[1];
    assert!(number(conv, "margin") >= 1.0);
    let outlooks = conv["outlooks"].as_array().unwrap();
    let patterns: Vec<_> = outlooks
        .iter()
        .map(|outlook| outlook["pattern"].as_str().unwrap())
        .collect();
    assert_eq!(patterns, ["unstructured", "2x1", "4x1", "8x1"]);
    for outlook in outlooks {
        assert_eq!(keys(outlook), ["break_even", "pattern", "sparsity", "speedup"]);
        assert_eq!(outlook["sparsity"], conv["sparsity"]);
        let (even, sparsity) = (outlook["break_even"].as_f64(), number(outlook, "sparsity"));
        // Faster exactly where the break-even point is passed, up to the width of the search.
        if even.is_none_or(|even| (even - sparsity).abs() > 0.02) {
            assert_eq!(
                number(outlook, "speedup") > 1.0,
                even.is_some_and(|even| sparsity > even),
                "{outlook}"
            );
        }
    }
    let last = &layers[3];
    assert!(number(last, "margin") >= 1.0 && last["outlooks"] == json!([]));
    let ways = last["ways"].as_array().unwrap();
    assert!(
        ways.iter()
            .all(|way| way["predicted_us"].is_number() && way["vectors"].is_null())
    );
    assert!(ways.iter().any(|way| way["encoding"] == last["encoding"]));

    let text = folder.ok(&["explain", "a.sct"]);
    assert!(
        text.contains("breaks even at") && text.contains("4x1 would give"),
        "{text}"
    );

    let all = folder.json(&["explain", "a.sct", "--measure", "--isa", "portable", "--threads", "2"]);
    for layer in all["layers"].as_array().unwrap() {
        let ways = layer["ways"].as_array().unwrap();
        assert!(ways.iter().all(|way| way["measured_us"].is_number()));
        assert!(
            ways.iter()
                .all(|way| way["kernel"].as_str().unwrap().ends_with("portable"))
        );
    }
}

#[test]
fn bench_compares_with_dense_weights() {
    let folder = Folder::with_pruned();
    let found = folder.json(&["bench", "a.sct", "--runs", "3", "--seconds", "0"]);
    let expected = [
        "arena_bytes",
        "assertions",
        "batch",
        "bytes",
        "dense_bytes",
        "dense_median_us",
        "dense_p10_us",
        "dense_p90_us",
        "dense_values",
        "isa",
        "layers",
        "median_us",
        "p10_us",
        "p90_us",
        "peak_gbytes_per_second",
        "peak_gflops",
        "prepare_us",
        "prepared",
        "repacked_bytes",
        "runs",
        "samples_per_second",
        "speedup",
        "threads",
    ];
    assert_eq!(keys(&found), expected);
    assert!(number(&found, "runs") >= 3.0);
    let ratio = number(&found, "dense_median_us") / number(&found, "median_us");
    assert!((number(&found, "speedup") / ratio - 1.0).abs() < 1e-12);
    assert!(number(&found, "p10_us") <= number(&found, "p90_us"));
    assert_eq!(found["bytes"], bytes(folder.path("a.sct")).len());
    assert!(number(&found, "dense_bytes") > number(&found, "bytes"));
    assert!(number(&found, "peak_gflops") > 0.0 && number(&found, "peak_gbytes_per_second") > 0.0);
    assert_eq!((&found["batch"], &found["threads"]), (&json!(1), &json!(1)));
    assert_eq!((&found["prepared"], &found["assertions"]), (&json!(true), &json!([])));
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 7);
    let expected = [
        "bandwidth_fraction",
        "dense_median_us",
        "encoding",
        "fused",
        "kernel",
        "median_us",
        "node",
        "op",
        "p10_us",
        "p90_us",
        "peak_fraction",
        "repacked_bytes",
        "speedup",
        "values",
    ];
    assert_eq!(keys(&layers[0]), expected);
    assert_eq!(found["dense_values"], "f32");
    assert_eq!(
        (&layers[1]["node"], &layers[1]["values"]),
        (&json!("conv2"), &json!("f32"))
    );
    assert!(layers[1]["kernel"].as_str().unwrap().contains("_panel_"));
    assert!(number(&layers[1], "peak_fraction") > 0.0 && number(&layers[1], "bandwidth_fraction") > 0.0);
    let weightless = ["encoding", "values", "kernel", "peak_fraction", "repacked_bytes"];
    assert!(weightless.iter().all(|field| layers[2][field].is_null()));
    assert!(
        layers
            .iter()
            .all(|layer| number(layer, "p10_us") <= number(layer, "p90_us"))
    );
    assert!(layers.iter().all(|layer| layer["fused"] == false));
    let repacked = layers.iter().filter_map(|layer| layer["repacked_bytes"].as_f64());
    assert_eq!(repacked.sum::<f64>(), number(&found, "repacked_bytes"));
}

#[test]
fn bench_runs_as_it_is_told() {
    let folder = Folder::with_pruned();
    let bench = |more: &[&str]| {
        let found = folder.json(&[&["bench", "a.sct", "--runs", "1", "--seconds", "0"], more].concat());
        let kernel = found["layers"][1]["kernel"].as_str().unwrap().to_owned();
        (found, kernel)
    };
    let (found, kernel) = bench(&["--isa", "scalar"]);
    assert_eq!(found["isa"], "scalar");
    assert!(
        kernel.ends_with("__scalar") && found["peak_gflops"].is_null(),
        "{kernel}"
    );
    let (found, kernel) = bench(&["--isa", "portable", "--batch", "3"]);
    assert_eq!((&found["isa"], &found["batch"]), (&json!("portable"), &json!(3)));
    assert!(kernel.contains("_panel_") && kernel.ends_with("__portable"), "{kernel}");
    let rate = 3e6 / number(&found, "median_us");
    assert!((number(&found, "samples_per_second") / rate - 1.0).abs() < 1e-9);
    let (found, kernel) = bench(&["--no-prepare"]);
    assert_eq!(
        (&found["prepared"], &found["repacked_bytes"]),
        (&json!(false), &json!(0))
    );
    assert!(kernel.contains("_spmm_"), "{kernel}");
    let (found, _) = bench(&["--threads", "2", "--tune"]);
    assert_eq!(found["threads"], 2);
    // Whatever runs it, the text tells the same.
    let text = folder.ok(&["bench", "a.sct", "--runs", "1", "--seconds", "0"]);
    assert!(
        text.contains("GFLOP/s") && text.contains("GB/s") && text.contains("speedup"),
        "{text}"
    );
}

/// The speed of a pruned model, before it is pruned: in every form it comes in.
#[test]
fn bench_prunes_in_memory() {
    let folder = Folder::new();
    folder.ok(&["convert", MODEL, "-o", "dense.sct"]);
    for model in [MODEL, "dense.sct", ONNX] {
        let bench = |more: &[&str]| {
            let quick = ["bench", model, "--quiet", "--runs", "1", "--seconds", "0"];
            folder.json(&[&quick, more].concat())
        };
        let encodings = |found: &serde_json::Value| {
            let layers = found["layers"].as_array().unwrap();
            let stored = layers
                .iter()
                .filter_map(|layer| Some(layer["encoding"].as_str()?.to_owned()));
            stored.collect::<Vec<String>>()
        };
        assert!(encodings(&bench(&[])).iter().all(|encoding| encoding == "dense"));
        let found = bench(&["--synthetic-sparsity", "0.9", "--pattern", "4x1"]);
        let stored = encodings(&found);
        let (first, last) = (&stored[0], &stored[stored.len() - 1]);
        assert_eq!((first.as_str(), last.as_str()), ("dense", "dense"));
        assert!(
            stored[1..stored.len() - 1]
                .iter()
                .all(|encoding| encoding.starts_with("block")),
            "{stored:?}"
        );
        assert!(number(&found, "bytes") < number(&found, "dense_bytes"));
        let all = encodings(&bench(&["--synthetic-sparsity", "0.9", "--all"]));
        assert!(all.iter().all(|encoding| encoding != "dense"), "{all:?}");
        // N:M fixes the sparsity.
        bench(&["--pattern", "2:4"]);
    }
    // Nothing was written.
    assert_eq!(folder.files(), ["dense.sct"]);
}

#[test]
fn bench_asserts() {
    let folder = Folder::with_pruned();
    let bench = |more: &[&str]| {
        let quick = ["bench", "a.sct", "--runs", "1", "--seconds", "0", "--json"];
        folder.run(&[&quick, more].concat())
    };
    let size = bytes(folder.path("a.sct")).len();
    let (at_most, less) = (format!("bytes<={size}"), format!("bytes<{size}"));
    let held = bench(&[
        "--assert",
        "speedup>0",
        "--assert",
        &at_most,
        "--assert",
        " latency_ms < 1e6",
    ]);
    assert_eq!((held.code, held.stderr.as_str()), (0, ""));
    let failed = bench(&[
        "--assert",
        &less,
        "--assert",
        "p90_ms>1e6",
        "--assert",
        "arena_bytes>=1",
    ]);
    assert_eq!(failed.code, 1);
    for text in [&less, "p90_ms>1e6", &format!("found {size}")] {
        assert!(failed.stderr.contains(text), "{}", failed.stderr);
    }
    assert!(!failed.stderr.contains("arena_bytes"), "{}", failed.stderr);
    // The numbers are printed all the same.
    let found: serde_json::Value = serde_json::from_str(&failed.stdout).unwrap();
    let assertions = found["assertions"].as_array().unwrap();
    assert_eq!(keys(&assertions[0]), ["assertion", "found", "holds"]);
    let holds: Vec<_> = assertions.iter().map(|assertion| assertion["holds"] == true).collect();
    assert_eq!(holds, [false, false, true]);
    assert_eq!(assertions[0]["found"], number(&found, "bytes"));
}

/// Predictions are made with what the file says: here, that one kernel costs next to nothing.
#[test]
fn a_machine_file_changes_the_choice() {
    let folder = Folder::with_pruned();
    let chosen = |costly: &str, cheap: &str| {
        let costs =
            |kernel: &str, ns: f64| format!("\"f32_panel_{kernel}__portable\": [{ns}, 0, 0, 0, 0, 0, 0, 0, 0, 0]");
        let kernels = [costs(costly, 9.0), costs(cheap, 0.001)].join(", ");
        let text = format!("{{\"machine\": \"m\", \"kernels\": {{{kernels}}}}}");
        folder.write("m.json", text.as_bytes());
        let common = ["a.sct", "--machine", "m.json", "--isa", "portable"];
        let explained = folder.json(&[&["explain"], &common[..]].concat());
        let benched = folder.json(&[&["bench"], &common[..], &["--runs", "1", "--seconds", "0"]].concat());
        let kernel = explained["layers"][1]["kernel"].clone();
        assert_eq!(benched["layers"][1]["kernel"], kernel);
        kernel
    };
    let (dense, pair) = ("dense_4x8", "pair_2x16");
    assert_eq!(chosen(dense, pair), "f32_panel_pair_2x16__portable");
    assert_eq!(chosen(pair, dense), "f32_panel_dense_4x8__portable");
}

#[test]
fn kernels_are_listed() {
    let found = Folder::new().json(&["kernels"]);
    assert_eq!(keys(&found), ["kernels"]);
    let kernels = found["kernels"].as_array().unwrap();
    assert!(kernels.len() >= 24);
    for kernel in kernels {
        assert_eq!(
            keys(kernel),
            ["available", "encoding", "isa", "name", "problem", "values"]
        );
        if ["scalar", "portable"].map(|isa| kernel["isa"] == isa).contains(&true) {
            assert_eq!(kernel["available"], true);
        }
    }
}
