//! Exit codes: 1 a check failed, 2 wrong usage, 3 unreadable or unsupported, 4 input/output.

use secateur::data::npy;
use secateur::save::Overwrite;

use crate::support::{DATA, Folder, MODEL, ONNX, OTHER, WEIGHTS, bytes};

#[test]
fn a_failed_check_is_1() {
    let folder = Folder::with_pruned();
    let message = folder.fails(1, &["verify", "a.sct", "--against", OTHER]);
    assert!(message.contains("was not made from"), "{message}");
    // The same network but for one weight.
    folder.ok(&["convert", MODEL, "-o", "dense.sct"]);
    let mut weights = bytes(WEIGHTS);
    let last = weights.len() - 2;
    weights[last] ^= 0x40;
    folder.write("cnn.safetensors", &weights);
    folder.write("model.toml", &bytes(MODEL));
    let message = folder.fails(1, &["verify", "dense.sct", "--against", "model.toml"]);
    assert!(message.contains("element"), "{message}");
}

#[test]
fn wrong_usage_is_2() {
    let folder = Folder::with_pruned();
    let prune = |more: &[&str]| {
        let all = [&["prune", MODEL, "-o", "b.sct"], more].concat();
        folder.fails(2, &all)
    };
    for sparsity in ["1", "1.5", "nan", "inf", "x"] {
        prune(&["--sparsity", sparsity]);
    }
    let message = prune(&["--sparsity", "-0.5"]);
    assert!(message.contains("sparsity -0.5 is not from 0 to below 1"), "{message}");
    let message = folder.fails(2, &["bench", "a.sct", "--seconds", "-1"]);
    assert!(message.contains("--seconds must be between 0 and 3600"), "{message}");
    assert!(prune(&[]).contains("`prune.sparsity`: is missing"));
    assert!(prune(&["--pattern", "2:4", "--sparsity", "0.9"]).contains("fixes the sparsity"));
    for pattern in ["3x1", "4:4", "0:4", "2:17", "x", "4x", "1:"] {
        prune(&["--sparsity", "0.5", "--pattern", pattern]);
    }
    for rule in ["fc=0.9", "fc=0.25", "conv=1"] {
        let message = prune(&["--pattern", "2:4", "--layer", rule]);
        assert!(message.contains("sparsity"), "{message}");
    }
    // No number of channels is divisible by 7; and nothing is left if all is skipped.
    for nothing in [
        &["--pattern", "5:7"][..],
        &["--pattern", "2:4", "--skip", "."],
        &["--sparsity", "0.5", "--skip", "."],
    ] {
        assert!(prune(nothing).contains("nothing would be pruned"));
    }
    let message = prune(&["--sparsity", "0.5", "--skip", "zzz"]);
    assert!(
        message.contains("zzz") && message.contains("conv1, conv2, conv3, fc"),
        "{message}"
    );
    prune(&["--sparsity", "0.5", "--layer", "zzz=0.1"]);
    prune(&["--sparsity", "0.5", "--layer", "fc=1.5"]);
    prune(&["--sparsity", "0.5", "--layer", "fc"]);
    prune(&["--sparsity", "0.5", "--layer", "(=0.5"]);
    prune(&["--sparsity", "0.5", "--skip", "("]);
    prune(&["--sparsity", "0.5", "--seed", "-1"]);
    prune(&["--sparsity", "0.5", "--bogus"]);
    for fraction in ["1", "-0.5", "nan", "half"] {
        prune(&["--structured", fraction]);
    }
    assert!(prune(&["--structured", "0.5", "--skip", "."]).contains("no channel would be removed"));
    assert!(prune(&["--structured", "0.5", "--pattern", "4x1"]).contains("`prune.sparsity`: is missing"));
    prune(&["--structured", "0.5", "--round-to", "0"]);
    prune(&["--sparsity", "0.5", "--round-to", "8"]);
    for (flag, value) in [
        ("--encoding", "zip"),
        ("--encoding", "nm2"),
        ("--encoding", "nm9:200"),
        ("--encoding", "nm0:0"),
        ("--encoding", "nm4:4"),
        ("--encoding", "nm1x4"),
        ("--encoding", "block3x7"),
        ("--encoding", "block1:4"),
        ("--encoding", "dense2:4"),
        ("--values", "i4"),
        ("--align", "3"),
        ("--align", "128"),
        ("--scale", "nan"),
        ("--scale", "0"),
        ("--mean", "1,inf"),
        ("--mean", "1,2,3"),
        ("--std", "0"),
    ] {
        prune(&["--sparsity", "0.5", flag, value]);
    }
    // No layer has room for it, or none is smaller that way.
    let message = prune(&["--sparsity", "0.1", "--encoding", "nm2:4"]);
    assert!(message.contains("no layer can be stored as nm2:4"), "{message}");
    for args in [
        &["convert", MODEL, "-o", "a.sct"][..],
        &["demo", "-o", "a.sct"],
        &["convert", MODEL],
        &["run", "a.sct", "-o", "y.npy"],
        &["eval", "a.sct"],
        &["eval", "a.sct", "--data", DATA, "--mean", "1,2"],
        &["eval", "a.sct", "--data", DATA, "--std", "1,2,3"],
        &["eval", "a.sct", "--data", DATA, "--std", "1,0"],
        &["bench", "a.sct", "--seconds", "-1"],
        &["bench", "a.sct", "--seconds", "nan"],
        &["bench", "a.sct", "--isa", "none"],
        &["bench"],
        &["bench", "a.sct", "--calibrate", "m.json"],
        &["bench", "a.sct", "--force"],
        &["bench", "--calibrate", "a.sct"],
        &["bench", "a.sct", "--threads", "0"],
        &["bench", "a.sct", "--threads", "257"],
        &["bench", "a.sct", "--threads", "x"],
        &["bench", "a.sct", "--threads", "2", "--no-prepare"],
        &["bench", "a.sct", "--tune", "--no-prepare"],
        &["bench", "a.sct", "--batch", "0"],
        &["bench", "a.sct", "--batch", "-1"],
        &["bench", "a.sct", "--batch", "99999999"],
        &["bench", "a.sct", "--all"],
        &["bench", "a.sct", "--pattern", "4x1"],
        &["bench", "a.sct", "--pattern", "3x1", "--synthetic-sparsity", "0.5"],
        &["bench", "a.sct", "--synthetic-sparsity", "1"],
        &["bench", "a.sct", "--synthetic-sparsity", "nan"],
        &["bench", "a.sct", "--synthetic-sparsity", "0.9", "--pattern", "2:4"],
        &["explain", "a.sct", "--threads", "0"],
        &["explain", "a.sct", "--isa", "none"],
        &["explain", "a.sct", "--no-prepare"],
        &["run", "a.sct", "--input", "x.npy", "-o", "y.npy", "--isa", "none"],
        &["verify", MODEL],
        &["frobnicate"],
        &["inspect", "a.sct", "--force"],
    ] {
        folder.fails(2, args);
    }
    for assertion in [
        "",
        "speedup",
        "speedup=3",
        "speed>=3",
        ">=3",
        "speedup>=",
        "speedup>=x",
        "bytes<nan",
        "bytes>=1>2",
    ] {
        let message = folder.fails(2, &["bench", "a.sct", "--assert", assertion]);
        assert!(message.contains("speedup, latency_ms"), "{message}");
    }
    // No machine has all instruction sets.
    let absent = ["avx512", "avx2", "neon", "simd128"].map(|isa| {
        let outcome = folder.run(&["bench", "a.sct", "--runs", "1", "--seconds", "0", "--isa", isa]);
        let told = ["this CPU has no", "this build has no kernels for"].map(|text| outcome.stderr.contains(text));
        assert_eq!(outcome.code == 2, told.contains(&true), "{}", outcome.stderr);
        outcome.code == 2
    });
    assert!(absent.contains(&true));
    let before = bytes(folder.path("a.sct"));
    assert!(prune(&["--sparsity", "0.5", "--output", "a.sct"]).contains("error"));
    assert_eq!(bytes(folder.path("a.sct")), before);
    assert_eq!(folder.run(&[]).code, 2);
    assert_eq!((folder.run(&["--help"]).code, folder.run(&["--version"]).code), (0, 0));
}

#[test]
fn unreadable_and_unsupported_are_3() {
    let folder = Folder::with_pruned();
    let mut damaged = bytes(folder.path("a.sct"));
    damaged[200] ^= 1;
    folder.write("damaged.sct", &damaged);
    folder.write("empty.sct", b"");
    folder.write("broken.onnx", b"not a model");
    folder.write("empty.onnx", b"");
    folder.write("broken.toml", b"format = 1\n[[node]\n");
    folder.write("x.pt", b"");
    folder.write("cnn.safetensors", &bytes(WEIGHTS)[..1000]);
    folder.write("model.toml", &bytes(MODEL));
    for model in [
        "damaged.sct",
        "empty.sct",
        "broken.onnx",
        "empty.onnx",
        "broken.toml",
        "x.pt",
        "model.toml",
    ] {
        folder.fails(3, &["inspect", model]);
        folder.fails(3, &["convert", model, "-o", "b.sct"]);
        folder.fails(3, &["prune", model, "-o", "b.sct", "--sparsity", "0.5"]);
        folder.fails(3, &["explain", model]);
        folder.fails(3, &["bench", model]);
        folder.fails(3, &["eval", model, "--data", DATA]);
        folder.fails(3, &["run", model, "--input", "x.npy", "-o", "y.npy"]);
        folder.fails(3, &["verify", model]);
        folder.fails(3, &["verify", "a.sct", "--against", model]);
    }

    for (name, text) in [
        ("a.json", "{"),
        ("b.json", "[]"),
        ("c.json", "{\"machine\": \"m\"}"),
        ("d.json", "\u{0}"),
    ] {
        folder.write(name, text.as_bytes());
        for command in ["bench", "explain"] {
            let message = folder.fails(3, &[command, "a.sct", "--machine", name]);
            assert!(message.contains("not a machine file"), "{message}");
        }
    }

    let onnx = bytes(ONNX);
    let relu = onnx.windows(4).position(|name| name == b"Relu").unwrap();
    let operator = [&onnx[..relu], b"Selu", &onnx[relu + 4..]].concat();
    folder.write("selu.onnx", &operator);
    let message = folder.fails(3, &["convert", "selu.onnx", "-o", "b.sct"]);
    assert!(message.contains("Selu"), "{message}");
}

#[test]
fn data_that_does_not_fit_is_3() {
    let folder = Folder::with_pruned();
    folder.write("broken.npz", b"PK\x03\x04");
    folder.write("broken.npy", b"\x93NUMPY");
    folder.write("broken.bin", &[0; 100]);
    folder.write("broken.safetensors", &[0xff; 64]);
    folder.write("broken.toml", b"file = 7");
    folder.write("t-idx3-ubyte", &[0, 0, 8, 3, 0]);
    folder.write("x.csv", b"1,2,3\n");
    npy::write_f32(
        &folder.path("unlabelled.npy"),
        &[2, 1, 8, 8],
        &[0.0; 128],
        Overwrite::Keep,
    )
    .unwrap();
    npy::write_f32(&folder.path("wide.npy"), &[2, 1, 8, 9], &[0.0; 144], Overwrite::Keep).unwrap();
    for data in [
        "broken.npz",
        "broken.npy",
        "broken.bin",
        "broken.safetensors",
        "broken.toml",
        "t-idx3-ubyte",
        "x.csv",
        "unlabelled.npy",
        WEIGHTS,
    ] {
        folder.fails(3, &["eval", "a.sct", "--data", data]);
        folder.fails(
            3,
            &["prune", "a.sct", "-o", "b.sct", "--sparsity", "0.8", "--data", data],
        );
    }
    for input in ["broken.npy", "wide.npy", "x.csv"] {
        folder.fails(3, &["run", "a.sct", "--input", input, "-o", "y.npy"]);
    }
    folder.fails(3, &["eval", ONNX, "--data", DATA]);
}

#[test]
fn input_and_output_are_4() {
    let folder = Folder::with_pruned();
    for model in ["none.sct", "none.onnx", "none.toml", "none/model.toml"] {
        folder.fails(4, &["inspect", model]);
        folder.fails(4, &["convert", model, "-o", "b.sct"]);
    }
    folder.fails(4, &["eval", "a.sct", "--data", "none.toml"]);
    folder.fails(4, &["eval", "a.sct", "--data", "none.npz"]);
    folder.fails(4, &["run", "a.sct", "--input", "none.npy", "-o", "y.npy"]);
    folder.fails(4, &["verify", "a.sct", "--against", "none.onnx"]);
    for command in ["bench", "explain"] {
        folder.fails(4, &[command, "a.sct", "--machine", "none.json"]);
    }
    folder.fails(4, &["bench", "--calibrate", "none/m.json"]);
    folder.write("lost.toml", b"file = 'none.npz'\n");
    folder.fails(4, &["eval", "a.sct", "--data", "lost.toml"]);
    folder.write("model.toml", &bytes(MODEL));
    let message = folder.fails(4, &["inspect", "model.toml"]);
    assert!(message.contains("cnn.safetensors"), "{message}");

    npy::write_f32(&folder.path("x.npy"), &[1, 8, 8], &[0.0; 64], Overwrite::Keep).unwrap();
    // A folder that does not exist, and a file where a folder should be.
    for output in ["none/b.sct", "x.npy/b.sct"] {
        folder.fails(4, &["convert", "a.sct", "-o", output]);
        folder.fails(4, &["prune", "a.sct", "-o", output, "--sparsity", "0.8"]);
        folder.fails(4, &["demo", "-o", output]);
        folder.fails(4, &["run", "a.sct", "--input", "x.npy", "-o", output]);
    }
    // Told early, and what is missing: not the model, which is not there either.
    let message = folder.fails(4, &["convert", "none.sct", "-o", "none/b.sct"]);
    assert!(message.contains("none: no such folder"), "{message}");
}

#[test]
fn outputs_are_guarded() {
    let folder = Folder::with_pruned();
    std::fs::create_dir(folder.path("folder")).unwrap();
    npy::write_f32(&folder.path("x.npy"), &[1, 8, 8], &[0.0; 64], Overwrite::Keep).unwrap();
    folder.write("y.npy", b"");
    let run = ["run", "a.sct", "--input", "x.npy", "-o"];
    for command in [
        &["convert", "a.sct", "-o"][..],
        &["prune", "a.sct", "--sparsity", "0.8", "-o"],
        &run,
    ] {
        for output in ["folder", "folder/", "none/"] {
            let message = folder.fails(2, &[command, &[output, "--force"]].concat());
            assert!(message.contains("is a folder"), "{message}");
        }
        let message = folder.fails(2, &[command, &["y.npy"]].concat());
        assert!(message.contains("--force"), "{message}");
        assert_eq!(bytes(folder.path("y.npy")), b"");
    }
    folder.fails(2, &["demo", "-o", "folder"]);
    for name in ["a.sct", "x.npy", "./a.sct", "folder/../x.npy"] {
        let before = bytes(folder.path(name));
        let message = folder.fails(2, &[&run[..], &[name, "--force"]].concat());
        assert!(message.contains("overwritten while it is read"), "{message}");
        assert_eq!(bytes(folder.path(name)), before);
    }
    folder.ok(&[&run[..], &["y.npy", "--force"]].concat());
    // The model has none stored.
    folder.ok(&["convert", "a.sct", "-o", "strip.sct", "--strip"]);
    let message = folder.fails(
        3,
        &["run", "strip.sct", "--input", "x.npy", "-o", "z.npy", "--preprocess"],
    );
    assert!(message.contains("no preprocessing"), "{message}");
}

/// Channels last are not taken for channels first, though the sizes are the same.
#[test]
fn the_shape_of_samples_must_be_the_models() {
    let folder = Folder::with_pruned();
    let write = |name: &str, shape: &[usize], data: &[f32]| {
        npy::write_f32(&folder.path(name), shape, data, Overwrite::Keep).unwrap();
    };
    write("nhwc.npy", &[2, 8, 8, 1], &[0.0; 128]);
    write("flat.npy", &[2, 64], &[0.0; 128]);
    write("other.npy", &[2, 1, 4, 16], &[0.0; 128]);
    write("labels.npy", &[2], &[1.0, 2.0]);
    let data = |name: &str, more: &str| {
        folder.write(
            "d.toml",
            format!("file = '{name}.npy'\nlabels = 'labels.npy'\n{more}").as_bytes(),
        );
        ["eval", "a.sct", "--data", "d.toml"]
    };
    for name in ["nhwc", "other"] {
        let message = folder.fails(3, &data(name, ""));
        assert!(message.contains("layout = \"nhwc\""), "{message}");
        let prune = ["prune", "a.sct", "-o", "b.sct", "--sparsity", "0.8", "--data", "d.toml"];
        folder.fails(3, &prune);
        folder.write("b.sct", b"before");
        let outcome = folder.run(&[&prune[..], &["--force"]].concat());
        assert_eq!((outcome.code, bytes(folder.path("b.sct"))), (3, b"before".to_vec()));
        std::fs::remove_file(folder.path("b.sct")).unwrap();
    }
    folder.ok(&data("nhwc", "layout = 'nhwc'\n"));
    folder.ok(&data("flat", ""));
}

/// Warnings and progress never reach stdout, and `--quiet` silences them.
#[test]
fn results_alone_are_on_stdout() {
    let folder = Folder::new();
    let prune = |name: &str, more: &[&str]| {
        let args = [
            "prune",
            MODEL,
            "-o",
            name,
            "--sparsity",
            "0.5",
            "--pattern",
            "4x2",
            "--json",
        ];
        folder.run(&[&args[..], more].concat())
    };
    let loud = prune("a.sct", &[]);
    assert!(loud.stderr.contains("warning: conv1: left dense"), "{}", loud.stderr);
    serde_json::from_str::<serde_json::Value>(&loud.stdout).unwrap();
    let quiet = prune("b.sct", &["--quiet", "--data", DATA]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
}
