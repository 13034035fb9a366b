//! Pooling and means.

use super::super::array::axis;
use super::super::call::{Call, Value};
use super::super::graph::Builder;
use super::conv::Window;
use crate::source::error::Fault;
use secateur_format::op::{Pool, PoolKind};
use secateur_format::{Op, Shape, ValueId};

pub(super) fn max_pool(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    // It orders the indices, the second output, only.
    call.ignore("storage_order");
    pool(builder, call, PoolKind::Max)
}

pub(super) fn average_pool(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let with_padding = call.int("count_include_pad")?.unwrap_or(0) != 0;
    pool(
        builder,
        call,
        if with_padding {
            PoolKind::AverageWithPadding
        } else {
            PoolKind::Average
        },
    )
}

fn pool(builder: &mut Builder, call: &mut Call<'_>, kind: PoolKind) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let shape = builder.shape(input);
    let window = Window::read(call, shape, None)?;
    if window.dilation != [1, 1] {
        let problem = format!("attribute `dilations` is {:?}", window.dilation);
        return Err(Fault::unsupported(problem, "pooling with gaps is not supported"));
    }
    if call.int("ceil_mode")?.unwrap_or(0) != 0 && !fits_exactly(&window, shape) {
        return Err(Fault::unsupported(
            "attribute `ceil_mode` is 1, and the windows do not fit the input exactly",
            "export the model with ceil_mode = 0 and explicit padding",
        ));
    }
    // Without padding both kinds of mean are one, and graphs should have one form for it.
    let kind = if kind == PoolKind::AverageWithPadding && window.pads == [0; 4] {
        PoolKind::Average
    } else {
        kind
    };
    let pool = Pool {
        kind,
        kernel: window.kernel,
        stride: window.stride,
        pads: window.pads,
    };
    builder.emit(call.name(), Op::Pool(pool), &[input])
}

/// Whether rounding the output size up or down makes no difference.
fn fits_exactly(window: &Window, shape: Shape) -> bool {
    let [top, left, bottom, right] = window.pads.map(u64::from);
    let (_, height, width) = shape.chw().unwrap_or_default();
    let fits = |extent: u64, kernel: u16, stride: u16| {
        extent
            .checked_sub(u64::from(kernel))
            .is_some_and(|slack| slack.is_multiple_of(u64::from(stride)))
    };
    fits(u64::from(height) + top + bottom, window.kernel[0], window.stride[0])
        && fits(u64::from(width) + left + right, window.kernel[1], window.stride[1])
}

pub(super) fn global_average_pool(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    global_mean(builder, call, input, true)
}

pub(super) fn reduce_mean(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let keep = call.int("keepdims")?.unwrap_or(1) != 0;
    call.ignore("noop_with_empty_axes");
    // An attribute up to opset 17, an input from 18 on.
    let axes = match call.int_list("axes")? {
        Some(axes) => axes.to_vec(),
        None => call.known_ints(1)?.unwrap_or_default(),
    };
    let input = call.computed(0)?;
    let rank = builder.shape(input).rank() + 1;
    let normal: Result<Vec<usize>, Fault> = axes.iter().map(|&number| axis(number, rank)).collect();
    let mut normal = normal?;
    normal.sort_unstable();
    if rank != 4 || normal != [2, 3] {
        let problem = format!(
            "the mean is taken over axes {:?} of {rank}",
            axes.get(..8).unwrap_or(&axes)
        );
        return Err(Fault::unsupported(
            problem,
            "only the mean over the height and width of images is supported",
        ));
    }
    global_mean(builder, call, input, keep)
}

/// The mean of each plane as `[C]`, or as `[C, 1, 1]`.
fn global_mean(builder: &mut Builder, call: &Call<'_>, input: ValueId, keep: bool) -> Result<Value, Fault> {
    let value = builder.emit(call.name(), Op::GlobalAvgPool, &[input])?;
    let (Value::Computed(mean), true) = (&value, keep) else {
        return Ok(value);
    };
    let channels = builder.shape(*mean).dims().first().copied().unwrap_or(1);
    let planes = Shape::new(&[channels, 1, 1]).map_err(|error| Fault::unsupported(error, "use fewer channels"))?;
    builder.emit(&format!("{}.planes", call.name()), Op::Reshape(planes), &[*mean])
}
