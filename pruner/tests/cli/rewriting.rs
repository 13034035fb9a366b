//! Files through `run` and `convert`: what comes out is what went in.

use secateur::data::npy;
use secateur::reference;
use secateur::save::Overwrite;
use secateur::source;
use secateur_format::{Limits, Model};
use secateur_runtime::kernel::ALL;
use secateur_runtime::prepared::cpu_name;

use crate::support::{Folder, MODEL, ONNX, bytes, number};

/// Values like pixels of the digits.
fn samples(count: usize) -> Vec<f32> {
    (0..64 * count).map(|i| (i * 7 % 17) as f32).collect()
}

fn close(expected: &[f64], found: &[f32]) {
    assert_eq!(expected.len(), found.len());
    let largest = expected.iter().fold(0.0, |max: f64, y| max.max(y.abs()));
    for (a, b) in expected.iter().zip(found) {
        assert!((a - f64::from(*b)).abs() <= 1e-5 * largest, "{a} {b}");
    }
}

#[test]
fn run_agrees_with_the_reference() {
    let folder = Folder::new();
    let graph = source::load(MODEL.as_ref()).unwrap().graph;
    let input = samples(3);
    let expected: Vec<f64> = input
        .chunks(64)
        .flat_map(|sample| reference::run(&graph, &[sample]).unwrap().remove(0))
        .collect();
    npy::write_f32(&folder.path("x.npy"), &[3, 1, 8, 8], &input, Overwrite::Keep).unwrap();
    let report = folder.json(&["run", MODEL, "--input", "x.npy", "-o", "y.npy"]);
    assert_eq!(
        report,
        serde_json::json!({"output": "y.npy", "shape": [3, 10], "samples": 3})
    );
    let (shape, found) = npy::read_f32(&folder.path("y.npy")).unwrap();
    assert_eq!(shape, [3, 10]);
    close(&expected, &found);

    npy::write_f32(&folder.path("one.npy"), &[1, 8, 8], &input[..64], Overwrite::Keep).unwrap();
    folder.ok(&["run", MODEL, "--input", "one.npy", "-o", "y.npy", "--force"]);
    let (shape, one) = npy::read_f32(&folder.path("y.npy")).unwrap();
    assert_eq!((shape.as_slice(), one.as_slice()), (&[10][..], &found[..10]));

    let scaled: Vec<f32> = input.iter().map(|x| x * 0.0625).collect();
    npy::write_f32(&folder.path("scaled.npy"), &[3, 1, 8, 8], &scaled, Overwrite::Keep).unwrap();
    folder.ok(&["run", MODEL, "--input", "x.npy", "-o", "a.npy", "--preprocess"]);
    folder.ok(&["run", MODEL, "--input", "scaled.npy", "-o", "b.npy"]);
    assert_eq!(bytes(folder.path("a.npy")), bytes(folder.path("b.npy")));
}

#[test]
fn convert_stores_what_was_fastest() {
    let folder = Folder::with_pruned();
    folder.ok(&["convert", "a.sct", "-o", "tuned.sct", "--tune"]);
    let file = secateur_runtime::ArenaBuf::copy_of(&bytes(folder.path("tuned.sct")));
    let model = Model::read(file.as_ref(), &Limits::HOST).unwrap();
    let tuning = model.tuning().unwrap();
    assert_eq!(tuning.machine, cpu_name());
    let known = |name: &str| ALL.iter().any(|kernel| kernel.name == name);
    assert!(tuning.nodes().count() > 0 && tuning.nodes().all(|tuned| known(tuned.kernel)));
    // What was fastest is what runs.
    let explained = folder.json(&["bench", "tuned.sct", "--runs", "1", "--seconds", "0"]);
    for tuned in tuning.nodes() {
        assert_eq!(explained["layers"][usize::from(tuned.node)]["kernel"], tuned.kernel);
    }
}

#[test]
fn every_encoding_of_a_file_gives_the_same_outputs() {
    let folder = Folder::with_pruned();
    npy::write_f32(&folder.path("x.npy"), &[2, 1, 8, 8], &samples(2), Overwrite::Keep).unwrap();
    let outputs = |model: &str| {
        folder.ok(&["run", model, "--input", "x.npy", "-o", "y.npy", "--force"]);
        npy::read_f32(&folder.path("y.npy")).unwrap().1
    };
    let expected: Vec<f64> = outputs("a.sct").iter().map(|&y| y.into()).collect();
    for encoding in ["auto", "dense", "csr16", "win8", "bitmask", "nm", "block", "block2x1"] {
        folder.ok(&["convert", "a.sct", "-o", "b.sct", "--encoding", encoding, "--force"]);
        close(&expected, &outputs("b.sct"));
        let found = folder.json(&["verify", "b.sct", "--against", "a.sct"]);
        assert_eq!(number(&found, "weights_pruned"), 0.0, "{encoding}");
    }
    for (memory, align) in [("none", "4"), ("packed", "16")] {
        let options = ["--scratch", memory, "--align", align, "--strip", "--force"];
        folder.ok(&[&["convert", "a.sct", "-o", "b.sct"], &options[..]].concat());
        close(&expected, &outputs("b.sct"));
    }
}

#[test]
fn a_converted_file_converts_to_itself() {
    let folder = Folder::new();
    folder.ok(&["convert", ONNX, "-o", "a.sct"]);
    folder.ok(&["convert", "a.sct", "-o", "b.sct"]);
    assert!(bytes(folder.path("a.sct")) == bytes(folder.path("b.sct")));
    // In place.
    folder.ok(&["convert", "a.sct", "-o", "a.sct", "--force"]);
    assert!(bytes(folder.path("a.sct")) == bytes(folder.path("b.sct")));
    assert_eq!(folder.files(), ["a.sct", "b.sct"]);
}

#[test]
fn an_n_of_m_that_is_asked_for_is_stored() {
    let folder = Folder::new();
    folder.ok(&["prune", MODEL, "-o", "a.sct", "--pattern", "2:4"]);
    for (asked, values) in [("nm3:4", 0.75), ("nm2:4", 0.5), ("nm5:8", 0.625)] {
        let args = [
            "convert",
            "a.sct",
            "-o",
            "b.sct",
            "--force",
            "--json",
            "--encoding",
            asked,
        ];
        let outcome = folder.run(&args);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        let layers = found["layers"].as_array().unwrap();
        // One input channel is dense and stays so, which is told.
        assert_eq!(layers[0]["encoding"], "dense");
        assert!(outcome.stderr.contains("warning: conv1: "), "{}", outcome.stderr);
        for layer in &layers[1..] {
            assert_eq!(layer["encoding"], asked);
            assert!(number(layer, "bytes") > values * number(layer, "dense_bytes"));
            assert!(number(layer, "bytes") < number(layer, "dense_bytes"));
        }
        folder.ok(&["verify", "b.sct", "--against", MODEL]);
    }
    let first = folder.json(&[
        "prune",
        MODEL,
        "-o",
        "c.sct",
        "--pattern",
        "1:8",
        "--fallback",
        "unstructured",
    ]);
    assert_eq!(first["pruning"]["layers"][0]["pattern"], "unstructured");
}

/// What is no regular file is written to, and not replaced.
#[cfg(unix)]
#[test]
fn devices_and_pipes_are_written_to() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::with_pruned();
    npy::write_f32(&folder.path("x.npy"), &[1, 8, 8], &samples(1), Overwrite::Keep).unwrap();
    for command in [
        &["convert", "a.sct", "-o", "/dev/null"][..],
        &["convert", "a.sct", "-o", "/dev/null", "--force"],
        &["run", "a.sct", "--input", "x.npy", "-o", "/dev/null"],
    ] {
        folder.ok(command);
        let kind = std::fs::metadata("/dev/null").unwrap().file_type();
        assert!(kind.is_char_device());
    }
    let made = std::process::Command::new("mkfifo").arg(folder.path("pipe")).status();
    assert!(made.unwrap().success());
    let pipe = folder.path("pipe");
    let reader = std::thread::spawn(move || bytes(pipe));
    folder.ok(&["convert", "a.sct", "-o", "pipe"]);
    folder.ok(&["convert", "a.sct", "-o", "b.sct"]);
    assert!(reader.join().unwrap() == bytes(folder.path("b.sct")));
    let kind = std::fs::metadata(folder.path("pipe")).unwrap().file_type();
    assert!(kind.is_fifo());
}

#[test]
fn values_of_sixteen_bits_halve_the_weights() {
    let folder = Folder::new();
    let bytes_of = |values: &str| {
        let name = format!("{values}.sct");
        number(
            &folder.json(&["convert", ONNX, "-o", &name, "--values", values]),
            "bytes",
        )
    };
    let (full, f16, bf16) = (bytes_of("f32"), bytes_of("f16"), bytes_of("bf16"));
    assert_eq!(f16, bf16);
    assert!(f16 < 0.55 * full, "{f16} {full}");
}

#[cfg(unix)]
#[test]
fn written_files_are_as_readable_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with_pruned();
    folder.write("plain", b"");
    let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("a.sct"), mode("plain"));
}
