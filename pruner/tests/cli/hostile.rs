//! Damaged models: an error and its code, never a panic, nothing left behind.

use secateur::save::Overwrite;

use crate::support::{Folder, MODEL, ONNX, WEIGHTS, bytes};

/// Numbers spread over `0..below`, the same on every run.
fn spread(count: u64, below: usize) -> impl Iterator<Item = usize> {
    (1..=count).map(move |i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as usize % below)
}

/// `count` lengths from 0 to just below `len`.
fn lengths(count: usize, len: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |i| i * (len - 1) / (count - 1))
}

fn flipped(original: &[u8], at: usize, bit: usize) -> Vec<u8> {
    let mut copy = original.to_vec();
    copy[at] ^= 1 << (bit % 8);
    copy
}

/// An inspection of damaged input either fails with 3, or finds a valid model.
fn unreadable_or_fine(folder: &Folder, model: &str, what: &dyn std::fmt::Debug) {
    let outcome = folder.run(&["inspect", model, "--json"]);
    match outcome.code {
        0 => assert!(outcome.stdout.starts_with('{'), "{what:?}"),
        code => {
            assert_eq!((code, outcome.stdout.as_str()), (3, ""), "{what:?}: {}", outcome.stderr);
            assert!(outcome.stderr.contains("error: "), "{what:?}: {}", outcome.stderr);
        }
    }
}

#[test]
fn truncated_onnx() {
    let (folder, original) = (Folder::new(), bytes(ONNX));
    for len in lengths(200, original.len()) {
        folder.write("m.onnx", &original[..len]);
        folder.fails(3, &["inspect", "m.onnx"]);
    }
}

#[test]
fn flipped_onnx() {
    let (folder, original) = (Folder::new(), bytes(ONNX));
    // The nodes are in the first bytes; most others are weights.
    let (nodes, anywhere) = (spread(200, 8192), spread(100, original.len()));
    for (i, at) in nodes.chain(anywhere).enumerate() {
        folder.write("m.onnx", &flipped(&original, at, i));
        unreadable_or_fine(&folder, "m.onnx", &(at, i % 8));
    }
}

#[test]
fn truncated_and_flipped_safetensors() {
    let (folder, original) = (Folder::new(), bytes(WEIGHTS));
    folder.write("model.toml", &bytes(MODEL));
    for len in lengths(100, original.len()) {
        folder.write("cnn.safetensors", &original[..len]);
        folder.fails(3, &["inspect", "model.toml"]);
    }
    for (i, at) in spread(150, 700).enumerate() {
        folder.write("cnn.safetensors", &flipped(&original, at, i));
        unreadable_or_fine(&folder, "model.toml", &(at, i % 8));
    }
}

#[test]
fn garbled_descriptions() {
    let (folder, original) = (Folder::new(), bytes(MODEL));
    folder.write("cnn.safetensors", &bytes(WEIGHTS));
    for len in lengths(60, original.len()) {
        folder.write("model.toml", &original[..len]);
        unreadable_or_fine(&folder, "model.toml", &len);
    }
    // Another name of the weights file is a missing file.
    let text = String::from_utf8(original.clone()).unwrap();
    let name = text.find("cnn.safetensors").unwrap();
    let places = spread(150, original.len()).filter(|at| !(name..name + 15).contains(at));
    for (i, at) in places.enumerate() {
        folder.write("model.toml", &flipped(&original, at, i));
        unreadable_or_fine(&folder, "model.toml", &(at, i % 8));
    }
    for garbage in [
        &b"\xff\xfe"[..],
        b"\0",
        b"format = 99",
        b"[[[[",
        b"format = 1\nweights = 'model.toml'",
    ] {
        folder.write("model.toml", garbage);
        folder.fails(3, &["inspect", "model.toml"]);
    }
}

/// Every byte of a file is covered by a checksum or must be zero.
#[test]
fn damaged_sct() {
    let folder = Folder::with_pruned();
    let original = bytes(folder.path("a.sct"));
    for len in lengths(60, original.len()) {
        folder.write("m.sct", &original[..len]);
        folder.fails(3, &["inspect", "m.sct"]);
    }
    for (i, at) in spread(200, original.len()).enumerate() {
        folder.write("m.sct", &flipped(&original, at, i));
        folder.fails(3, &["verify", "m.sct"]);
    }
}

#[test]
fn damaged_npz_and_npy() {
    let folder = Folder::with_pruned();
    let goldens = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/dscnn_kws.npz");
    let original = bytes(goldens);
    folder.write(
        "d.toml",
        b"file = 'd.npz'\ninputs_key = 'input'\nlabels_key = 'output'\n",
    );
    for len in lengths(60, original.len()) {
        folder.write("d.npz", &original[..len]);
        folder.fails(3, &["eval", "a.sct", "--data", "d.toml"]);
    }
    for (i, at) in spread(100, original.len()).enumerate() {
        folder.write("d.npz", &flipped(&original, at, i));
        folder.fails(3, &["eval", "a.sct", "--data", "d.toml"]);
    }
    secateur::data::npy::write_f32(&folder.path("x.npy"), &[1, 8, 8], &[0.0; 64], Overwrite::Keep).unwrap();
    let array = bytes(folder.path("x.npy"));
    for len in lengths(60, array.len()) {
        folder.write("x.npy", &array[..len]);
        folder.fails(3, &["run", "a.sct", "--input", "x.npy", "-o", "y.npy"]);
    }
}

/// Weights that are no numbers are not weights.
#[test]
fn weights_that_are_not_finite() {
    let folder = Folder::new();
    folder.write("model.toml", &bytes(MODEL));
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weights = bytes(WEIGHTS);
        let last = weights.len() - 4;
        weights[last..].copy_from_slice(&value.to_le_bytes());
        folder.write("cnn.safetensors", &weights);
        folder.fails(3, &["convert", "model.toml", "-o", "a.sct"]);
    }
}
