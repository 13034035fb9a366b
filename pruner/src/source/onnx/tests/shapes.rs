//! Shape arithmetic, and the nodes that cleaning up merges or drops.

use super::*;
use secateur_format::Activation;

#[test]
fn reshapes_after_a_global_mean_disappear() {
    let nodes = vec![
        node("GlobalAveragePool", &["x"], "p", vec![]),
        node("Flatten", &["p"], "y", vec![]),
    ];
    assert_eq!(ops(&graph(&[3, 4, 4], nodes, vec![])), [Op::GlobalAvgPool]);
    let nodes = vec![
        node("GlobalAveragePool", &["x"], "p", vec![]),
        node("Relu", &["p"], "y", vec![]),
    ];
    let built = graph(&[3, 4, 4], nodes, vec![]);
    assert_eq!(
        ops(&built),
        [
            Op::GlobalAvgPool,
            Op::Reshape(shape(&[3, 1, 1])),
            Op::Activation(Activation::Relu)
        ]
    );
    let mean = |axes: &[i64], keep| {
        node(
            "ReduceMean",
            &["x"],
            "y",
            vec![list("axes", axes), int("keepdims", keep)],
        )
    };
    assert_eq!(
        ops(&graph(&[3, 4, 4], vec![mean(&[-1, -2], 0)], vec![])),
        [Op::GlobalAvgPool]
    );
    assert_eq!(
        output_shape(&graph(&[3, 4, 4], vec![mean(&[2, 3], 1)], vec![])),
        shape(&[3, 1, 1])
    );
    assert!(fault(&[3, 4, 4], vec![mean(&[1], 0)], vec![]).contains("ReduceMean"));
}

#[test]
fn the_batch_size_may_flow_into_a_shape() {
    // x.view(x.size(0), -1), as PyTorch exports it.
    let nodes = vec![
        node("Shape", &["x"], "s", vec![]),
        node("Gather", &["s", "zero"], "n", vec![int("axis", 0)]),
        node("Unsqueeze", &["n", "axes"], "n1", vec![]),
        node("Concat", &["n1", "rest"], "t", vec![int("axis", 0)]),
        node("Reshape", &["x", "t"], "y", vec![]),
    ];
    let built = graph(
        &[2, 3, 4],
        nodes,
        vec![scalar("zero", 0), ints("axes", &[0]), ints("rest", &[-1])],
    );
    assert_eq!(ops(&built), [Op::Reshape(shape(&[24]))]);
    let target = |target: &[i64]| {
        load(&model(
            &[2, 6],
            vec![node("Reshape", &["x", "t"], "y", vec![])],
            vec![ints("t", target)],
        ))
    };
    for (good, expected) in [
        (&[0, -1][..], &[12][..]),
        (&[-1, 12], &[12]),
        (&[0, 0, 2, 3], &[2, 2, 3]),
        (&[1, 12], &[12]),
    ] {
        assert_eq!(output_shape(&target(good).unwrap()), shape(expected));
    }
    for bad in [&[-1, 6][..], &[-1, 24], &[2, -1], &[0, -1, -1], &[-1], &[0, 5, -1]] {
        assert!(target(bad).unwrap_err().contains("batch"), "{bad:?}");
    }
    let mixed = vec![node("Flatten", &["x"], "y", vec![int("axis", 2)])];
    assert!(fault(&[2, 6], mixed, vec![]).contains("batch"));
}

#[test]
fn integer_arithmetic_is_done_at_import() {
    // The pads of torch.nn.functional.pad: [2, 3] (from behind) becomes [0, 0, 2, 0, 0, 3].
    let nodes = vec![
        node("Shape", &["p"], "len", vec![]),
        node("Mul", &["rank", "two"], "all", vec![]),
        node("Sub", &["all", "len"], "missing", vec![]),
        node(
            "ConstantOfShape",
            &["missing"],
            "zeros",
            vec![AttributeProto {
                name: "value".to_owned(),
                t: Some(ints("", &[0])),
                kind: attribute_kind::TENSOR,
                ..Default::default()
            }],
        ),
        node("Concat", &["p", "zeros"], "flat", vec![int("axis", 0)]),
        node("Reshape", &["flat", "pairs"], "rows", vec![]),
        node("Slice", &["rows", "minus", "first", "zero", "minus"], "turned", vec![]),
        node("Transpose", &["turned"], "cols", vec![list("perm", &[1, 0])]),
        node("Reshape", &["cols", "minus"], "pads32", vec![]),
        node("Cast", &["pads32"], "pads", vec![int("to", 7)]),
        node("Pad", &["x", "pads"], "y", vec![text("mode", "constant")]),
    ];
    let constants = vec![
        ints("p", &[2, 3]),
        scalar("rank", 3),
        scalar("two", 2),
        ints("pairs", &[-1, 2]),
        ints("minus", &[-1]),
        ints("first", &[i64::MIN]),
        ints("zero", &[0]),
    ];
    let built = graph(&[4, 5], nodes, constants);
    assert_eq!(
        ops(&built),
        [Op::Pad {
            before: [0, 2, 0, 0],
            after: [0, 3, 0, 0],
            value: 0.0
        }]
    );
}

#[test]
fn slices_in_a_row_become_one() {
    let nodes = vec![
        node("Slice", &["x", "zero", "far", "two", "by2"], "a", vec![]),
        node("Slice", &["a", "one", "far", "three", "by2"], "b", vec![]),
        node("Slice", &["b", "one", "far", "two", "one"], "y", vec![]),
    ];
    let constants = vec![
        ints("zero", &[0]),
        ints("one", &[1]),
        ints("two", &[2]),
        ints("three", &[3]),
        ints("by2", &[2]),
        ints("far", &[i64::MAX]),
    ];
    let built = graph(&[3, 5, 6], nodes, constants);
    assert_eq!(
        ops(&built),
        [Op::Slice {
            start: [0, 2, 1, 0],
            end: [3, 5, 6, 1],
            step: [1, 2, 2, 1]
        }]
    );
    assert_eq!(output_shape(&built), shape(&[3, 2, 3]));
    let of_batch = vec![node("Slice", &["x", "zero", "one", "zero"], "y", vec![])];
    assert!(fault(&[3], of_batch, vec![ints("zero", &[0]), ints("one", &[1])]).contains("batch"));
}

#[test]
fn activations_join_the_operator_before() {
    let nodes = |output: &str| {
        let mut nodes = vec![
            node("Add", &["x", "x"], "a", vec![]),
            node("Relu", &["a"], "r", vec![]),
            node("Sigmoid", &["r"], "s", vec![]),
            node("Mul", &["r", "s"], "y", vec![]),
        ];
        nodes.truncate(nodes.iter().position(|node| node.output[0] == output).unwrap() + 1);
        nodes
    };
    let built = graph(&[4], nodes("y"), vec![]);
    assert_eq!(
        ops(&built),
        [Op::Add(Activation::Relu), Op::Activation(Activation::Sigmoid), Op::Mul]
    );
    // An operator whose result is an output itself keeps it.
    let mut both = model(&[4], nodes("r"), vec![]);
    both.graph.as_mut().unwrap().output.push(info("a", vec![]));
    let built = load(&both).unwrap();
    assert_eq!(
        ops(&built),
        [Op::Add(Activation::Identity), Op::Activation(Activation::Relu)]
    );
    assert_eq!(built.outputs.iter().map(|id| id.0).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn operators_without_effect_leave_no_node() {
    let nodes = vec![
        node("Identity", &["x"], "a", vec![]),
        node("Dropout", &["a"], "b", vec![int("seed", 1)]),
        node("Cast", &["b"], "c", vec![int("to", 10)]),
        node("Transpose", &["c"], "d", vec![list("perm", &[0, 1])]),
        node("Unsqueeze", &["d", "one"], "e", vec![]),
        node("Squeeze", &["e", "one"], "f", vec![]),
        node("Flatten", &["f"], "g", vec![]),
        node("Pad", &["g", "none"], "h", vec![]),
        node("Clip", &["h", "low", "high"], "y", vec![]),
        node("Unknown", &["y"], "dead", vec![]),
    ];
    let zero_six = vec![floats("low", &[], &[0.0]), floats("high", &[], &[6.0])];
    let mut model = model(
        &[4],
        nodes,
        [vec![ints("one", &[1]), ints("none", &[0; 4])], zero_six].concat(),
    );
    model.graph.as_mut().unwrap().output = vec![info("y", vec![])];
    assert_eq!(ops(&load(&model).unwrap()), [Op::Activation(Activation::Relu6)]);
}
