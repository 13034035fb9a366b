//! One node as its operator's function sees it: inputs and attributes.

use super::array::{Array, Constant, Int};
use super::schema::{AttributeProto, NodeProto, attribute_kind as kind};
use super::tensor;
use crate::source::error::{Fault, shown};
use secateur_format::ValueId;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a name in the file stands for.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Known at import.
    Constant(Rc<Constant>),
    /// Computed from the inputs of the network, with the batch as its first dimension.
    Computed(ValueId),
}

impl<T: Into<Constant>> From<T> for Value {
    fn from(constant: T) -> Self {
        Self::Constant(Rc::new(constant.into()))
    }
}

/// A node with its inputs looked up.
pub(super) struct Call<'a> {
    /// The node.
    pub(super) node: &'a NodeProto,
    /// Its inputs; `None` where an optional one is left out.
    pub(super) inputs: Vec<Option<Value>>,
    /// The attributes that nobody has asked for yet.
    attributes: BTreeMap<&'a str, &'a AttributeProto>,
}

impl<'a> Call<'a> {
    pub(super) fn new(node: &'a NodeProto, inputs: Vec<Option<Value>>) -> Self {
        let attributes = node
            .attribute
            .iter()
            .map(|attribute| (attribute.name.as_str(), attribute))
            .collect();
        Self {
            node,
            inputs,
            attributes,
        }
    }

    /// The node's name, or its output's if it has none.
    pub(super) fn name(&self) -> &'a str {
        name_of(self.node)
    }

    /// The name of an input.
    pub(super) fn input_name(&self, index: usize) -> &'a str {
        self.node.input.get(index).map_or("", String::as_str)
    }

    /// Whether every input that is given is a constant.
    pub(super) fn is_constant(&self) -> bool {
        self.inputs
            .iter()
            .flatten()
            .all(|value| matches!(value, Value::Constant(_)))
    }

    fn input(&self, index: usize) -> Option<&Value> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    fn missing(&self, index: usize) -> Fault {
        Fault::unreadable(format!("input {index} is missing"), "check the file with onnx.checker")
    }

    /// An input that must be computed by the network.
    pub(super) fn computed(&self, index: usize) -> Result<ValueId, Fault> {
        match self.input(index).ok_or_else(|| self.missing(index))? {
            Value::Computed(id) => Ok(*id),
            Value::Constant(_) => Err(Fault::unsupported(
                format!(
                    "input {} is a constant where a computed value is expected",
                    shown(self.input_name(index))
                ),
                "simplify the model first (onnxsim) so that constants are computed beforehand",
            )),
        }
    }

    /// An input that must be a constant, if it is given.
    pub(super) fn constant(&self, index: usize) -> Result<Option<&Constant>, Fault> {
        match self.input(index) {
            None => Ok(None),
            Some(Value::Constant(constant)) => Ok(Some(constant)),
            Some(Value::Computed(_)) => Err(Fault::unsupported(
                format!(
                    "input {} is computed by the network, it must be a constant",
                    shown(self.input_name(index))
                ),
                "only weights, shapes and axes that are known beforehand are supported",
            )),
        }
    }

    /// Like [`Call::constant`], of an input that must be given.
    pub(super) fn required(&self, index: usize) -> Result<&Constant, Fault> {
        self.constant(index)?.ok_or_else(|| self.missing(index))
    }

    /// Constant real numbers.
    pub(super) fn floats(&self, index: usize) -> Result<Option<&Array<f32>>, Fault> {
        match self.constant(index)? {
            None => Ok(None),
            Some(Constant::Floats(array)) => Ok(Some(array)),
            Some(Constant::Ints(_)) => Err(self.wrong_type(index, "real numbers")),
        }
    }

    /// Like [`Call::floats`], of an input that must be given.
    pub(super) fn required_floats(&self, index: usize) -> Result<&Array<f32>, Fault> {
        self.floats(index)?.ok_or_else(|| self.missing(index))
    }

    /// Constant integers.
    pub(super) fn ints(&self, index: usize) -> Result<Option<&Array<Int>>, Fault> {
        match self.constant(index)? {
            None => Ok(None),
            Some(Constant::Ints(array)) => Ok(Some(array)),
            Some(Constant::Floats(_)) => Err(self.wrong_type(index, "integers")),
        }
    }

    /// Like [`Call::ints`], of an input that must be given and must not hold the batch size.
    pub(super) fn known_ints(&self, index: usize) -> Result<Option<Vec<i64>>, Fault> {
        let Some(array) = self.ints(index)? else {
            return Ok(None);
        };
        let known: Option<Vec<i64>> = array.data().iter().copied().collect();
        known.map(Some).ok_or_else(|| {
            Fault::unsupported(
                format!("input {} depends on the batch size", shown(self.input_name(index))),
                "export the model without operations on the batch dimension",
            )
        })
    }

    fn wrong_type(&self, index: usize, expected: &str) -> Fault {
        let problem = format!("input {} does not hold {expected}", shown(self.input_name(index)));
        Fault::unreadable(problem, "check the file with onnx.checker")
    }

    /// An attribute of one kind, if it is given.
    fn attribute(&mut self, name: &str, kind: i32) -> Result<Option<&'a AttributeProto>, Fault> {
        match self.attributes.remove(name) {
            Some(attribute) if attribute.kind != kind => {
                let problem = format!("attribute `{name}` has type {}, not {kind}", attribute.kind);
                Err(Fault::unreadable(problem, "check the file with onnx.checker"))
            }
            attribute => Ok(attribute),
        }
    }

    /// An integer attribute.
    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self.attribute(name, kind::INT)?.map(|attribute| attribute.i))
    }

    /// A list of integers.
    pub(super) fn int_list(&mut self, name: &str) -> Result<Option<&'a [i64]>, Fault> {
        Ok(self
            .attribute(name, kind::INTS)?
            .map(|attribute| attribute.ints.as_slice()))
    }

    /// A real attribute.
    pub(super) fn float(&mut self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self.attribute(name, kind::FLOAT)?.map(|attribute| attribute.f))
    }

    /// A list of real numbers.
    pub(super) fn float_list(&mut self, name: &str) -> Result<Option<&'a [f32]>, Fault> {
        Ok(self
            .attribute(name, kind::FLOATS)?
            .map(|attribute| attribute.floats.as_slice()))
    }

    /// A text attribute.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<&'a [u8]>, Fault> {
        Ok(self
            .attribute(name, kind::STRING)?
            .map(|attribute| attribute.s.as_ref()))
    }

    /// A tensor attribute.
    pub(super) fn tensor(&mut self, name: &str) -> Result<Option<Constant>, Fault> {
        let tensor = self
            .attribute(name, kind::TENSOR)?
            .and_then(|attribute| attribute.t.as_ref());
        tensor
            .map(tensor::read)
            .transpose()
            .map_err(|fault| fault.within(format!("attribute `{name}`")))
    }

    /// An attribute that must have one value, or be left out.
    pub(super) fn expect_int(&mut self, name: &str, expected: i64) -> Result<(), Fault> {
        match self.int(name)? {
            Some(found) if found != expected => {
                let problem = format!("attribute `{name}` is {found}");
                Err(Fault::unsupported(problem, &format!("only {expected} is supported")))
            }
            _ => Ok(()),
        }
    }

    /// Drops an attribute that does not change the result.
    pub(super) fn ignore(&mut self, name: &str) {
        self.attributes.remove(name);
    }

    /// Refuses attributes that the operator's function did not ask for: they might change the result.
    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.attributes.keys().next() {
            None => Ok(()),
            Some(name) => Err(Fault::unsupported(
                format!("attribute {} is not supported", shown(name)),
                "export the model without it",
            )),
        }
    }
}

/// The node's name, or its output's if it has none.
pub(super) fn name_of(node: &NodeProto) -> &str {
    let output = || node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { output() } else { &node.name }
}
