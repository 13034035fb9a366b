//! The walk over the nodes of an ONNX graph, and the graph that it builds.

use super::array::axis;
use super::call::{Call, Value, name_of};
use super::cleanup::cleanup;
use super::ops;
use super::schema::{DimensionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type};
use super::tensor;
use crate::source::error::{Fault, shown};
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::{Op, Shape, TensorId, ValueId};
use std::collections::HashMap;

/// Constants that small files may compute, in elements.
const FREE_ELEMENTS: usize = 1_000_000;

/// The graph while it is built.
pub(super) struct Builder {
    graph: Graph,
    shapes: Vec<Shape>,
    /// The first constant made of each tensor of the file.
    tensors: HashMap<String, TensorId>,
    tensor_names: Names,
    names: Names,
    /// The batch size that the file fixes, if it does.
    pub(super) batch: Option<i64>,
    /// Elements that constants may still take: no file may fill the memory.
    budget: usize,
}

impl Builder {
    /// The shape of a value, without the batch.
    pub(super) fn shape(&self, id: ValueId) -> Shape {
        self.shapes.get(usize::from(id.0)).copied().unwrap_or(Shape::SCALAR)
    }

    /// The node that computes a value.
    pub(super) fn producer(&self, id: ValueId) -> Option<&NodeDef> {
        self.graph.nodes.get(self.graph.producer(id)?)
    }

    /// A constant added before.
    pub(super) fn tensor(&self, id: TensorId) -> Option<&Tensor> {
        self.graph.tensor(id)
    }

    /// The axis of a value's shape for an axis of the file, which counts the batch.
    pub(super) fn axis(&self, id: ValueId, onnx: i64) -> Result<u8, Fault> {
        match axis(onnx, self.shape(id).rank() + 1)?.checked_sub(1) {
            Some(axis) => Ok(axis as u8),
            None => Err(mixes_batch(format!("axis {onnx} is the batch dimension"))),
        }
    }

    /// Takes elements from the budget before they are computed.
    pub(super) fn spend(&mut self, elements: usize) -> Result<(), Fault> {
        let fault = || {
            Fault::unsupported(
                "the model computes too many constants",
                "simplify the model first (onnxsim)",
            )
        };
        self.budget = self.budget.checked_sub(elements).ok_or_else(fault)?;
        Ok(())
    }

    /// Adds a node.
    pub(super) fn emit(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<Value, Fault> {
        if self.graph.value_count() >= usize::from(u16::MAX) {
            return Err(Fault::unsupported(
                "the model has too many nodes",
                "at most 65534 are supported",
            ));
        }
        let shapes: Vec<Shape> = inputs.iter().map(|&id| self.shape(id)).collect();
        let misfit = |error| {
            let few = shapes.get(..8).unwrap_or(&shapes);
            Fault::unsupported(format!("inputs {few:?}: {error}"), "shapes here are without the batch")
        };
        self.shapes.push(op.infer(&shapes).map_err(misfit)?);
        let name = self.names.unique(name);
        self.graph.nodes.push(NodeDef {
            name,
            op,
            inputs: inputs.to_vec(),
        });
        Ok(Value::Computed(self.graph.output_of(self.graph.nodes.len() - 1)))
    }

    /// Adds a constant, or finds it if it was added before.
    pub(super) fn add_tensor(&mut self, mut tensor: Tensor) -> Result<TensorId, Fault> {
        if let Some(&id) = self.tensors.get(&tensor.name)
            && self.graph.tensor(id).is_some_and(|old| *old == tensor)
        {
            return Ok(id);
        }
        crate::source::weights::check_finite(&tensor.name, &tensor.data)?;
        self.spend(tensor.data.len())?;
        let next = u16::try_from(self.graph.tensors.len());
        let id =
            next.map_err(|_| Fault::unsupported("the model has too many constants", "at most 65535 are supported"))?;
        self.tensors.entry(tensor.name.clone()).or_insert(TensorId(id));
        tensor.name = self.tensor_names.unique(&tensor.name);
        self.graph.tensors.push(tensor);
        Ok(TensorId(id))
    }

    /// Adds a vector.
    pub(super) fn vector(&mut self, name: &str, data: Vec<f32>) -> Result<TensorId, Fault> {
        self.add_tensor(Tensor::vector(name, data))
    }
}

/// Names that are taken, each with the last number that was appended to it.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    /// Takes the name, or the first free one of `name_1`, `name_2`, ….
    fn unique(&mut self, name: &str) -> String {
        let mut number = self.0.get(name).copied().unwrap_or(0);
        let mut candidate = name.to_owned();
        while self.0.contains_key(&candidate) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        self.0.insert(candidate.clone(), 0);
        self.0.insert(name.to_owned(), number);
        candidate
    }
}

/// The fault of a node that does not treat the samples of a batch alike.
pub(super) fn mixes_batch(problem: impl std::fmt::Display) -> Fault {
    Fault::unsupported(
        problem,
        "samples must be processed independently: export the model without operations on the batch",
    )
}

/// Builds the graph of an ONNX file of `file_size` bytes.
pub(super) fn build(proto: &GraphProto, file_size: usize) -> Result<Graph, Fault> {
    let mut builder = Builder {
        graph: Graph::default(),
        shapes: Vec::new(),
        tensors: HashMap::new(),
        tensor_names: Names::default(),
        names: Names::default(),
        batch: None,
        budget: FREE_ELEMENTS.saturating_add(file_size.saturating_mul(4)),
    };
    let mut walk = Walk {
        values: HashMap::new(),
        initializers: proto
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect(),
    };
    walk.add_inputs(&mut builder, &proto.input)?;
    let live = live_nodes(proto);
    for (node, _) in proto.node.iter().zip(live).filter(|(_, live)| *live) {
        let place = || {
            format!(
                "node {} ({})",
                shown(name_of(node)),
                shown(&node.op_type).trim_matches('`')
            )
        };
        let value = walk.call(&mut builder, node).map_err(|fault| fault.within(place()))?;
        if let Some(output) = node.output.first() {
            walk.values.insert(output, value);
        }
    }
    for output in &proto.output {
        match walk.lookup(&output.name)? {
            Value::Computed(id) => builder.graph.outputs.push(id),
            Value::Constant(_) => {
                let problem = format!("output {} does not depend on the inputs", shown(&output.name));
                return Err(Fault::unsupported(problem, "remove it from the outputs"));
            }
        }
    }
    let invalid = |error| Fault::unsupported(error, "check the file with onnx.checker");
    builder.graph.shapes().map_err(invalid)?;
    let graph = cleanup(builder.graph, &builder.shapes);
    graph.shapes().map_err(invalid)?;
    Ok(graph)
}

/// Which nodes the outputs depend on.
fn live_nodes(proto: &GraphProto) -> Vec<bool> {
    let outputs = proto
        .node
        .iter()
        .enumerate()
        .flat_map(|(i, node)| node.output.iter().map(move |name| (name.as_str(), i)));
    let producers: HashMap<&str, usize> = outputs.collect();
    let mut live = vec![false; proto.node.len()];
    let mut wanted: Vec<&str> = proto.output.iter().map(|output| output.name.as_str()).collect();
    while let Some(name) = wanted.pop() {
        let Some(&index) = producers.get(name) else { continue };
        if let (Some(live @ false), Some(node)) = (live.get_mut(index), proto.node.get(index)) {
            *live = true;
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }
    live
}

/// The names of the file that have a value.
struct Walk<'a> {
    values: HashMap<&'a str, Value>,
    /// Read when a node first uses them: unused ones may be of any type.
    initializers: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Walk<'a> {
    fn add_inputs(&mut self, builder: &mut Builder, inputs: &'a [ValueInfoProto]) -> Result<(), Fault> {
        // Old exporters list the initializers among the inputs.
        for info in inputs
            .iter()
            .filter(|info| !self.initializers.contains_key(info.name.as_str()))
        {
            let place = || format!("input {}", shown(&info.name));
            let shape = input_shape(builder, info).map_err(|fault| fault.within(place()))?;
            let next = u16::try_from(builder.graph.inputs.len());
            let id =
                next.map_err(|_| Fault::unsupported("the model has too many inputs", "at most 65535 are supported"))?;
            let name = builder.names.unique(&info.name);
            builder.graph.inputs.push(Input { name, shape });
            builder.shapes.push(shape);
            self.values.insert(&info.name, Value::Computed(ValueId(id)));
        }
        Ok(())
    }

    /// What a name stands for.
    fn lookup(&mut self, name: &'a str) -> Result<Value, Fault> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let Some(tensor) = self.initializers.get(name) else {
            return Err(Fault::unreadable(
                format!(
                    "{} is used, but no input, initializer or earlier node provides it",
                    shown(name)
                ),
                "check the file with onnx.checker; of nodes with several outputs only the first is supported",
            ));
        };
        let constant = tensor::read(tensor).map_err(|fault| fault.within(format!("tensor {}", shown(name))))?;
        let value = Value::from(constant);
        self.values.insert(name, value.clone());
        Ok(value)
    }

    /// The first output of a node.
    fn call(&mut self, builder: &mut Builder, node: &'a NodeProto) -> Result<Value, Fault> {
        let operator = ops::find(node)?;
        let inputs: Result<Vec<Option<Value>>, Fault> = node
            .input
            .iter()
            .map(|name| {
                if name.is_empty() {
                    Ok(None)
                } else {
                    self.lookup(name).map(Some)
                }
            })
            .collect();
        let mut call = Call::new(node, inputs?);
        let function = match (operator.fold, operator.compute) {
            (Some(fold), _) if call.is_constant() => fold,
            (_, Some(compute)) => compute,
            _ => {
                return Err(Fault::unsupported(
                    "the operator is supported for constants only, and an input is computed by the network",
                    "export the model without it",
                ));
            }
        };
        let value = function(builder, &mut call)?;
        call.finish()?;
        Ok(value)
    }
}

/// The shape of an input without the batch, which must be its first dimension.
fn input_shape(builder: &mut Builder, info: &ValueInfoProto) -> Result<Shape, Fault> {
    let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let tensor =
        tensor.ok_or_else(|| Fault::unsupported("it is not a tensor", "export the model with tensor inputs"))?;
    if ![
        data_type::FLOAT,
        data_type::FLOAT16,
        data_type::BFLOAT16,
        data_type::DOUBLE,
    ]
    .contains(&tensor.elem_type)
    {
        let problem = format!("its element type is {}", tensor.elem_type);
        return Err(Fault::unsupported(problem, "export the model with f32 inputs"));
    }
    let dims = tensor
        .shape
        .as_ref()
        .map(|shape| shape.dim.as_slice())
        .unwrap_or_default();
    let Some((batch, rest)) = dims.split_first() else {
        return Err(Fault::unsupported(
            "it has no shape",
            "export the model with the shapes of its inputs",
        ));
    };
    if let Some(batch) = batch.dim_value {
        if batch < 1 || builder.batch.is_some_and(|other| other != batch) {
            let problem = format!("its batch size is {batch}");
            return Err(Fault::unsupported(
                problem,
                "the first dimension must be one batch size for all inputs",
            ));
        }
        builder.batch = Some(batch);
    }
    let sizes: Result<Vec<u32>, Fault> = rest.iter().map(size).collect();
    let remedy = "inputs need 1 to 4 dimensions after the batch";
    Shape::new(&sizes?).map_err(|error| Fault::unsupported(error, remedy))
}

fn size(dim: &DimensionProto) -> Result<u32, Fault> {
    let size = dim.dim_value.and_then(|size| u32::try_from(size).ok());
    size.ok_or_else(|| {
        let problem = match (&dim.dim_value, &dim.dim_param) {
            (Some(value), _) => format!("a dimension is {value}"),
            (None, Some(name)) => format!("dimension {} has no fixed size", shown(name)),
            (None, None) => "a dimension has no size".to_owned(),
        };
        let remedy = "only the first dimension, the batch, may vary: fix the others \
                      (python -m onnxruntime.tools.make_dynamic_shape_fixed)";
        Fault::unsupported(problem, remedy)
    })
}
