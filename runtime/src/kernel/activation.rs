//! Element-wise functions. Through `libm`, so that every target computes the same bits.

use secateur_format::Activation;

use super::vector::{MOST_LANES, Vector};

/// `activation(x)`. NaN stays NaN.
#[inline(always)]
pub fn apply(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
        _ => apply_rare(activation, x),
    }
}

/// Comparisons rather than `max`, which would turn NaN into 0.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

fn relu6(x: f32) -> f32 {
    let x = relu(x);
    if x > 6.0 { 6.0 } else { x }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// Not inlined into kernels: it would be copied into each of them.
#[inline(never)]
fn apply_rare(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Relu6 => relu6(x),
        Activation::LeakyRelu(slope) => {
            if x < 0.0 {
                x * slope
            } else {
                x
            }
        }
        Activation::Gelu => 0.5 * x * (1.0 + libm::erff(x * core::f32::consts::FRAC_1_SQRT_2)),
        Activation::Silu => x * sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => libm::tanhf(x),
        Activation::HardSwish => x * relu6(x + 3.0) / 6.0,
        _ => x,
    }
}

/// `activation` of every lane; the rare ones lane by lane.
///
/// # Safety
/// The CPU must have the instruction set of `V`.
#[inline(always)]
pub(super) unsafe fn activate<V: Vector>(activation: Activation, x: V) -> V {
    // SAFETY: the caller's promise; the array has room for any vector.
    unsafe {
        match activation {
            Activation::Identity => x,
            Activation::Relu => x.at_least(V::splat(0.0)),
            Activation::Relu6 => x.at_least(V::splat(0.0)).at_most(V::splat(6.0)),
            Activation::LeakyRelu(slope) => x.scale_negative(V::splat(slope)),
            _ => {
                let mut lanes = [0.0f32; MOST_LANES];
                x.store(lanes.as_mut_ptr());
                rare_lanes(activation, &mut lanes);
                V::load(lanes.as_ptr())
            }
        }
    }
}

/// Not inlined, like [`apply_rare`].
#[inline(never)]
fn rare_lanes(activation: Activation, lanes: &mut [f32; MOST_LANES]) {
    lanes.iter_mut().for_each(|x| *x = apply_rare(activation, *x));
}
