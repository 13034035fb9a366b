//! The operators of a description. `docs/model-toml.md` documents each attribute and its default.

use super::attributes::Attributes;
use super::builder::Builder;
use crate::source::error::{Fault, shown};
use crate::source::nearest::suggestion;
use secateur_format::op::{BatchNorm, Conv2d, Linear, Pool, PoolKind};
use secateur_format::{Activation, MAX_RANK, Op, Shape, TensorId};

const OPERATORS: &[&str] = &[
    "conv2d",
    "linear",
    "batch_norm",
    "relu",
    "relu6",
    "leaky_relu",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "hard_swish",
    "add",
    "mul",
    "concat",
    "max_pool",
    "avg_pool",
    "global_avg_pool",
    "flatten",
    "reshape",
    "pad",
    "slice",
    "softmax",
];

const ACTIVATIONS: &[&str] = &[
    "identity",
    "relu",
    "relu6",
    "leaky_relu",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "hard_swish",
];

/// PyTorch's defaults.
pub(super) const SLOPE: f32 = 0.01;
pub(super) const EPS: f32 = 1e-5;

/// The operator of a node whose first input has the shape `input`.
pub(super) fn build(
    builder: &mut Builder<'_, '_>,
    attributes: &mut Attributes<'_>,
    name: &str,
    op: &str,
    input: Shape,
) -> Result<Op, Fault> {
    Ok(match op {
        "conv2d" => Op::Conv2d(conv2d(builder, attributes, name, input)?),
        "linear" => Op::Linear(linear(builder, attributes, name, input)?),
        "batch_norm" => Op::BatchNorm(batch_norm(builder, attributes, name, input)?),
        "relu" | "relu6" | "leaky_relu" | "gelu" | "silu" | "sigmoid" | "tanh" | "hard_swish" => {
            Op::Activation(activation(op, attributes)?)
        }
        "add" => Op::Add(fused_activation(attributes)?),
        "mul" => Op::Mul,
        "concat" => Op::Concat {
            axis: required(attributes.integer("axis")?, "axis")?,
        },
        "max_pool" => Op::Pool(pool(attributes, PoolKind::Max)?),
        "avg_pool" => {
            let with_padding = attributes.flag("count_include_pad")?.unwrap_or(false);
            Op::Pool(pool(
                attributes,
                if with_padding {
                    PoolKind::AverageWithPadding
                } else {
                    PoolKind::Average
                },
            )?)
        }
        "global_avg_pool" => Op::GlobalAvgPool,
        "flatten" => Op::Reshape(shape(&[input.elems() as u32])?),
        "reshape" => Op::Reshape(shape(&required(attributes.integers::<u32>("shape")?, "shape")?)?),
        "pad" => Op::Pad {
            before: per_axis(attributes.integers("before")?, "before", input)?.unwrap_or_default(),
            after: per_axis(attributes.integers("after")?, "after", input)?.unwrap_or_default(),
            value: attributes.number("value")?.unwrap_or(0.0),
        },
        "slice" => slice(attributes, input)?,
        "softmax" => Op::Softmax {
            axis: attributes.integer("axis")?.unwrap_or(0),
        },
        _ => {
            let problem = format!(
                "operator {} is unknown{}",
                shown(op),
                suggestion(op, OPERATORS.iter().copied())
            );
            return Err(Fault::unsupported(
                problem,
                &format!("the operators are {}", OPERATORS.join(", ")),
            ));
        }
    })
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Fault> {
    value.ok_or_else(|| {
        Fault::unreadable(
            format!("attribute `{name}` is missing"),
            "add it (see docs/model-toml.md)",
        )
    })
}

fn shape(dims: &[u32]) -> Result<Shape, Fault> {
    Shape::new(dims).map_err(|error| Fault::unsupported(error, "values have 1 to 4 dimensions, without the batch"))
}

/// The names of the node's tensors begin with this.
fn prefix(attributes: &mut Attributes<'_>, name: &str) -> Result<String, Fault> {
    Ok(attributes.text("tensors")?.unwrap_or_else(|| name.to_owned()))
}

/// `bias = false` leaves it out, `true` requires it, and without either the weights decide.
fn bias(
    builder: &mut Builder<'_, '_>,
    attributes: &mut Attributes<'_>,
    prefix: &str,
    outputs: u32,
) -> Result<Option<TensorId>, Fault> {
    let name = format!("{prefix}.bias");
    match attributes.flag("bias")? {
        Some(false) => Ok(None),
        Some(true) => builder.vector(&name, outputs).map(Some),
        None => builder.optional_vector(&name, outputs),
    }
}

/// The channels, or features, of a value.
fn channels(input: Shape) -> u32 {
    input.padded_dims()[0]
}

/// Refuses a description that contradicts its weights.
fn agree<T: PartialEq + std::fmt::Debug>(name: &str, described: Option<T>, found: T) -> Result<(), Fault> {
    match described.filter(|described| *described != found) {
        None => Ok(()),
        Some(described) => Err(Fault::unreadable(
            format!("attribute `{name}` is {described:?}, but the weights have {found:?}"),
            "correct it, or leave it out: the weights say it",
        )),
    }
}

fn conv2d(
    builder: &mut Builder<'_, '_>,
    attributes: &mut Attributes<'_>,
    name: &str,
    input: Shape,
) -> Result<Conv2d, Fault> {
    let prefix = prefix(attributes, name)?;
    let (outputs, kernel) = (attributes.integer::<u32>("out_channels")?, attributes.pair("kernel")?);
    let groups = attributes.integer("groups")?.unwrap_or(1);
    let described = outputs.zip(kernel).map(|(outputs, [height, width])| {
        let inputs = channels(input) / u32::max(groups, 1);
        [outputs, inputs, height.into(), width.into()]
    });
    let (weight, [out_channels, _, height, width]) = builder.kernel(&format!("{prefix}.weight"), described)?;
    agree("out_channels", outputs, out_channels)?;
    agree("kernel", kernel.map(|kernel| kernel.map(u32::from)), [height, width])?;
    let too_large = |_| {
        Fault::unsupported(
            format!("the kernel is {height}x{width}"),
            "kernels up to 65535 are supported",
        )
    };
    Ok(Conv2d {
        weight,
        bias: bias(builder, attributes, &prefix, out_channels)?,
        out_channels,
        groups,
        kernel: [
            u16::try_from(height).map_err(too_large)?,
            u16::try_from(width).map_err(too_large)?,
        ],
        stride: attributes.pair("stride")?.unwrap_or([1; 2]),
        dilation: attributes.pair("dilation")?.unwrap_or([1; 2]),
        pads: attributes.sides("padding")?.unwrap_or_default(),
        activation: fused_activation(attributes)?,
    })
}

fn linear(
    builder: &mut Builder<'_, '_>,
    attributes: &mut Attributes<'_>,
    name: &str,
    input: Shape,
) -> Result<Linear, Fault> {
    let prefix = prefix(attributes, name)?;
    let outputs = attributes.integer::<u32>("out_features")?;
    let described = outputs.map(|outputs| [outputs, channels(input)]);
    let (weight, out_features) = builder.matrix(&format!("{prefix}.weight"), described)?;
    agree("out_features", outputs, out_features)?;
    let bias = bias(builder, attributes, &prefix, out_features)?;
    Ok(Linear {
        weight,
        bias,
        out_features,
        activation: fused_activation(attributes)?,
    })
}

fn batch_norm(
    builder: &mut Builder<'_, '_>,
    attributes: &mut Attributes<'_>,
    name: &str,
    input: Shape,
) -> Result<BatchNorm, Fault> {
    let prefix = prefix(attributes, name)?;
    let mut vector = |part: &str| builder.vector(&format!("{prefix}.{part}"), channels(input));
    let (scale, bias) = (vector("weight")?, vector("bias")?);
    let (mean, var) = (vector("running_mean")?, vector("running_var")?);
    let eps = attributes.number("eps")?.unwrap_or(EPS);
    if eps < 0.0 {
        return Err(Fault::unreadable(
            format!("attribute `eps` is {eps}"),
            "it must not be negative",
        ));
    }
    Ok(BatchNorm {
        scale,
        bias,
        mean,
        var,
        eps,
    })
}

/// The activation that is part of another operator.
fn fused_activation(attributes: &mut Attributes<'_>) -> Result<Activation, Fault> {
    match attributes.text("activation")? {
        Some(name) => activation(&name, attributes),
        None => Ok(Activation::Identity),
    }
}

fn activation(name: &str, attributes: &mut Attributes<'_>) -> Result<Activation, Fault> {
    Ok(match name {
        "identity" => Activation::Identity,
        "relu" => Activation::Relu,
        "relu6" => Activation::Relu6,
        "leaky_relu" => Activation::LeakyRelu(attributes.number("slope")?.unwrap_or(SLOPE)),
        "gelu" => Activation::Gelu,
        "silu" => Activation::Silu,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "hard_swish" => Activation::HardSwish,
        _ => {
            let near = suggestion(name, ACTIVATIONS.iter().copied());
            let problem = format!("activation {} is unknown{near}", shown(name));
            return Err(Fault::unsupported(
                problem,
                &format!("the activations are {}", ACTIVATIONS.join(", ")),
            ));
        }
    })
}

fn pool(attributes: &mut Attributes<'_>, kind: PoolKind) -> Result<Pool, Fault> {
    let kernel = required(attributes.pair("kernel")?, "kernel")?;
    let stride = attributes.pair("stride")?.unwrap_or(kernel);
    Ok(Pool {
        kind,
        kernel,
        stride,
        pads: attributes.sides("padding")?.unwrap_or_default(),
    })
}

fn slice(attributes: &mut Attributes<'_>, input: Shape) -> Result<Op, Fault> {
    let start = per_axis(attributes.integers("start")?, "start", input)?.unwrap_or([0; MAX_RANK]);
    let end = per_axis(attributes.integers("end")?, "end", input)?;
    let step = per_axis(attributes.integers("step")?, "step", input)?.unwrap_or([1; MAX_RANK]);
    // Past the rank every extent is 1, also where `end` is given.
    let mut ends = input.padded_dims();
    if let Some(end) = end {
        ends.iter_mut()
            .zip(end)
            .take(input.rank())
            .for_each(|(slot, end)| *slot = end);
    }
    let mut steps = [1; MAX_RANK];
    steps
        .iter_mut()
        .zip(step)
        .take(input.rank())
        .for_each(|(slot, step)| *slot = step);
    Ok(Op::Slice {
        start,
        end: ends,
        step: steps,
    })
}

/// One number for each axis of the input.
fn per_axis<T: Copy + Default>(list: Option<Vec<T>>, name: &str, input: Shape) -> Result<Option<[T; MAX_RANK]>, Fault> {
    let Some(list) = list else { return Ok(None) };
    if list.len() != input.rank() {
        let problem = format!(
            "attribute `{name}` has {} numbers for an input of shape {input}",
            list.len()
        );
        return Err(Fault::unreadable(
            problem,
            "give one number for each axis (the batch is not one)",
        ));
    }
    let mut all = [T::default(); MAX_RANK];
    all.iter_mut().zip(list).for_each(|(slot, number)| *slot = number);
    Ok(Some(all))
}
