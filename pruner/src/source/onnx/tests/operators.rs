//! Operators with attributes or weights.

use super::*;
use secateur_format::op::{Conv2d, Pool, PoolKind};

#[test]
fn gemm_folds_its_factors() {
    let w = || floats("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let b = || floats("b", &[1, 3], &[1.0, 1.0, 2.0]);
    let factors = vec![float("alpha", 2.0), float("beta", 0.5)];
    let built = graph(&[2], vec![node("Gemm", &["x", "w", "b"], "y", factors)], vec![w(), b()]);
    assert_eq!(built.tensors[0].data, [2.0, 8.0, 4.0, 10.0, 6.0, 12.0]);
    assert_eq!((built.tensors[0].rows, built.tensors[0].cols), (3, 2));
    assert_eq!(built.tensors[1].data, [0.5, 0.5, 1.0]);
    assert_eq!(output_shape(&built), shape(&[3]));
    let straight = graph(
        &[3],
        vec![node("Gemm", &["x", "w"], "y", vec![int("transB", 1)])],
        vec![w()],
    );
    assert_eq!(straight.tensors[0].data, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert!(
        fault(
            &[2],
            vec![node("Gemm", &["x", "w"], "y", vec![int("transA", 1)])],
            vec![w()]
        )
        .contains("transA")
    );
}

#[test]
fn added_constants_become_biases() {
    let w = floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let nodes = vec![
        node("MatMul", &["x", "w"], "m", vec![]),
        node("Add", &["b", "m"], "y", vec![]),
    ];
    let built = graph(&[2], nodes, vec![w, floats("b", &[2], &[5.0, 6.0])]);
    assert_eq!((built.nodes.len(), built.tensors.len()), (1, 2));
    assert_eq!(built.tensors[0].data, [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(built.tensors[1].data, [5.0, 6.0]);

    let k = floats("k", &[2, 1, 1, 1], &[1.0, 2.0]);
    let nodes = |inputs: &[&str]| vec![node("Conv", inputs, "c", vec![]), node("Add", &["c", "b"], "y", vec![])];
    let planes = || floats("b", &[2, 1, 1], &[5.0, 6.0]);
    let built = graph(
        &[1, 2, 2],
        nodes(&["x", "k", "a"]),
        vec![k.clone(), floats("a", &[2], &[0.5, 0.5]), planes()],
    );
    assert_eq!(built.tensors[1].data, [5.5, 6.5]);
    let along_width = fault(&[1, 2, 2], nodes(&["x", "k"]), vec![k, floats("b", &[2], &[5.0, 6.0])]);
    assert!(along_width.contains("per channel"), "{along_width}");
}

#[test]
fn same_padding_puts_the_odd_row_where_onnx_says() {
    let pads = |mode: &'static str| {
        let k = floats("k", &[1, 1, 3, 2], &[1.0; 6]);
        let attributes = vec![text("auto_pad", mode), list("strides", &[2, 1])];
        let built = graph(&[1, 4, 5], vec![node("Conv", &["x", "k"], "y", attributes)], vec![k]);
        let Op::Conv2d(Conv2d { pads, .. }) = built.nodes[0].op else {
            panic!()
        };
        (pads, output_shape(&built))
    };
    assert_eq!(pads("SAME_UPPER"), ([0, 0, 1, 1], shape(&[1, 2, 5])));
    assert_eq!(pads("SAME_LOWER"), ([1, 1, 0, 0], shape(&[1, 2, 5])));
    assert_eq!(pads("VALID"), ([0; 4], shape(&[1, 1, 4])));
}

#[test]
fn pools_are_read_with_their_kind_of_mean() {
    let kernel = || list("kernel_shape", &[2, 2]);
    let kind = |op: &str, mut attributes: Vec<AttributeProto>| {
        attributes.push(kernel());
        match graph(&[1, 4, 4], vec![node(op, &["x"], "y", attributes)], vec![]).nodes[0].op {
            Op::Pool(Pool { kind, .. }) => kind,
            other => panic!("{other:?}"),
        }
    };
    let padded = || list("pads", &[1, 1, 1, 1]);
    assert_eq!(kind("MaxPool", vec![]), PoolKind::Max);
    assert_eq!(kind("AveragePool", vec![padded()]), PoolKind::Average);
    assert_eq!(
        kind("AveragePool", vec![padded(), int("count_include_pad", 1)]),
        PoolKind::AverageWithPadding
    );
    assert_eq!(
        kind("AveragePool", vec![int("count_include_pad", 1)]),
        PoolKind::Average
    );
    let ceil = |stride| vec![kernel(), int("ceil_mode", 1), list("strides", &[stride, stride])];
    assert!(load(&model(&[1, 4, 4], vec![node("MaxPool", &["x"], "y", ceil(2))], vec![])).is_ok());
    assert!(fault(&[1, 4, 4], vec![node("MaxPool", &["x"], "y", ceil(3))], vec![]).contains("ceil_mode"));
}
