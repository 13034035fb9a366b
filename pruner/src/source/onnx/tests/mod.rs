//! Small models, made here, and what becomes of them.

mod hostile;
mod operators;
mod shapes;

use super::import;
use super::schema::*;
use prost::Message;
use secateur_format::graph::Graph;
use secateur_format::{Op, Shape};

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
