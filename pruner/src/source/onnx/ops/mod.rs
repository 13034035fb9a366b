//! The operators: one function each, from a node to the value that it gives.

mod conv;
mod elementwise;
mod layout;
mod linear;
mod pool;
mod shape;

pub(super) use layout::SliceBounds;

use super::call::{Call, Value};
use super::graph::Builder;
use super::schema::NodeProto;
use super::{fold, is_default_domain};
use crate::source::error::{Fault, shown};

/// Makes the value of a node.
pub(super) type Function = fn(&mut Builder, &mut Call<'_>) -> Result<Value, Fault>;

/// What can be done with an operator.
pub(super) struct Operator {
    name: &'static str,
    /// With inputs that the network computes.
    pub(super) compute: Option<Function>,
    /// With constant inputs.
    pub(super) fold: Option<Function>,
}

const fn compute(name: &'static str, function: Function) -> Operator {
    Operator {
        name,
        compute: Some(function),
        fold: None,
    }
}

const fn fold(name: &'static str, function: Function) -> Operator {
    Operator {
        name,
        compute: None,
        fold: Some(function),
    }
}

const fn both(name: &'static str, compute: Function, fold: Function) -> Operator {
    Operator {
        name,
        compute: Some(compute),
        fold: Some(fold),
    }
}

const OPERATORS: &[Operator] = &[
    both("Add", elementwise::add, fold::add),
    compute("AveragePool", pool::average_pool),
    compute("BatchNormalization", elementwise::batch_normalization),
    both("Cast", elementwise::cast, fold::cast),
    compute("Clip", elementwise::clip),
    both("Concat", layout::concat, fold::concat),
    fold("Constant", fold::constant),
    fold("ConstantOfShape", fold::constant_of_shape),
    compute("Conv", conv::conv),
    fold("Div", fold::div),
    compute("Dropout", elementwise::dropout),
    compute("Flatten", shape::flatten),
    fold("Gather", fold::gather),
    compute("Gelu", elementwise::gelu),
    compute("Gemm", linear::gemm),
    compute("GlobalAveragePool", pool::global_average_pool),
    compute("HardSwish", elementwise::hard_swish),
    both("Identity", elementwise::identity, fold::identity),
    compute("LeakyRelu", elementwise::leaky_relu),
    compute("MatMul", linear::mat_mul),
    compute("MaxPool", pool::max_pool),
    both("Mul", elementwise::mul, fold::mul),
    compute("Pad", layout::pad),
    fold("Range", fold::range),
    compute("ReduceMean", pool::reduce_mean),
    compute("Relu", elementwise::relu),
    both("Reshape", shape::reshape, fold::reshape),
    both("Shape", shape::shape, fold::shape),
    compute("Sigmoid", elementwise::sigmoid),
    both("Slice", layout::slice, fold::slice),
    compute("Softmax", elementwise::softmax),
    both("Squeeze", shape::squeeze, fold::squeeze),
    fold("Sub", fold::sub),
    compute("Tanh", elementwise::tanh),
    both("Transpose", layout::transpose, fold::transpose),
    both("Unsqueeze", shape::unsqueeze, fold::unsqueeze),
];

/// The operator of a node.
pub(super) fn find(node: &NodeProto) -> Result<&'static Operator, Fault> {
    if !is_default_domain(&node.domain) {
        let problem = format!("the operator is of domain {}", shown(&node.domain));
        return Err(Fault::unsupported(
            problem,
            "export the model with standard ONNX operators only",
        ));
    }
    OPERATORS
        .iter()
        .find(|operator| operator.name == node.op_type)
        .ok_or_else(|| {
            let names: Vec<&str> = OPERATORS.iter().map(|operator| operator.name).collect();
            let problem = format!("operator {} is not supported", shown(&node.op_type));
            Fault::unsupported(problem, &format!("the supported ones are {}", names.join(", ")))
        })
}
