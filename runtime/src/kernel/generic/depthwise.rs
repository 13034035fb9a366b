//! Depthwise convolutions: one window per plane (see [`super::window`]).

use core::marker::PhantomData;

use secateur_format::Activation;
use secateur_format::encoding::{Dense, Value};

use super::window::{Fold, Window, slide};
use crate::kernel::activation::activate;
use crate::kernel::planar::Depthwise;
use crate::kernel::vector::Vector;

/// Every plane on its own.
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernel) unsafe fn depthwise<V: Vector, W: Value>(
    view: &Dense<'_>,
    task: &mut Depthwise<'_>,
    _: PhantomData<W>,
) {
    let (conv, geometry) = (task.conv, task.geometry);
    let extents = |(_, h, w): (u32, u32, u32)| [h as usize, w as usize];
    let window = Window {
        input: extents(geometry.input),
        output: extents(geometry.output),
        kernel: conv.kernel.map(usize::from),
        stride: conv.stride.map(usize::from),
        dilation: conv.dilation.map(usize::from),
        pads: [conv.pads[0], conv.pads[1]].map(usize::from),
    };
    if geometry.group_channels != 1 || window.kernel[0] * window.kernel[1] != view.cols as usize {
        return;
    }
    // SAFETY: the caller's; each is for the window's extents.
    unsafe {
        match (window.stride_of_3x3(), window.stride[1]) {
            (Some(1), _) => planes::<V, W, [V; 9], 3, 1>(view, task, &window),
            (Some(2), _) => planes::<V, W, [V; 9], 3, 2>(view, task, &window),
            (_, 1) => planes::<V, W, &[W], 0, 1>(view, task, &window),
            (_, 2) => planes::<V, W, &[W], 0, 2>(view, task, &window),
            _ => planes::<V, W, &[W], 0, 0>(view, task, &window),
        }
    }
}

/// All planes; `K` and `S` as in [`slide`].
///
/// # Safety
/// The CPU has the instruction set of `V`; `K` and `S` are those of the window.
#[inline(always)]
unsafe fn planes<'w, V: Vector, W: Value, R: Weights<'w, V, W>, const K: usize, const S: usize>(
    view: &Dense<'w>,
    task: &mut Depthwise<'_>,
    window: &Window,
) {
    let Some(weights) = W::slice(&view.values) else { return };
    let positions = view.cols as usize;
    let [x_len, y_len] = [window.input, window.output].map(|[h, w]| h * w);
    let multiplier = task.conv.out_channels.checked_div(task.conv.groups).unwrap_or(0) as usize;
    let planes = task.y.chunks_exact_mut(y_len.max(1));
    for (row, y) in (task.first..).zip(planes) {
        let channel = match multiplier {
            1 => row,
            _ => row.checked_div(multiplier).unwrap_or(usize::MAX),
        };
        let Some(_) = plane(task.x, channel, x_len) else { return };
        let Some(weights) = plane(weights, row, positions) else {
            return;
        };
        let bias = task.bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0);
        // SAFETY: the caller's; the planes have the window's extents.
        unsafe {
            let fold = Sum {
                weights: R::of(weights),
                bias: V::splat(bias),
                activation: task.conv.activation,
                values: PhantomData,
            };
            slide::<V, _, K, S>(window, &fold, task.x, channel * x_len, y.as_mut_ptr());
        }
    }
}

/// Plane `index` of planes of `len`.
#[inline(always)]
fn plane<T>(planes: &[T], index: usize, len: usize) -> Option<&[T]> {
    planes.get(index.checked_mul(len)?..)?.get(..len)
}

/// The weights of a plane.
///
/// # Safety
/// All methods: the CPU has the instruction set of `V`, and there are as many
/// weights as the window has positions.
trait Weights<'w, V, W> {
    unsafe fn of(weights: &'w [W]) -> Self;

    /// The weight of a kernel position in all lanes.
    unsafe fn at(&self, position: usize) -> V;
}

/// Kept in registers.
impl<V: Vector, W: Value> Weights<'_, V, W> for [V; 9] {
    #[inline(always)]
    unsafe fn of(weights: &[W]) -> Self {
        // SAFETY: the caller's.
        core::array::from_fn(|i| unsafe { V::splat(weights.get_unchecked(i).to_f32()) })
    }

    #[inline(always)]
    unsafe fn at(&self, position: usize) -> V {
        self[position]
    }
}

impl<'w, V: Vector, W: Value> Weights<'w, V, W> for &'w [W] {
    #[inline(always)]
    unsafe fn of(weights: &'w [W]) -> Self {
        weights
    }

    #[inline(always)]
    unsafe fn at(&self, position: usize) -> V {
        // SAFETY: the caller's.
        unsafe { V::splat(self.get_unchecked(position).to_f32()) }
    }
}

/// Bias and weighted inputs.
struct Sum<V, W, R> {
    weights: R,
    bias: V,
    activation: Activation,
    values: PhantomData<W>,
}

impl<'w, V: Vector, W, R: Weights<'w, V, W>> Fold<V> for Sum<V, W, R> {
    const PADDING: f32 = 0.0;

    #[inline(always)]
    unsafe fn start(&self) -> V {
        self.bias
    }

    #[inline(always)]
    unsafe fn step(&self, sum: V, position: usize, x: V) -> V {
        // SAFETY: the caller's.
        unsafe { x.mul_add(self.weights.at(position), sum) }
    }

    #[inline(always)]
    unsafe fn finish(&self, sum: V, _: [usize; 2], _: bool) -> V {
        // SAFETY: the caller's.
        unsafe { activate(self.activation, sum) }
    }
}
