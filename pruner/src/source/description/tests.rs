use super::*;
use safetensors::{Dtype, serialize, tensor::TensorView};
use secateur_format::graph::Graph;
use secateur_format::{Activation, Op};

fn weights() -> Vec<u8> {
    file(&[
        ("conv.weight", vec![4, 1, 3, 3]),
        ("conv.bias", vec![4]),
        ("bn.weight", vec![4]),
        ("bn.bias", vec![4]),
        ("bn.running_mean", vec![4]),
        ("bn.running_var", vec![4]),
        ("fc.weight", vec![2, 4]),
    ])
}

/// A weights file of ones.
fn file(tensors: &[(&str, Vec<usize>)]) -> Vec<u8> {
    let data = [1.0f32; 5000].map(f32::to_le_bytes).concat();
    let view = |(name, dims): &(&str, Vec<usize>)| {
        let bytes = &data[..4 * dims.iter().product::<usize>()];
        (
            name.to_string(),
            TensorView::new(Dtype::F32, dims.clone(), bytes).unwrap(),
        )
    };
    serialize(tensors.iter().map(view), None).unwrap()
}

fn graph_of(text: &str) -> Result<Graph, String> {
    graph_with(text, &weights())
}

fn graph_with(text: &str, bytes: &[u8]) -> Result<Graph, String> {
    let mut weights = Weights::open(bytes).unwrap();
    let built = parse(text).and_then(|description| build(Text(text), description, &mut weights));
    built.map_err(|fault| fault.in_file(Path::new("m.toml")).to_string())
}

const HEAD: &str = "format = 1\ninput = { name = 'x', shape = [1, 6, 6] }\n";

/// Nodes as inline tables, one per line, from line 3 on.
fn nodes(nodes: &str) -> Result<Graph, String> {
    graph_of(&format!("{HEAD}node = [\n{nodes}\n]\n"))
}

fn op(node: &str) -> Op {
    nodes(node).unwrap_or_else(|error| panic!("{error}")).nodes[0].op
}

#[test]
fn attributes_have_their_defaults() {
    let Op::Conv2d(conv) = op("{ name = 'conv', op = 'conv2d' }") else {
        panic!()
    };
    assert_eq!(
        (conv.kernel, conv.stride, conv.dilation, conv.pads, conv.groups),
        ([3; 2], [1; 2], [1; 2], [0; 4], 1)
    );
    assert!(conv.bias.is_some());
    let all = "{ name = 'c', op = 'conv2d', tensors = 'conv', stride = [2, 1], padding = [1, 2], dilation = 2, \
               groups = 1, bias = false, activation = 'leaky_relu', slope = 0.5 }";
    let Op::Conv2d(conv) = op(all) else { panic!() };
    assert_eq!(
        (conv.stride, conv.dilation, conv.pads, conv.bias),
        ([2, 1], [2; 2], [1, 2, 1, 2], None)
    );
    assert_eq!(conv.activation, Activation::LeakyRelu(0.5));
    let Op::Pool(pool) = op("{ name = 'p', op = 'max_pool', kernel = 2, padding = [0, 0, 1, 1] }") else {
        panic!()
    };
    assert_eq!((pool.stride, pool.pads), ([2; 2], [0, 0, 1, 1]));
    assert_eq!(
        op("{ name = 'p', op = 'pad', before = [1, 0, 0] }"),
        Op::Pad {
            before: [1, 0, 0, 0],
            after: [0; 4],
            value: 0.0
        }
    );
    let slice = Op::Slice {
        start: [0; 4],
        end: [1, 6, 6, 1],
        step: [1, 2, 3, 1],
    };
    assert_eq!(op("{ name = 's', op = 'slice', step = [1, 2, 3] }"), slice);
    assert_eq!(op("{ name = 's', op = 'softmax' }"), Op::Softmax { axis: 0 });
    assert_eq!(
        op("{ name = 'f', op = 'flatten' }"),
        Op::Reshape(Shape::new(&[36]).unwrap())
    );
}

#[test]
fn nodes_read_the_last_value_or_those_they_name() {
    let graph = nodes(
        "{ name = 'conv', op = 'conv2d', padding = 1 },\n{ name = 'bn', op = 'batch_norm' },\n\
         { name = 'sum', op = 'add', inputs = ['bn', 'conv'], activation = 'relu' },\n\
         { name = 'mean', op = 'global_avg_pool' },\n{ name = 'fc', op = 'linear' }",
    )
    .unwrap();
    let inputs: Vec<Vec<u16>> = graph
        .nodes
        .iter()
        .map(|node| node.inputs.iter().map(|id| id.0).collect())
        .collect();
    assert_eq!(inputs, [vec![0], vec![1], vec![2, 1], vec![3], vec![4]]);
    assert_eq!(graph.outputs[0].0, 5);
    let two = "format = 1\noutputs = ['a', 'x']\ninputs = [{ name = 'x', shape = [2] }, { name = 'z', shape = [2] }]\n\
               node = [{ name = 'a', op = 'mul', inputs = ['x', 'z'] }, { name = 'b', op = 'relu' }]\n";
    assert_eq!(
        graph_of(two).unwrap().outputs.iter().map(|id| id.0).collect::<Vec<_>>(),
        [2, 0]
    );
}

#[test]
fn errors_say_where_and_what() {
    for (node, expected) in [
        (
            "{ name = 'r', op = 'relu', stride = 2 }",
            "line 4, column 37: relu has no attribute `stride`",
        ),
        (
            "{ name = 'c', op = 'con2d' }",
            "operator `con2d` is unknown (did you mean `conv2d`?); the operators are conv2d, ",
        ),
        (
            "{ name = 'convv', op = 'conv2d' }",
            "no tensor `convv.weight` (did you mean `conv.weight`?)",
        ),
        (
            "{ name = 'conv', op = 'conv2d', strides = 2 }",
            "conv2d has no attribute `strides` (did you mean `stride`?)",
        ),
        (
            "{ name = 'conv', op = 'conv2d', stride = 'x' }",
            "line 4, column 42: attribute `stride` is",
        ),
        (
            "{ name = 'conv', op = 'conv2d', stride = -1 }",
            "it must be a whole number, or [vertical, horizontal]",
        ),
        (
            "{ name = 'conv', op = 'conv2d', groups = 2 }",
            "channels are not divisible by the groups",
        ),
        (
            "{ name = 'conv', op = 'conv2d', activation = 'rely' }",
            "did you mean `relu`?",
        ),
        ("{ name = 'x', op = 'relu' }", "the name `x` is taken"),
        ("{ name = '', op = 'relu' }", "a name is empty"),
        ("{ op = 'relu' }", "a node has no `name`"),
        ("{ name = 'r' }", "a node has no `op`"),
        (
            "{ name = 'r', op = 'relu', inputs = ['y'] }",
            "no input or earlier node is called `y`",
        ),
        ("{ name = 'r', op = 'relu', inputs = [] }", "`inputs` holds 0 names"),
        ("{ name = 'a', op = 'add' }", "the operator takes 2 inputs, not 1"),
        ("{ name = 'p', op = 'max_pool' }", "attribute `kernel` is missing"),
        (
            "{ name = 'p', op = 'pad', before = [1] }",
            "has 1 numbers for an input of shape [1, 6, 6]",
        ),
        ("{ name = 'fc', op = 'linear', bias = true }", "no tensor `fc.bias`"),
        (
            "{ name = 'f', op = 'flatten' }, { name = 'fc', op = 'linear' }",
            "needs `fc.weight` to be 2x36",
        ),
        (
            "{ name = 'l', op = 'linear', tensors = 'conv' }",
            "a linear node needs weights [out, in]",
        ),
        ("", "it has no nodes"),
    ] {
        let error = nodes(node).unwrap_err();
        assert!(error.contains(expected), "{node}\n{error}");
        assert!(error.starts_with("m.toml: "), "{error}");
    }
}

#[test]
fn the_head_is_checked() {
    for (text, expected) in [
        ("format = 2\n", "line 1, column 10: format is 2"),
        ("input = { name = 'x', shape = [1] }\n", "missing field `format`"),
        ("format = 1\nwieghts = 'x'\n", "line 2, column 1"),
        ("format = 1\n", "it must have either `input` or `inputs`"),
        (
            "format = 1\ninput = { name = 'x', shape = [0] }\n",
            "line 2, column 31: a dimension is zero",
        ),
        (
            "format = 1\ninput = { name = 'x', shape = [3] }\n[preprocess]\nmean = [1, 2]\n",
            "[preprocess]: ",
        ),
        (
            "format = 1\noutputs = ['y']\ninput = { name = 'x', shape = [3] }\nnode = [{ name = 'r', op = 'relu' }]",
            "line 2, column 12",
        ),
        (
            "format = 1\noutputs = []\ninput = { name = 'x', shape = [3] }\nnode = [{ name = 'r', op = 'relu' }]",
            "`outputs` is empty",
        ),
    ] {
        let error = graph_of(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn node_errors_carry_the_line_of_the_table() {
    let text = format!("{HEAD}\n[[node]]\nname = 'r'\nop = 'relu'\n\n[[node]]\nname = 's'\nop = 'sotfmax'\n");
    let error = graph_of(&text).unwrap_err();
    assert!(error.contains("line 8, column 1: node `s`"), "{error}");
}

#[test]
fn the_documented_example_is_a_model() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/model-toml.md");
    let text = std::fs::read_to_string(path).unwrap();
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let weights = file(&[
        ("stem.weight", vec![16, 3, 3, 3]),
        ("block.conv.weight", vec![16, 16, 3, 3]),
        ("block.bn.weight", vec![16]),
        ("block.bn.bias", vec![16]),
        ("block.bn.running_mean", vec![16]),
        ("block.bn.running_var", vec![16]),
        ("down.weight", vec![32, 16, 3, 3]),
        ("classifier.weight", vec![10, 32]),
    ]);
    assert_eq!(graph_with(example, &weights).unwrap().nodes.len(), 7);
}

/// Every attribute away from its default, shared tensors, names that are not as usual.
#[test]
fn what_is_written_is_read_back() {
    let text = "format = 1\nname = 'all \"of\" it'\noutputs = ['soft', 'x']\n\
        inputs = [{ name = 'x', shape = [2, 6, 5] }, { name = 'z', shape = [2, 6, 5] }]\n\
        [preprocess]\nscale = 0.5\nmean = [1.0, -2.5]\nstd = [0.1]\n\
        [[node]]\nname = 'c'\nop = 'conv2d'\ninputs = ['z']\nstride = [1, 2]\npadding = [1, 2, 3, 4]\ndilation = [2, 1]\n\
        groups = 2\nactivation = 'leaky_relu'\nslope = 0.3\n\
        [[node]]\nname = 'c2'\nop = 'conv2d'\ninputs = ['x']\ntensors = 'c'\nbias = false\npadding = 1\ngroups = 2\n\
        [[node]]\nname = 'bn'\nop = 'batch_norm'\neps = 0.001\n\
        [[node]]\nname = 'cut'\nop = 'slice'\nstart = [0, 1, 0]\nend = [4, 6, 5]\nstep = [1, 2, 3]\n\
        [[node]]\nname = 'wide'\nop = 'pad'\nbefore = [0, 1, 0]\nafter = [0, 0, 2]\nvalue = -1.5\n\
        [[node]]\nname = 'join'\nop = 'concat'\ninputs = ['wide', 'wide']\naxis = 0\n\
        [[node]]\nname = 'max'\nop = 'max_pool'\nkernel = [2, 1]\nstride = 1\npadding = [1, 0, 0, 0]\n\
        [[node]]\nname = 'mean'\nop = 'avg_pool'\nkernel = 2\ncount_include_pad = true\n\
        [[node]]\nname = 'sum'\nop = 'add'\ninputs = ['mean', 'mean']\nactivation = 'silu'\n\
        [[node]]\nname = 'flat'\nop = 'flatten'\n\
        [[node]]\nname = 'fc'\nop = 'linear'\n\
        [[node]]\nname = 'turn'\nop = 'reshape'\nshape = [1, 3]\n\
        [[node]]\nname = 'soft'\nop = 'softmax'\naxis = 1\n";
    let bytes = file(&[
        ("c.weight", vec![4, 1, 3, 2]),
        ("c.bias", vec![4]),
        ("bn.weight", vec![4]),
        ("bn.bias", vec![4]),
        ("bn.running_mean", vec![4]),
        ("bn.running_var", vec![4]),
        ("fc.weight", vec![3, 32]),
    ]);
    let mut graph = graph_with(text, &bytes).unwrap_or_else(|error| panic!("{error}"));
    for (i, w) in graph.tensors.iter_mut().flat_map(|t| &mut t.data).enumerate() {
        *w = i as f32;
    }
    let preprocess = Preprocess {
        scale: 0.5,
        mean: vec![1.0, -2.5],
        std: vec![0.1],
    };
    let mut model = Model {
        name: "all \"of\" it".into(),
        graph,
        preprocess: Some(preprocess),
        unused: Vec::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let read_back = |model: &Model| {
        let written = write(model, "w.safetensors").unwrap();
        std::fs::write(folder.path().join("model.toml"), &written.text).unwrap();
        std::fs::write(folder.path().join("w.safetensors"), &written.weights).unwrap();
        load(&folder.path().join("model.toml"), None).unwrap_or_else(|error| panic!("{error}\n{}", written.text))
    };
    assert_eq!(read_back(&model), model);
    // Names that no description has become those of the nodes.
    model
        .graph
        .tensors
        .iter_mut()
        .for_each(|tensor| tensor.name = "onnx::1".into());
    let back = read_back(&model);
    assert_eq!(back.graph.tensors.iter().map(|t| &t.data).collect::<Vec<_>>().len(), 8);
    assert_eq!(back.graph.nodes.len(), model.graph.nodes.len());
    assert_eq!(back.graph.shapes(), model.graph.shapes());
}

/// A network with every operator that has weights.
const NETWORK: &str = "{ name = 'conv', op = 'conv2d', out_channels = 4, kernel = 3, padding = 1 },
    { name = 'bn', op = 'batch_norm' },
    { name = 'pool', op = 'global_avg_pool' },
    { name = 'flat', op = 'flatten' },
    { name = 'fc', op = 'linear', out_features = 2, bias = false }";

#[test]
fn without_weights_the_description_gives_their_shapes() {
    let described = {
        let text = format!("{HEAD}node = [\n{NETWORK}\n]\n");
        build(Text(&text), parse(&text).unwrap(), &mut Weights::undrawn()).unwrap()
    };
    let mut loaded = nodes(NETWORK).unwrap();
    for tensor in &mut loaded.tensors {
        tensor.data.fill(0.0);
    }
    assert_eq!(described, loaded);

    let undrawn = |node: &str| {
        let text = format!("{HEAD}node = [\n{node}\n]\n");
        let built = parse(&text).and_then(|description| build(Text(&text), description, &mut Weights::undrawn()));
        built.unwrap_err().in_file(Path::new("m.toml")).to_string()
    };
    let error = undrawn("{ name = 'conv', op = 'conv2d', out_channels = 4 }");
    assert!(error.contains("`out_channels` and `kernel` of a conv2d"), "{error}");
    let error = undrawn("{ name = 'conv', op = 'conv2d', out_channels = 4294967295, kernel = 65535 }");
    assert!(error.contains("weights of a layer are supported"), "{error}");
}

#[test]
fn a_description_must_not_contradict_its_weights() {
    for (node, expected) in [
        (
            "{ name = 'conv', op = 'conv2d', out_channels = 5 }",
            "`out_channels` is 5, but the weights have 4",
        ),
        (
            "{ name = 'conv', op = 'conv2d', kernel = [3, 1] }",
            "`kernel` is [3, 1], but the weights have [3, 3]",
        ),
    ] {
        let error = nodes(node).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
