//! Activations and their derivatives.

use secateur_format::Activation;

use crate::train::simd::simd;

/// `y = f(y)`.
pub(in crate::train) fn forward_in_place(activation: Activation, y: &mut [f32]) {
    match activation {
        // Comparisons are such that what is not a number stays so.
        Activation::Relu => map(
            y,
            #[inline(always)]
            |x| if x < 0.0 { 0.0 } else { x },
        ),
        Activation::Relu6 => map(
            y,
            #[inline(always)]
            |x: f32| x.clamp(0.0, 6.0),
        ),
        Activation::LeakyRelu(slope) => map(
            y,
            #[inline(always)]
            |x| if x < 0.0 { slope * x } else { x },
        ),
        Activation::Gelu => map(y, |x| x * normal_cdf(x)),
        Activation::Silu => map(y, |x| x * sigmoid(x)),
        Activation::Sigmoid => map(y, sigmoid),
        Activation::Tanh => map(y, f32::tanh),
        Activation::HardSwish => map(
            y,
            #[inline(always)]
            |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        ),
        _ => {}
    }
}

#[inline(always)]
fn map(y: &mut [f32], f: impl Fn(f32) -> f32) {
    simd(
        #[inline(always)]
        || y.iter_mut().for_each(|y| *y = f(*y)),
    );
}

/// Turns the gradient of the output into that of the input. `value` is the output where
/// [`from_output`](crate::train::program::from_output) says so, else the input.
pub(in crate::train) fn backward(activation: Activation, value: &[f32], dy: &mut [f32]) {
    match activation {
        Activation::Relu => scale(
            value,
            dy,
            #[inline(always)]
            |y| f32::from(y > 0.0),
        ),
        Activation::Relu6 => scale(
            value,
            dy,
            #[inline(always)]
            |y| f32::from(y > 0.0 && y < 6.0),
        ),
        Activation::LeakyRelu(slope) => scale(
            value,
            dy,
            #[inline(always)]
            |x| if x > 0.0 { 1.0 } else { slope },
        ),
        Activation::Sigmoid => scale(
            value,
            dy,
            #[inline(always)]
            |y| y * (1.0 - y),
        ),
        Activation::Tanh => scale(
            value,
            dy,
            #[inline(always)]
            |y| 1.0 - y * y,
        ),
        Activation::Gelu => scale(value, dy, |x| normal_cdf(x) + x * normal_density(x)),
        Activation::Silu => scale(value, dy, |x| {
            let s = sigmoid(x);
            s * (1.0 + x * (1.0 - s))
        }),
        Activation::HardSwish => scale(
            value,
            dy,
            #[inline(always)]
            |x| {
                if x <= -3.0 {
                    0.0
                } else if x < 3.0 {
                    x / 3.0 + 0.5
                } else {
                    1.0
                }
            },
        ),
        _ => {}
    }
}

#[inline(always)]
fn scale(value: &[f32], dy: &mut [f32], derivative: impl Fn(f32) -> f32) {
    simd(
        #[inline(always)]
        || {
            dy.iter_mut()
                .zip(value)
                .for_each(|(dy, &value)| *dy *= derivative(value))
        },
    );
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Φ(x).
fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// φ(x).
fn normal_density(x: f32) -> f32 {
    (-0.5 * x * x).exp() * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2)
}
