//! The self-check of written files: it sees what is wrong, whatever the scale.

use secateur::emit::{CheckError, EmitOptions, TOLERANCE, check, emit_lowered};
use secateur::source::sct;
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::Linear;
use secateur_format::{Activation, Limits, Model, Op, Shape, TensorId, ValueId};
use secateur_runtime::ArenaBuf;

use crate::support::path;

/// Two linears of one input, with outputs of the sizes of `scales`.
fn two_outputs(scales: [f32; 2]) -> Graph {
    let node = |i: u16| NodeDef {
        name: format!("n{i}"),
        op: Op::Linear(Linear {
            weight: TensorId(i),
            bias: None,
            out_features: 3,
            activation: Activation::Identity,
        }),
        inputs: vec![ValueId(0)],
    };
    let tensor = |scale: f32| Tensor {
        name: format!("{scale}"),
        rows: 3,
        cols: 5,
        data: (0..15).map(|i| scale * (1.0 - (i % 4) as f32 / 2.0)).collect(),
    };
    Graph {
        inputs: vec![Input {
            name: "x".into(),
            shape: Shape::new(&[5]).unwrap(),
        }],
        nodes: vec![node(0), node(1)],
        outputs: vec![ValueId(1), ValueId(2)],
        tensors: scales.map(tensor).into(),
    }
}

fn written(graph: &Graph) -> Vec<u8> {
    emit_lowered(graph, graph, &EmitOptions::default()).unwrap().bytes
}

/// How far apart the check finds a file and a graph that was changed.
fn found(graph: &Graph, changed: &Graph) -> f64 {
    match check(changed, graph, &written(graph)) {
        Err(CheckError::Differs { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_output_has_its_own_scale() {
    let graph = two_outputs([1e6, 1.0]);
    let passed = check(&graph, &graph, &written(&graph)).unwrap();
    assert!(passed.error <= TOLERANCE && passed.lowering_error == 0.0);
    for output in 0..2 {
        let mut changed = graph.clone();
        changed.tensors[output].data[0] *= 1.01;
        // Nothing beside the largest value of both outputs, but much of its own.
        let error = found(&graph, &changed);
        assert!((1e-4..1e-1).contains(&error), "{error:e}");
    }
}

#[test]
fn what_is_no_number_differs() {
    let graph = two_outputs([1.0, 1.0]);
    let mut changed = graph.clone();
    changed.tensors[1].data[3] = f32::NAN;
    assert!(found(&graph, &changed).is_nan());
}

#[test]
fn missing_kernels_are_no_difference() {
    let bytes = std::fs::read(path("../format/tests/golden/i8.sct")).unwrap();
    let aligned = ArenaBuf::copy_of(&bytes);
    let graph = sct::graph(&Model::read(aligned.as_ref(), &Limits::HOST).unwrap()).unwrap();
    let error = check(&graph, &graph, &bytes).unwrap_err();
    assert!(matches!(error, CheckError::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("no kernel"), "{error}");
}
