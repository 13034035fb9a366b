//! Element-wise functions, and operators that do nothing at inference.

use super::super::array::Constant;
use super::super::call::{Call, Value};
use super::super::graph::Builder;
use super::super::schema::data_type;
use super::linear::add_bias;
use crate::source::error::{Fault, shown};
use secateur_format::op::BatchNorm;
use secateur_format::{Activation, Op};

fn activation(builder: &mut Builder, call: &Call<'_>, activation: Activation) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    builder.emit(call.name(), Op::Activation(activation), &[input])
}

pub(super) fn relu(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    activation(builder, call, Activation::Relu)
}

pub(super) fn sigmoid(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    activation(builder, call, Activation::Sigmoid)
}

pub(super) fn tanh(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    activation(builder, call, Activation::Tanh)
}

pub(super) fn hard_swish(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    activation(builder, call, Activation::HardSwish)
}

pub(super) fn leaky_relu(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let slope = call.float("alpha")?.unwrap_or(0.01);
    if !slope.is_finite() {
        return Err(Fault::unreadable(
            format!("attribute `alpha` is {slope}"),
            "export the model again",
        ));
    }
    activation(builder, call, Activation::LeakyRelu(slope))
}

pub(super) fn gelu(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    if call.text("approximate")?.is_some_and(|text| text != b"none") {
        let problem = "attribute `approximate` asks for an approximation";
        return Err(Fault::unsupported(
            problem,
            "only the exact Gelu is supported: export the model with it",
        ));
    }
    activation(builder, call, Activation::Gelu)
}

pub(super) fn clip(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let bound =
        |index: usize| -> Result<Option<f32>, Fault> { Ok(call.floats(index)?.and_then(|bound| bound.single())) };
    match (bound(1)?, bound(2)?) {
        (Some(0.0), Some(6.0)) => activation(builder, call, Activation::Relu6),
        (Some(0.0), None | Some(f32::INFINITY | f32::MAX)) => activation(builder, call, Activation::Relu),
        (low, high) => {
            let problem = format!("the bounds are {low:?} and {high:?}");
            Err(Fault::unsupported(
                problem,
                "only clipping to 0..6 (ReLU6) and 0.. (ReLU) is supported",
            ))
        }
    }
}

pub(super) fn softmax(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let axis = call.int("axis")?.unwrap_or(-1);
    let input = call.computed(0)?;
    let axis = builder.axis(input, axis)?;
    builder.emit(call.name(), Op::Softmax { axis }, &[input])
}

pub(super) fn batch_normalization(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    call.expect_int("training_mode", 0)?;
    call.ignore("momentum");
    let eps = call.float("epsilon")?.unwrap_or(1e-5);
    if !(eps.is_finite() && eps >= 0.0) {
        return Err(Fault::unreadable(
            format!("attribute `epsilon` is {eps}"),
            "export the model again",
        ));
    }
    let input = call.computed(0)?;
    let mut vector =
        |index: usize| builder.vector(call.input_name(index), call.required_floats(index)?.data().to_vec());
    let norm = BatchNorm {
        scale: vector(1)?,
        bias: vector(2)?,
        mean: vector(3)?,
        var: vector(4)?,
        eps,
    };
    builder.emit(call.name(), Op::BatchNorm(norm), &[input])
}

pub(super) fn add(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    match call.inputs.as_slice() {
        [Some(Value::Computed(value)), Some(Value::Constant(_))] => add_bias(builder, call, *value, 1),
        [Some(Value::Constant(_)), Some(Value::Computed(value))] => add_bias(builder, call, *value, 0),
        _ => pair(builder, call, Op::Add(Activation::Identity)),
    }
}

pub(super) fn mul(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    pair(builder, call, Op::Mul)
}

/// An operator on two computed values of one shape.
fn pair(builder: &mut Builder, call: &Call<'_>, op: Op) -> Result<Value, Fault> {
    let inputs = [call.computed(0)?, call.computed(1)?];
    let [a, b] = inputs.map(|id| builder.shape(id));
    if a != b {
        let problem = format!("the inputs have the shapes {a} and {b} (without the batch)");
        return Err(Fault::unsupported(
            problem,
            "both must have one shape: values are not broadcast",
        ));
    }
    builder.emit(call.name(), op, &inputs)
}

pub(super) fn identity(_: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    call.computed(0).map(Value::Computed)
}

pub(super) fn dropout(_: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    call.ignore("seed");
    if let Some(Constant::Ints(training)) = call.constant(2)?
        && training.single() != Some(Some(0))
    {
        let problem = format!("input {} switches training on", shown(call.input_name(2)));
        return Err(Fault::unsupported(
            problem,
            "export the model for inference (model.eval())",
        ));
    }
    call.computed(0).map(Value::Computed)
}

pub(super) fn cast(_: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    call.ignore("saturate");
    let to = call.int("to")?.and_then(|to| i32::try_from(to).ok()).unwrap_or(0);
    // Values are f32 whatever the file says: conversions between real types change nothing.
    if [
        data_type::FLOAT,
        data_type::FLOAT16,
        data_type::BFLOAT16,
        data_type::DOUBLE,
    ]
    .contains(&to)
    {
        return call.computed(0).map(Value::Computed);
    }
    let problem = format!("a computed value is converted to element type {to}");
    Err(Fault::unsupported(
        problem,
        "only real types (f32, f16, bf16, f64) are supported",
    ))
}
