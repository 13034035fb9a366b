//! Files that other tools may write: nothing fused, constants in any order.

use secateur_format::container::writer::{Extras, Layout};
use secateur_format::encoding::{Encoding, Packed, Quantized, ValueType, pack};
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::Linear;
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};
use serde_json::json;

use crate::support::{DATA, Folder, MODEL, OTHER, keys, number};

/// The bytes of a file with the graph, its constants stored as said.
fn file(graph: &Graph, stored: &[(Encoding, ValueType)]) -> Vec<u8> {
    let packed: Vec<Packed> = graph
        .tensors
        .iter()
        .zip(stored)
        .map(|(tensor, &(encoding, values))| {
            pack(&Quantized::new(&tensor.data, tensor.cols, values).unwrap(), encoding).unwrap()
        })
        .collect();
    let descs: Vec<_> = packed.iter().map(|packed| packed.desc).collect();
    let options = PlanOptions {
        scratch: Scratch::None,
        align: 16,
    };
    let layout = Layout::new(graph, &descs, &options, &Extras::default()).unwrap();
    layout.write(&packed).unwrap()
}

fn graph(input: &[u32]) -> Graph {
    let input = Input {
        name: "x".into(),
        shape: Shape::new(input).unwrap(),
    };
    Graph {
        inputs: vec![input],
        ..Graph::default()
    }
}

/// Appends a node that reads the value before it.
fn push(graph: &mut Graph, name: &str, op: Op) {
    graph.nodes.push(NodeDef {
        name: name.into(),
        op,
        inputs: vec![ValueId(graph.nodes.len() as u16)],
    });
    graph.outputs = vec![graph.output_of(graph.nodes.len() - 1)];
}

fn linear(weight: u16, out_features: u32) -> Op {
    Op::Linear(Linear {
        weight: TensorId(weight),
        bias: None,
        out_features,
        activation: Activation::Identity,
    })
}

/// One weight in each group of three.
fn one_of_three(name: &str, rows: u32, cols: u32) -> Tensor {
    let weight = |i| if i % 3 == 1 { 0.8 - (i % 7) as f32 / 4.0 } else { 0.0 };
    Tensor {
        name: name.into(),
        rows,
        cols,
        data: (0..rows * cols).map(weight).collect(),
    }
}

/// A relu on its own between linears; the last two share constant 0, the first has constant 1.
fn shared() -> Graph {
    let mut graph = graph(&[9]);
    graph.tensors = vec![one_of_three("late", 6, 6), one_of_three("early", 6, 9)];
    push(&mut graph, "first", linear(1, 6));
    push(&mut graph, "act", Op::Activation(Activation::Relu));
    push(&mut graph, "second", linear(0, 6));
    push(&mut graph, "again", linear(0, 6));
    graph
}

fn nm13(values: ValueType) -> (Encoding, ValueType) {
    (Encoding::Nm { n: 1, m: 3 }, values)
}

#[test]
fn nodes_and_constants_are_paired_right() {
    let folder = Folder::new();
    let stored = [nm13(ValueType::F16), (Encoding::Csr16, ValueType::F16)];
    folder.write("f.sct", &file(&shared(), &stored));
    let explained = folder.json(&["explain", "f.sct"]);
    let told = |layer: &serde_json::Value| ["node", "encoding", "values", "cols"].map(|key| layer[key].clone());
    let layers: Vec<_> = explained["layers"].as_array().unwrap().iter().map(told).collect();
    let expected = [
        json!(["first", "csr16", "f16", 9]),
        json!(["second", "nm1:3", "f16", 6]),
        json!(["again", "nm1:3", "f16", 6]),
    ];
    assert_eq!(json!(layers), json!(expected));

    let bench = folder.json(&["bench", "f.sct", "--runs", "2", "--seconds", "0"]);
    assert_eq!(bench["dense_values"], "f16");
    let told = |layer: &serde_json::Value| ["node", "op", "encoding", "values"].map(|key| layer[key].clone());
    let layers: Vec<_> = bench["layers"].as_array().unwrap().iter().map(told).collect();
    let expected = [
        json!(["first", "linear", "csr16", "f16"]),
        json!(["act", "relu", null, null]),
        json!(["second", "linear", "nm1:3", "f16"]),
        json!(["again", "linear", "nm1:3", "f16"]),
    ];
    assert_eq!(json!(layers), json!(expected));

    let nodes = &folder.json(&["inspect", "f.sct"])["nodes"];
    let weights = |i: usize| ["encoding", "values", "weights"].map(|key| nodes[i][key].clone());
    assert_eq!(json!(weights(0)), json!(["csr16", "f16", 54]));
    assert_eq!(json!(weights(1)), json!([null, null, null]));
    assert_eq!(json!(weights(3)), json!(["nm1:3", "f16", 36]));
    assert_eq!(nodes[2]["zeros"], 24);
    assert!(number(&nodes[0], "bytes") > 0.0 && nodes[1]["bytes"].is_null());
    folder.ok(&["verify", "f.sct"]);
}

/// In execution order, a shared matrix once; 1:3 is an encoding as any other.
#[test]
fn foreign_files_convert() {
    let folder = Folder::new();
    folder.write("f.sct", &file(&shared(), &[nm13(ValueType::F32); 2]));
    let found = folder.json(&["convert", "f.sct", "-o", "g.sct", "--encoding", "nm1:3"]);
    let layers = found["layers"].as_array().unwrap();
    let told: Vec<_> = layers
        .iter()
        .map(|layer| (layer["node"].clone(), layer["encoding"].clone()))
        .collect();
    assert_eq!(json!(told), json!([["first", "nm1:3"], ["second", "nm1:3"]]));
    // The relu is part of the linear now.
    let message = folder.fails(1, &["verify", "g.sct", "--against", "f.sct"]);
    assert!(message.contains("3 nodes, not 4"), "{message}");
    let candidates = &folder.json(&["explain", "g.sct"])["layers"][0]["candidates"];
    let encodings: Vec<_> = candidates.as_array().unwrap().iter().map(|c| &c["encoding"]).collect();
    assert!(encodings.contains(&&json!("nm1:3")) && encodings.contains(&&json!("nm3:9")));
}

#[test]
fn verify_compares_inputs_outputs_and_shapes() {
    let folder = Folder::new();
    let relu = |dims: &[u32], count: usize| {
        let mut graph = graph(dims);
        (0..count).for_each(|i| push(&mut graph, &format!("n{i}"), Op::Activation(Activation::Relu)));
        graph
    };
    let write = |name: &str, graph: &Graph| folder.write(name, &file(graph, &[]));
    let mut early = relu(&[4], 2);
    early.outputs = vec![early.output_of(0)];
    let mut both = relu(&[4], 2);
    both.outputs.push(both.output_of(0));
    let mut other = relu(&[4], 2);
    other.nodes[1].op = Op::Activation(Activation::Relu6);
    write("f.sct", &relu(&[4], 2));
    for (graph, difference) in [
        (relu(&[5], 2), "other inputs or outputs"),
        (relu(&[4, 1], 2), "other inputs or outputs"),
        (early, "other inputs or outputs"),
        (both, "other inputs or outputs"),
        (relu(&[4], 1), "2 nodes, not 1"),
        (other, "node `n1` is another operator"),
    ] {
        write("g.sct", &graph);
        let message = folder.fails(1, &["verify", "f.sct", "--against", "g.sct"]);
        assert!(message.contains(difference), "{message}");
    }
    folder.ok(&["verify", "f.sct", "--against", "f.sct"]);
    // And there is nothing to prune in it.
    let message = folder.fails(3, &["prune", "f.sct", "-o", "p.sct", "--sparsity", "0.5"]);
    assert!(message.contains("no linear or convolution layers"), "{message}");
}

#[test]
fn a_failed_verification_is_reported_as_json_too() {
    let folder = Folder::with_pruned();
    let outcome = folder.run(&["verify", "a.sct", "--against", OTHER, "--json"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let expected = [
        "error",
        "failure",
        "tolerance",
        "valid",
        "weights_equal",
        "weights_pruned",
    ];
    assert_eq!(keys(&found), expected);
    assert_eq!(found["valid"], false);
    let failure = found["failure"].as_str().unwrap();
    assert!(failure.contains("was not made from") && outcome.stderr.contains(failure));
    assert!(number(&found, "error") <= number(&found, "tolerance"));
    assert!(found["weights_equal"].is_null());
}

/// Nothing is wrong with a file of i8 weights, but this build has no kernels for them.
#[test]
fn a_file_without_kernels_is_unsupported() {
    let folder = Folder::new();
    let i8 = concat!(env!("CARGO_MANIFEST_DIR"), "/../format/tests/golden/i8.sct");
    for args in [
        &["verify", i8][..],
        &["verify", i8, "--json"],
        &["explain", i8],
        &["bench", i8],
    ] {
        let message = folder.fails(3, args);
        assert!(message.contains("no kernel"), "{message}");
    }
    assert_eq!(folder.json(&["inspect", i8])["nodes"][0]["values"], "i8");
    folder.ok(&["convert", i8, "-o", "f.sct"]);
    folder.ok(&["verify", "f.sct"]);
}

/// Ten outputs for an 8x8 image, all of them inf - inf if pixels are infinite.
#[test]
fn outputs_that_are_no_numbers_are_wrong() {
    let folder = Folder::new();
    let mut graph = graph(&[64]);
    let weights = (0..640).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 });
    graph.tensors = vec![Tensor {
        name: "w".into(),
        rows: 10,
        cols: 64,
        data: weights.collect(),
    }];
    push(&mut graph, "fc", linear(0, 10));
    folder.write("f.sct", &file(&graph, &[(Encoding::Dense, ValueType::F32)]));
    let correct = |scale: &str| folder.json(&["eval", "f.sct", "--data", DATA, "--scale", scale])["correct"].clone();
    // Ten equal outputs: the first is taken.
    assert_eq!(correct("1"), 35);
    assert_eq!(correct("3e38"), 0);
}

#[test]
fn models_are_recognised_by_content_or_name() {
    let folder = Folder::with_pruned();
    for name in ["a.onnx", "a.SCT", "a", "a.toml"] {
        std::fs::copy(folder.path("a.sct"), folder.path(name)).unwrap();
        assert_eq!(folder.json(&["inspect", name])["parameters"], 15_338, "{name}");
        folder.ok(&["verify", name, "--against", MODEL]);
    }
    for name in ["onnx.sct", "onnx.Sct"] {
        std::fs::copy(crate::support::ONNX, folder.path(name)).unwrap();
        let message = folder.fails(3, &["inspect", name]);
        assert!(message.contains(name), "{message}");
        folder.fails(3, &["verify", "a.sct", "--against", name]);
    }
}
