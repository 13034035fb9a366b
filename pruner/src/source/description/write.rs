//! Writing a model as a description and a safetensors file, which [`load`](super::load) reads back.

use super::super::Model;
use super::FORMAT;
use super::ops::{EPS, SLOPE};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, serialize};
use secateur_format::graph::{Graph, NodeDef};
use secateur_format::op::PoolKind;
use secateur_format::{Activation, MAX_RANK, Op, Shape, TensorId, ValueId};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use toml::Value;

/// The content of a description and of its weights file.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The description.
    pub text: String,
    /// The safetensors file.
    pub weights: Vec<u8>,
}

/// Writes `model` for a weights file that will be called `weights_name` and lie beside the description.
///
/// Tensors keep their names where those are as in PyTorch (`x.weight`, `x.bias`); others are called after
/// their nodes.
///
/// # Errors
/// When the weights cannot be serialised; a graph whose shapes are `Ok` can.
pub fn write(model: &Model, weights_name: &str) -> Result<Written, SafeTensorError> {
    let graph = &model.graph;
    let mut text = format!(
        "format = {FORMAT}\nname = {}\nweights = {}\n",
        quoted(&model.name),
        quoted(weights_name)
    );
    let inputs: Vec<String> = graph
        .inputs
        .iter()
        .map(|input| format!("{{ name = {}, shape = {} }}", quoted(&input.name), input.shape))
        .collect();
    match inputs.as_slice() {
        [input] => text += &format!("input = {input}\n"),
        inputs => text += &format!("inputs = [{}]\n", inputs.join(", ")),
    }
    if graph.outputs != [ValueId(graph.value_count() as u16 - 1)] {
        text += &format!("outputs = {}\n", names(graph, &graph.outputs));
    }
    if let Some(preprocess) = &model.preprocess {
        text += &format!("\n[preprocess]\nscale = {:?}\n", preprocess.scale);
        for (key, list) in [("mean", &preprocess.mean), ("std", &preprocess.std)] {
            if !list.is_empty() {
                text += &format!("{key} = {list:?}\n");
            }
        }
    }
    let mut tensors = Tensors::default();
    let shapes = graph.shapes().unwrap_or_default();
    for (index, node) in graph.nodes.iter().enumerate() {
        text += &self::node(graph, &shapes, index, node, &mut tensors);
    }
    Ok(Written {
        text,
        weights: tensors.serialize(graph)?,
    })
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn names(graph: &Graph, ids: &[ValueId]) -> String {
    let names: Vec<String> = ids.iter().map(|&id| quoted(graph.name(id))).collect();
    format!("[{}]", names.join(", "))
}

/// One `[[node]]` table.
fn node(graph: &Graph, shapes: &[Shape], index: usize, node: &NodeDef, tensors: &mut Tensors) -> String {
    let mut table = Table(format!("\n[[node]]\nname = {}\n", quoted(&node.name)));
    let input = node.inputs.first().and_then(|id| shapes.get(usize::from(id.0)));
    let input = input.copied().unwrap_or(Shape::SCALAR);
    let op = match &node.op {
        Op::Activation(Activation::Identity) => "reshape",
        op => op.name(),
    };
    table.set("op", quoted(op));
    let previous = ValueId((graph.inputs.len() + index).saturating_sub(1) as u16);
    if node.inputs != [previous] || (index == 0 && graph.inputs.len() > 1) {
        table.set("inputs", names(graph, &node.inputs));
    }
    match &node.op {
        Op::Conv2d(conv) => {
            tensors.refer(
                graph,
                node,
                &[("weight", Some(conv.weight)), ("bias", conv.bias)],
                Some(conv.kernel),
                &mut table,
            );
            table.unless("groups", conv.groups, 1);
            table.unless_list("stride", &conv.stride, &[1; 2]);
            table.unless_list("padding", &conv.pads, &[0; 4]);
            table.unless_list("dilation", &conv.dilation, &[1; 2]);
            table.fused(conv.activation);
        }
        Op::Linear(linear) => {
            tensors.refer(
                graph,
                node,
                &[("weight", Some(linear.weight)), ("bias", linear.bias)],
                None,
                &mut table,
            );
            table.fused(linear.activation);
        }
        Op::BatchNorm(bn) => {
            let parts = [
                ("weight", Some(bn.scale)),
                ("bias", Some(bn.bias)),
                ("running_mean", Some(bn.mean)),
                ("running_var", Some(bn.var)),
            ];
            tensors.refer(graph, node, &parts, None, &mut table);
            if bn.eps != EPS {
                table.set("eps", format!("{:?}", bn.eps));
            }
        }
        Op::Activation(Activation::Identity) => table.set("shape", input),
        Op::Activation(activation) => table.slope(*activation),
        Op::Add(activation) => table.fused(*activation),
        Op::Concat { axis } => table.set("axis", axis),
        Op::Pool(pool) => {
            table.set("kernel", format!("{:?}", pool.kernel));
            table.unless_list("stride", &pool.stride, &pool.kernel);
            table.unless_list("padding", &pool.pads, &[0; 4]);
            if pool.kind == PoolKind::AverageWithPadding {
                table.set("count_include_pad", true);
            }
        }
        Op::Reshape(shape) => table.set("shape", shape),
        Op::Pad { before, after, value } => {
            let rank = input.rank();
            table.unless_list("before", &before[..rank], &[0; MAX_RANK][..rank]);
            table.unless_list("after", &after[..rank], &[0; MAX_RANK][..rank]);
            table.unless("value", format!("{value:?}"), "0.0".to_owned());
        }
        Op::Slice { start, end, step } => {
            let rank = input.rank();
            table.unless_list("start", &start[..rank], &[0; MAX_RANK][..rank]);
            table.unless_list("end", &end[..rank], input.dims());
            table.unless_list("step", &step[..rank], &[1; MAX_RANK][..rank]);
        }
        Op::Softmax { axis } => table.unless("axis", *axis, 0),
        _ => {}
    }
    table.0
}

/// The text of a node's table.
struct Table(String);

impl Table {
    fn set(&mut self, key: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn unless<T: Display + PartialEq>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.set(key, value);
        }
    }

    fn unless_list<T: std::fmt::Debug + PartialEq>(&mut self, key: &str, value: &[T], default: &[T]) {
        if value != default {
            self.set(key, format!("{value:?}"));
        }
    }

    fn fused(&mut self, activation: Activation) {
        if activation != Activation::Identity {
            self.set("activation", quoted(activation.name()));
            self.slope(activation);
        }
    }

    fn slope(&mut self, activation: Activation) {
        if let Activation::LeakyRelu(slope) = activation
            && slope != SLOPE
        {
            self.set("slope", format!("{slope:?}"));
        }
    }
}

/// The tensors of the weights file by name, each with the kernel's size if it is that of a convolution.
#[derive(Default)]
struct Tensors(BTreeMap<String, (TensorId, Option<[u16; 2]>)>);

impl Tensors {
    /// Takes the tensors of a node into the file, and says in its table what they are called.
    fn refer(
        &mut self,
        graph: &Graph,
        node: &NodeDef,
        parts: &[(&str, Option<TensorId>)],
        kernel: Option<[u16; 2]>,
        table: &mut Table,
    ) {
        let own = |id: TensorId| graph.tensor(id).map_or("", |tensor| tensor.name.as_str());
        let weight = parts.iter().find_map(|&(_, id)| id).map_or("", own);
        let named = weight.strip_suffix(".weight").filter(|prefix| {
            let as_usual =
                |&(part, id): &(&str, Option<TensorId>)| id.is_none_or(|id| own(id) == format!("{prefix}.{part}"));
            parts.iter().all(as_usual)
        });
        let free = |prefix: &str| {
            let fits = |&(part, id): &(&str, Option<TensorId>)| {
                let taken = self.0.get(&format!("{prefix}.{part}"));
                id.is_none_or(|id| taken.is_none_or(|&taken| taken == (id, kernel.filter(|_| part == "weight"))))
            };
            parts.iter().all(fits)
        };
        let mut prefix = named.filter(|prefix| free(prefix)).unwrap_or(&node.name).to_owned();
        while !free(&prefix) {
            prefix.push('_');
        }
        for &(part, id) in parts {
            let name = format!("{prefix}.{part}");
            match id {
                Some(id) => drop(self.0.insert(name, (id, kernel.filter(|_| part == "weight")))),
                // Said always, as a later node may bring a bias of that name.
                None => table.set("bias", false),
            }
        }
        table.unless("tensors", quoted(&prefix), quoted(&node.name));
    }

    fn serialize(&self, graph: &Graph) -> Result<Vec<u8>, SafeTensorError> {
        let mut parts = Vec::new();
        for (name, (id, kernel)) in &self.0 {
            let Some(tensor) = graph.tensor(*id) else { continue };
            let (rows, cols) = (tensor.rows as usize, tensor.cols as usize);
            let (shape, data) = match kernel {
                Some(kernel) => {
                    let [kh, kw] = kernel.map(usize::from);
                    (vec![rows, cols / (kh * kw), kh, kw], tensor.to_oihw(*kernel))
                }
                None if is_matrix(graph, *id) => (vec![rows, cols], tensor.data.clone()),
                None => (vec![cols], tensor.data.clone()),
            };
            let bytes: Vec<u8> = data.iter().flat_map(|value| value.to_le_bytes()).collect();
            parts.push((name.as_str(), shape, bytes));
        }
        let views = parts
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
        serialize(views.collect::<Result<Vec<_>, SafeTensorError>>()?, None)
    }
}

/// Whether a linear node uses the constant as its matrix, which may have one row.
fn is_matrix(graph: &Graph, id: TensorId) -> bool {
    graph
        .nodes
        .iter()
        .any(|node| matches!(&node.op, Op::Linear(linear) if linear.weight == id))
}
