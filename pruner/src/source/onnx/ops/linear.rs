//! Matrix products with constant weights.

use super::super::array::Array;
use super::super::call::{Call, Value};
use super::super::graph::Builder;
use crate::source::error::Fault;
use secateur_format::graph::Tensor;
use secateur_format::op::{Conv2d, Linear};
use secateur_format::{Activation, Op, TensorId, ValueId};

pub(super) fn gemm(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let alpha = call.float("alpha")?.unwrap_or(1.0);
    let beta = call.float("beta")?.unwrap_or(1.0);
    call.expect_int("transA", 0)?;
    let transposed = call.int("transB")?.unwrap_or(0) != 0;
    let input = call.computed(0)?;
    let (weight, out_features) = weight(builder, call, transposed, alpha)?;
    let bias = match call.floats(2)? {
        Some(bias) => {
            let bias = per_channel(bias, out_features, 1).ok_or_else(|| bias_fault(bias))?;
            Some(builder.vector(call.input_name(2), scaled(bias, beta))?)
        }
        None => None,
    };
    emit(
        builder,
        call,
        input,
        Linear {
            weight,
            bias,
            out_features,
            activation: Activation::Identity,
        },
    )
}

pub(super) fn mat_mul(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let (weight, out_features) = weight(builder, call, false, 1.0)?;
    emit(
        builder,
        call,
        input,
        Linear {
            weight,
            bias: None,
            out_features,
            activation: Activation::Identity,
        },
    )
}

fn emit(builder: &mut Builder, call: &Call<'_>, input: ValueId, linear: Linear) -> Result<Value, Fault> {
    let shape = builder.shape(input);
    if shape.rank() != 1 {
        // ONNX multiplies the last axis, `Linear` the first.
        let problem = format!("the input has shape {shape} (without the batch)");
        return Err(Fault::unsupported(
            problem,
            "only products of one vector per sample are supported: flatten it first",
        ));
    }
    builder.emit(call.name(), Op::Linear(linear), &[input])
}

/// The weights as `[out, in]` times `alpha`; `transposed` if the file has them that way round.
fn weight(builder: &mut Builder, call: &Call<'_>, transposed: bool, alpha: f32) -> Result<(TensorId, u32), Fault> {
    let array = call.required_floats(1)?;
    let fault = || {
        let problem = format!("the weights have {} dimensions, or too large ones", array.dims().len());
        Fault::unsupported(problem, "only matrices are supported")
    };
    let &[first, second] = array.dims() else {
        return Err(fault());
    };
    let (rows, cols) = if transposed { (first, second) } else { (second, first) };
    let (rows, cols) = (
        u32::try_from(rows).map_err(|_| fault())?,
        u32::try_from(cols).map_err(|_| fault())?,
    );
    let data = if transposed {
        array.data().to_vec()
    } else {
        array.transposed(&[1, 0])?.data().to_vec()
    };
    let tensor = Tensor {
        name: call.input_name(1).to_owned(),
        rows,
        cols,
        data: scaled(data, alpha),
    };
    Ok((builder.add_tensor(tensor)?, rows))
}

fn scaled(mut data: Vec<f32>, factor: f32) -> Vec<f32> {
    if factor != 1.0 {
        data.iter_mut().for_each(|x| *x *= factor);
    }
    data
}

fn bias_fault(bias: &Array<f32>) -> Fault {
    let dims = bias.dims().get(..8).unwrap_or(bias.dims());
    let problem = format!("a constant of shape {dims:?} is added");
    Fault::unsupported(
        problem,
        "only one number per channel can be added to a convolution or product",
    )
}

/// A constant that is broadcast along all axes but the channels, as one number per channel.
/// `rank` is that of the value it is added to, without the batch.
pub(super) fn per_channel(constant: &Array<f32>, channels: u32, rank: usize) -> Option<Vec<f32>> {
    let channels = channels as usize;
    if let Some(single) = constant.single().filter(|_| constant.dims().len() <= rank + 1) {
        return Some(vec![single; channels]);
    }
    // Counted from behind, as broadcasting does: the channels come before `rank - 1` axes of extent 1.
    let mut axes = constant.dims().iter().rev();
    let inner = axes.by_ref().take(rank.saturating_sub(1)).all(|&dim| dim == 1);
    let own = axes.next() == Some(&channels);
    let batch = axes.all(|&dim| dim == 1) && constant.dims().len() <= rank + 1;
    (inner && own && batch).then(|| constant.data().to_vec())
}

/// A convolution or linear layer with a constant added to it, as a layer with a bias. The layer
/// before is dropped if nothing else uses it.
pub(super) fn add_bias(builder: &mut Builder, call: &Call<'_>, value: ValueId, index: usize) -> Result<Value, Fault> {
    let constant = call.required_floats(index)?;
    let shape = builder.shape(value);
    let channels = shape.dims().first().copied().unwrap_or(1);
    let Some((mut op, inputs)) = builder.producer(value).map(|node| (node.op, node.inputs.clone())) else {
        return Err(bias_fault(constant));
    };
    let mut sum = per_channel(constant, channels, shape.rank()).ok_or_else(|| bias_fault(constant))?;
    builder.spend(sum.len())?;
    if let Op::Conv2d(Conv2d { bias, .. }) | Op::Linear(Linear { bias, .. }) = &mut op {
        if let Some(old) = bias.and_then(|id| builder.tensor(id)) {
            sum.iter_mut().zip(&old.data).for_each(|(new, old)| *new += old);
        }
        *bias = Some(builder.vector(call.input_name(index), sum)?);
        return builder.emit(call.name(), op, &inputs);
    }
    Err(bias_fault(constant))
}
