//! What is not sound or not supported.

use super::*;

#[test]
fn what_is_not_supported_is_named() {
    let cases = [
        (
            vec![node("Einsum", &["x"], "y", vec![])],
            "node `y` (Einsum): operator `Einsum` is not supported; the supported ones are Add, ",
        ),
        (
            vec![node("Transpose", &["x"], "y", vec![list("perm", &[0, 2, 1])])],
            "channels first",
        ),
        (
            vec![node("Relu", &["x"], "y", vec![int("slope", 1)])],
            "attribute `slope` is not supported",
        ),
        (
            vec![node("Concat", &["x", "x"], "y", vec![int("axis", 0)])],
            "batch dimension",
        ),
        (
            vec![node("Gelu", &["x"], "y", vec![text("approximate", "tanh")])],
            "exact Gelu",
        ),
        (
            vec![node("Add", &["x", "nothing"], "y", vec![])],
            "`nothing` is used, but no input",
        ),
        (vec![node("Gather", &["x", "i"], "y", vec![])], "constants only"),
    ];
    for (nodes, expected) in cases {
        let message = fault(&[2, 3], nodes, vec![ints("i", &[0])]);
        assert!(message.contains(expected), "{message}");
    }
    let mut foreign = node("Relu", &["x"], "y", vec![]);
    foreign.domain = "com.microsoft".to_owned();
    assert!(fault(&[2], vec![foreign], vec![]).contains("com.microsoft"));
    let mut old = model(&[2], vec![node("Relu", &["x"], "y", vec![])], vec![]);
    old.opset_import[0].version = 12;
    assert!(load(&old).unwrap_err().contains("opset 12"));
}

#[test]
fn inputs_need_sizes_but_for_the_batch() {
    let with_dims = |dims| {
        let mut model = model(&[], vec![node("Relu", &["x"], "y", vec![])], vec![]);
        model.graph.as_mut().unwrap().input = vec![info("x", dims)];
        load(&model)
    };
    assert_eq!(output_shape(&with_dims(vec![dim(4), dim(3)]).unwrap()), shape(&[3]));
    assert!(
        with_dims(vec![batch(), batch()])
            .unwrap_err()
            .contains("`N` has no fixed size")
    );
    for bad in [
        vec![],
        vec![dim(3)],
        vec![batch(), dim(0)],
        vec![batch(), dim(-1)],
        vec![batch(), dim(1 << 31)],
        vec![dim(0), dim(3)],
    ] {
        assert!(with_dims(bad).is_err());
    }
}

#[test]
fn constants_that_would_fill_the_memory_are_refused() {
    let huge = vec![
        node("ConstantOfShape", &["s"], "c", vec![]),
        node("Add", &["x", "c"], "y", vec![]),
    ];
    assert!(fault(&[2], huge, vec![ints("s", &[1 << 20, 1 << 20])]).contains("too many constants"));
    let range = vec![
        node("Range", &["a", "b", "c"], "r", vec![]),
        node("Reshape", &["x", "r"], "y", vec![]),
    ];
    let bounds = vec![scalar("a", i64::MIN), scalar("b", i64::MAX), scalar("c", 1)];
    assert!(fault(&[2], range, bounds).contains("too many constants"));
    // Each doubles the one before.
    let mut nodes: Vec<NodeProto> = (0..60)
        .map(|i| {
            node(
                "Concat",
                &[format!("c{i}").as_str(); 2],
                &format!("c{}", i + 1),
                vec![int("axis", 0)],
            )
        })
        .collect();
    nodes.push(node("Reshape", &["x", "c60"], "y", vec![]));
    assert!(fault(&[2], nodes, vec![ints("c0", &[1])]).contains("too many constants"));
    // No elements, but so many blocks that a loop over them would never end.
    let empty = vec![
        node("Concat", &["e", "e"], "c", vec![int("axis", 1)]),
        node("Add", &["x", "c"], "y", vec![]),
    ];
    let e = TensorProto {
        dims: vec![1 << 50, 0],
        ..ints("e", &[])
    };
    assert!(load(&model(&[2], empty, vec![e])).is_err());
}

fn small() -> Vec<u8> {
    let nodes = vec![
        node(
            "Conv",
            &["x", "k", "b"],
            "c",
            vec![list("pads", &[1, 1, 1, 1]), int("group", 1)],
        ),
        node(
            "BatchNormalization",
            &["c", "b", "b", "b", "b"],
            "n",
            vec![float("epsilon", 1e-3)],
        ),
        node("Relu", &["n"], "r", vec![]),
        node("Slice", &["r", "s", "e"], "t", vec![]),
        node("Shape", &["t"], "d", vec![]),
        node("Slice", &["d", "s", "s1"], "n0", vec![]),
        node("Concat", &["n0", "open"], "target", vec![int("axis", 0)]),
        node("Reshape", &["t", "target"], "f", vec![]),
        node("Gemm", &["f", "w"], "y", vec![int("transB", 1)]),
    ];
    let constants = vec![
        floats("k", &[2, 1, 3, 3], &[0.5; 18]),
        floats("b", &[2], &[1.0, 2.0]),
        floats("w", &[1, 8], &[1.0; 8]),
        ints("s", &[0]),
        ints("s1", &[1]),
        ints("e", &[i64::MAX]),
        ints("open", &[-1]),
    ];
    model(&[1, 2, 2], nodes, constants).encode_to_vec()
}

#[test]
fn truncated_files_are_refused() {
    let bytes = small();
    assert!(import(bytes.clone()).is_ok());
    // The opset comes last: no prefix is a model.
    for length in 0..bytes.len() {
        assert!(import(bytes[..length].to_vec()).is_err(), "{length} bytes");
    }
}

#[test]
fn damaged_files_never_panic() {
    let bytes = small();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = import(bytes);
    }
    // A linear congruential generator: the same damage in every run.
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let mut bytes = bytes.clone();
        for _ in 0..1 + random(6) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        let _ = import(bytes);
    }
}
