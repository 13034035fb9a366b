//! Element-wise functions. Through `libm`, so that every target computes the same bits.

use secateur_format::Activation;

/// `activation(x)`. NaN stays NaN.
#[inline(always)]
pub fn apply(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
        _ => apply_rare(activation, x),
    }
}

/// Applies `activation` to each of `sums`. The choice is made once, so that the
/// usual loops are vectors.
#[inline(always)]
pub(super) fn apply_all(activation: Activation, sums: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => sums.iter_mut().for_each(|x| *x = relu(*x)),
        _ => sums.iter_mut().for_each(|x| *x = apply_rare(activation, *x)),
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
