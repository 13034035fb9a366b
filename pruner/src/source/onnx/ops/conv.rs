//! Convolution, and the sliding windows that it shares with pooling.

use super::super::call::{Call, Value};
use super::super::graph::Builder;
use crate::source::error::Fault;
use secateur_format::graph::Tensor;
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Op, Shape};

/// A two-dimensional sliding window.
pub(super) struct Window {
    pub(super) kernel: [u16; 2],
    pub(super) stride: [u16; 2],
    pub(super) dilation: [u16; 2],
    /// `[top, left, bottom, right]`, which is ONNX's order too.
    pub(super) pads: [u16; 4],
}

impl Window {
    /// Reads the window's attributes; `kernel` where the weights give it.
    pub(super) fn read(call: &mut Call<'_>, input: Shape, kernel: Option<[u16; 2]>) -> Result<Self, Fault> {
        let Some((_, height, width)) = input.chw() else {
            let problem = format!("the input has shape {input} (without the batch)");
            return Err(Fault::unsupported(problem, "only images [C, H, W] are supported"));
        };
        let kernel = match (list(call, "kernel_shape")?, kernel) {
            (Some(given), Some(kernel)) if given != kernel => {
                let problem = format!("attribute `kernel_shape` is {given:?}, the weights are of {kernel:?}");
                return Err(Fault::unreadable(problem, "check the file with onnx.checker"));
            }
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
            (None, None) => {
                return Err(Fault::unreadable(
                    "attribute `kernel_shape` is missing",
                    "export the model again",
                ));
            }
        };
        let stride = list(call, "strides")?.unwrap_or([1, 1]);
        let dilation = list(call, "dilations")?.unwrap_or([1, 1]);
        let pads = list(call, "pads")?;
        let auto_pad = call.text("auto_pad")?.unwrap_or(b"NOTSET");
        let same = |extra_behind: bool| -> Result<[u16; 4], Fault> {
            let (top, bottom) = same_padding(height, kernel[0], stride[0], dilation[0], extra_behind)?;
            let (left, right) = same_padding(width, kernel[1], stride[1], dilation[1], extra_behind)?;
            Ok([top, left, bottom, right])
        };
        let pads = match (auto_pad, pads) {
            (b"NOTSET", pads) => pads.unwrap_or_default(),
            (b"VALID", _) => [0; 4],
            (b"SAME_UPPER", _) => same(true)?,
            (b"SAME_LOWER", _) => same(false)?,
            _ => {
                return Err(Fault::unreadable(
                    "attribute `auto_pad` has no value of ONNX",
                    "export the model again",
                ));
            }
        };
        Ok(Self {
            kernel,
            stride,
            dilation,
            pads,
        })
    }
}

/// An attribute with one number per window dimension (or, for pads, two).
fn list<const N: usize>(call: &mut Call<'_>, name: &str) -> Result<Option<[u16; N]>, Fault> {
    let Some(numbers) = call.int_list(name)? else {
        return Ok(None);
    };
    let small: Option<Vec<u16>> = numbers.iter().map(|&number| u16::try_from(number).ok()).collect();
    let array = small.and_then(|small| <[u16; N]>::try_from(small).ok());
    array.map(Some).ok_or_else(|| {
        let shown = numbers.get(..8).unwrap_or(numbers);
        let problem = format!("attribute `{name}` is {shown:?}");
        Fault::unsupported(problem, "windows must be two-dimensional, with numbers from 0 to 65535")
    })
}

/// The padding that gives extent / stride outputs, rounded up.
fn same_padding(extent: u32, kernel: u16, stride: u16, dilation: u16, extra_behind: bool) -> Result<(u16, u16), Fault> {
    let fault = || {
        Fault::unsupported(
            "attribute `auto_pad` gives too much padding",
            "export the model with `pads`",
        )
    };
    let (extent, stride) = (u64::from(extent), u64::from(stride.max(1)));
    let span = u64::from(kernel.saturating_sub(1)) * u64::from(dilation) + 1;
    let total = ((extent.div_ceil(stride) - 1) * stride + span).saturating_sub(extent);
    let less = u16::try_from(total / 2).map_err(|_| fault())?;
    let more = u16::try_from(total.div_ceil(2)).map_err(|_| fault())?;
    Ok(if extra_behind { (less, more) } else { (more, less) })
}

pub(super) fn conv(builder: &mut Builder, call: &mut Call<'_>) -> Result<Value, Fault> {
    let input = call.computed(0)?;
    let groups = call.int("group")?.unwrap_or(1);
    let groups = u32::try_from(groups)
        .map_err(|_| Fault::unreadable(format!("attribute `group` is {groups}"), "export the model again"))?;
    let shape = call.required_floats(1)?.dims().to_vec();
    let sizes: Option<Vec<u32>> = shape.iter().map(|&dim| u32::try_from(dim).ok()).collect();
    let oihw = sizes.and_then(|sizes| <[u32; 4]>::try_from(sizes).ok());
    let kernel = oihw.and_then(|[_, _, h, w]| Some([u16::try_from(h).ok()?, u16::try_from(w).ok()?]));
    let (Some(oihw), Some(kernel)) = (oihw, kernel) else {
        let problem = format!("the weights have shape {:?}", shape.get(..8).unwrap_or(&shape));
        return Err(Fault::unsupported(
            problem,
            "only two-dimensional convolutions, [out, in, height, width], are supported",
        ));
    };
    let window = Window::read(call, builder.shape(input), Some(kernel))?;
    let weight = Tensor::from_oihw(call.input_name(1), oihw, call.required_floats(1)?.data())
        .ok_or_else(|| Fault::unreadable(format!("the weights have shape {oihw:?}"), "export the model again"))?;
    let weight = builder.add_tensor(weight)?;
    let bias = match call.floats(2)? {
        Some(bias) => Some(builder.vector(call.input_name(2), bias.data().to_vec())?),
        None => None,
    };
    let conv = Conv2d {
        weight,
        bias,
        out_channels: oihw[0],
        groups,
        kernel: window.kernel,
        stride: window.stride,
        dilation: window.dilation,
        pads: window.pads,
        activation: Activation::Identity,
    };
    builder.emit(call.name(), Op::Conv2d(conv), &[input])
}
