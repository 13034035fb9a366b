//! The graph while it is built, node by node, from a description.

use super::attributes::Attributes;
use super::{Table, Text, ops};
use crate::source::error::{Fault, shown};
use crate::source::nearest::suggestion;
use crate::source::weights::Weights;
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::MAX_INPUTS;
use secateur_format::{Shape, TensorId, ValueId};
use std::collections::HashMap;
use toml::Spanned;

/// The graph so far.
pub(super) struct Builder<'a, 'b> {
    text: Text<'a>,
    weights: &'a mut Weights<'b>,
    graph: Graph,
    shapes: Vec<Shape>,
    values: HashMap<String, ValueId>,
    tensors: HashMap<String, TensorId>,
}

impl<'a, 'b> Builder<'a, 'b> {
    pub(super) fn new(text: Text<'a>, weights: &'a mut Weights<'b>) -> Self {
        let (graph, shapes) = (Graph::default(), Vec::new());
        Self {
            text,
            weights,
            graph,
            shapes,
            values: HashMap::new(),
            tensors: HashMap::new(),
        }
    }

    /// Adds a graph input.
    pub(super) fn add_input(&mut self, name: &Spanned<String>, shape: Shape) -> Result<(), Fault> {
        let id = self
            .next_value(name.get_ref())
            .map_err(|fault| fault.within(self.text.place(name.span())))?;
        self.values.insert(name.get_ref().clone(), id);
        self.graph.inputs.push(Input {
            name: name.get_ref().clone(),
            shape,
        });
        self.shapes.push(shape);
        Ok(())
    }

    /// The channels of the first input.
    pub(super) fn first_channels(&self) -> Option<u32> {
        self.shapes.first()?.dims().first().copied()
    }

    /// The id of the value that is added next, under a name that must be new.
    fn next_value(&self, name: &str) -> Result<ValueId, Fault> {
        if name.is_empty() || self.values.contains_key(name) {
            let problem = if name.is_empty() {
                "a name is empty".to_owned()
            } else {
                format!("the name {} is taken", shown(name))
            };
            return Err(Fault::unreadable(
                problem,
                "give every input and node a name of its own",
            ));
        }
        match u16::try_from(self.shapes.len()) {
            Ok(id) if id < u16::MAX => Ok(ValueId(id)),
            _ => Err(Fault::unsupported(
                "there are too many nodes",
                "at most 65534 are supported",
            )),
        }
    }

    /// Adds a node.
    pub(super) fn add_node(&mut self, node: Spanned<Table>) -> Result<(), Fault> {
        let span = node.span();
        let mut attributes = Attributes::new(self.text, node.into_inner());
        let place = self.text.place(span);
        let required = |text: Option<String>, name: &str| {
            let fault = || {
                Fault::unreadable(format!("a node has no `{name}`"), "every node needs `name` and `op`").within(&place)
            };
            text.ok_or_else(fault)
        };
        let name = required(attributes.text("name")?, "name")?;
        let op = required(attributes.text("op")?, "op")?;
        let at_node = |fault: Fault| {
            fault.within(format!(
                "{place}: node {} ({})",
                shown(&name),
                shown(&op).trim_matches('`')
            ))
        };
        let id = self.next_value(&name).map_err(at_node)?;
        let inputs = self.inputs(&mut attributes).map_err(at_node)?;
        let shapes: Vec<Shape> = inputs
            .iter()
            .filter_map(|id| self.shapes.get(usize::from(id.0)).copied())
            .collect();
        let input = shapes.first().copied().unwrap_or(Shape::SCALAR);
        let built = ops::build(self, &mut attributes, &name, &op, input).map_err(at_node)?;
        attributes.finish(&op).map_err(at_node)?;
        let misfit = |error| {
            let problem = format!("with inputs of shape {shapes:?}: {error}");
            at_node(Fault::unreadable(
                problem,
                "correct the attributes or `inputs` (shapes are without the batch)",
            ))
        };
        self.shapes.push(built.infer(&shapes).map_err(misfit)?);
        self.graph.nodes.push(NodeDef {
            name: name.clone(),
            op: built,
            inputs,
        });
        self.values.insert(name, id);
        Ok(())
    }

    /// The values a node reads: those it names, or the last one.
    fn inputs(&self, attributes: &mut Attributes<'_>) -> Result<Vec<ValueId>, Fault> {
        match attributes.texts("inputs")? {
            Some(names) if names.is_empty() || names.len() > MAX_INPUTS => {
                let problem = format!("`inputs` holds {} names", names.len());
                Err(Fault::unreadable(problem, &format!("1 to {MAX_INPUTS} are supported")))
            }
            Some(names) => names.iter().map(|name| self.value(name)).collect(),
            None if self.graph.nodes.is_empty() && self.graph.inputs.len() > 1 => Err(Fault::unreadable(
                "it is not clear which input it reads",
                "name it with `inputs`",
            )),
            None => Ok(vec![ValueId(self.shapes.len().saturating_sub(1) as u16)]),
        }
    }

    /// The value of a name.
    fn value(&self, name: &str) -> Result<ValueId, Fault> {
        self.values.get(name).copied().ok_or_else(|| {
            let mut names: Vec<&str> = self.values.keys().map(String::as_str).collect();
            names.sort_unstable();
            let near = suggestion(name, names);
            Fault::unreadable(
                format!("no input or earlier node is called {}{near}", shown(name)),
                "correct the name, or move the node behind the one it reads",
            )
        })
    }

    /// The matrix of a convolution, with its `[out, in / groups, height, width]`; `described` is what it is without a
    /// weights file, here and below.
    pub(super) fn kernel(&mut self, name: &str, described: Option<[u32; 4]>) -> Result<(TensorId, [u32; 4]), Fault> {
        let described = described.map(|oihw| oihw.map(|dim| dim as usize));
        let (dims, data) = self
            .weights
            .read(name, described.as_ref().map(<[usize; 4]>::as_slice))?;
        let sizes: Option<Vec<u32>> = dims.iter().map(|&dim| u32::try_from(dim).ok()).collect();
        let fault = || {
            let problem = format!("tensor {} has shape {dims:?}", shown(name));
            Fault::unreadable(problem, "a convolution needs weights [out, in / groups, height, width]")
        };
        let oihw = sizes
            .and_then(|sizes| <[u32; 4]>::try_from(sizes).ok())
            .ok_or_else(fault)?;
        let tensor = Tensor::from_oihw(name, oihw, &data).ok_or_else(fault)?;
        Ok((self.add_tensor(tensor)?, oihw))
    }

    /// A matrix `[out, in]`, with the number of its rows.
    pub(super) fn matrix(&mut self, name: &str, described: Option<[u32; 2]>) -> Result<(TensorId, u32), Fault> {
        let described = described.map(|dims| dims.map(|dim| dim as usize));
        let (dims, data) = self
            .weights
            .read(name, described.as_ref().map(<[usize; 2]>::as_slice))?;
        let fault = || {
            let problem = format!("tensor {} has shape {dims:?}", shown(name));
            Fault::unreadable(problem, "a linear node needs weights [out, in]")
        };
        let &[rows, cols] = dims.as_slice() else {
            return Err(fault());
        };
        let (rows, cols) = (
            u32::try_from(rows).map_err(|_| fault())?,
            u32::try_from(cols).map_err(|_| fault())?,
        );
        Ok((
            self.add_tensor(Tensor {
                name: name.to_owned(),
                rows,
                cols,
                data,
            })?,
            rows,
        ))
    }

    /// A vector.
    pub(super) fn vector(&mut self, name: &str, described: u32) -> Result<TensorId, Fault> {
        let (dims, data) = self.weights.read(name, Some(&[described as usize]))?;
        if dims.len() != 1 {
            let problem = format!("tensor {} has shape {dims:?}", shown(name));
            return Err(Fault::unreadable(
                problem,
                "it must be a vector, one number per channel",
            ));
        }
        self.add_tensor(Tensor::vector(name, data))
    }

    /// A vector that may be absent.
    pub(super) fn optional_vector(&mut self, name: &str, described: u32) -> Result<Option<TensorId>, Fault> {
        if self.weights.contains(name) {
            self.vector(name, described).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Adds a constant once, however many nodes use it. A tensor's own shape decides what it is
    /// read as, so that one name stands for one constant.
    fn add_tensor(&mut self, tensor: Tensor) -> Result<TensorId, Fault> {
        if let Some(&id) = self.tensors.get(&tensor.name) {
            return Ok(id);
        }
        let next = u16::try_from(self.graph.tensors.len());
        let id = next
            .map(TensorId)
            .map_err(|_| Fault::unsupported("there are too many tensors", "at most 65535 are supported"))?;
        self.tensors.insert(tensor.name.clone(), id);
        self.graph.tensors.push(tensor);
        Ok(id)
    }

    /// The graph, with the named outputs or else the last node's.
    pub(super) fn finish(mut self, outputs: Option<&[Spanned<String>]>) -> Result<Graph, Fault> {
        if self.graph.nodes.is_empty() {
            return Err(Fault::unreadable("it has no nodes", "add a [[node]] table for each"));
        }
        self.graph.outputs = match outputs {
            Some([]) => {
                return Err(Fault::unreadable(
                    "`outputs` is empty",
                    "name an output, or leave `outputs` out",
                ));
            }
            Some(names) => {
                let value = |name: &Spanned<String>| {
                    self.value(name.get_ref())
                        .map_err(|fault| fault.within(self.text.place(name.span())))
                };
                names.iter().map(value).collect::<Result<_, _>>()?
            }
            None => vec![ValueId(self.shapes.len().saturating_sub(1) as u16)],
        };
        self.graph
            .shapes()
            .map_err(|error| Fault::unreadable(error, "check that the weights belong to this description"))?;
        Ok(self.graph)
    }
}
