use super::schema::*;
use super::*;
use secateur_format::graph::Graph;
use secateur_format::op::{Conv2d, Pool, PoolKind};
use secateur_format::{Activation, Op, Shape};

fn dim(value: i64) -> DimensionProto {
    DimensionProto {
        dim_value: Some(value),
        dim_param: None,
    }
}

fn batch() -> DimensionProto {
    DimensionProto {
        dim_value: None,
        dim_param: Some("N".to_owned()),
    }
}

fn info(name: &str, dims: Vec<DimensionProto>) -> ValueInfoProto {
    let tensor = TensorTypeProto {
        elem_type: data_type::FLOAT,
        shape: Some(TensorShapeProto { dim: dims }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}

fn floats(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    let (dims, raw_data) = (
        dims.to_vec(),
        data.iter()
            .copied()
            .flat_map(f32::to_le_bytes)
            .collect::<Vec<u8>>()
            .into(),
    );
    TensorProto {
        name: name.to_owned(),
        dims,
        data_type: data_type::FLOAT,
        raw_data,
        ..Default::default()
    }
}

fn ints(name: &str, data: &[i64]) -> TensorProto {
    let (dims, int64_data) = (vec![data.len() as i64], data.to_vec());
    TensorProto {
        name: name.to_owned(),
        dims,
        data_type: data_type::INT64,
        int64_data,
        ..Default::default()
    }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto {
        dims: vec![],
        ..ints(name, &[value])
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i,
        kind: attribute_kind::INT,
        ..Default::default()
    }
}

fn list(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: attribute_kind::INTS,
        ..Default::default()
    }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f,
        kind: attribute_kind::FLOAT,
        ..Default::default()
    }
}

fn text(name: &str, s: &'static str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: s.as_bytes().into(),
        kind: attribute_kind::STRING,
        ..Default::default()
    }
}

/// `x` is the input, and the last node's output is the graph's.
fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let input = inputs.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: op.to_owned(),
        input,
        output: vec![output.to_owned()],
        attribute,
        ..Default::default()
    }
}

fn model(shape: &[i64], node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let dims = std::iter::once(batch()).chain(shape.iter().copied().map(dim)).collect();
    let output = node
        .last()
        .map(|node| info(&node.output[0], vec![]))
        .into_iter()
        .collect();
    let graph = GraphProto {
        node,
        initializer,
        input: vec![info("x", dims)],
        output,
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
    }
}

fn load(model: &ModelProto) -> Result<Graph, String> {
    import(model.encode_to_vec()).map_err(|fault| format!("{fault:?}"))
}

fn graph(shape: &[i64], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Graph {
    load(&model(shape, nodes, initializers)).unwrap()
}

fn fault(shape: &[i64], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> String {
    load(&model(shape, nodes, initializers)).unwrap_err()
}

fn ops(graph: &Graph) -> Vec<Op> {
    graph.nodes.iter().map(|node| node.op).collect()
}

fn shape(dims: &[u32]) -> Shape {
    Shape::new(dims).unwrap()
}

fn output_shape(graph: &Graph) -> Shape {
    graph.shapes().unwrap()[usize::from(graph.outputs[0].0)]
}

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
