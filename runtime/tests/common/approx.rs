//! Numbers in f64 that know how far an f32 computation of them may be off.

use secateur_format::Activation;

const EPS: f64 = f32::EPSILON as f64;

/// How far a sum of `len` products may be off in f32, in any order, fused or
/// not, where `magnitude` is the sum of the absolute values of bias and products.
/// The one tolerance of all tests: everything else follows from it.
fn tolerance(len: usize, magnitude: f64) -> f64 {
    (len as f64 + 2.0) * EPS * magnitude
}

/// A value, and how far an f32 computation of it may be off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Approx {
    pub(crate) value: f64,
    pub(crate) error: f64,
}

impl Approx {
    pub(crate) const ZERO: Self = Self::exact(0.0);

    pub(crate) const fn exact(value: f32) -> Self {
        Self {
            value: value as f64,
            error: 0.0,
        }
    }

    /// Whether `y` is this value. What is not finite must be the same.
    pub(crate) fn admits(&self, y: f32) -> bool {
        let y = f64::from(y);
        if !self.value.is_finite() || !y.is_finite() {
            return y == self.value || (y.is_nan() && self.value.is_nan());
        }
        (y - self.value).abs() <= self.error
    }

    /// `bias + Σ w · x`. Zero weights count for nothing: they add no error.
    pub(crate) fn dot(bias: f32, terms: impl Iterator<Item = (f32, Self)>) -> Self {
        let (mut value, mut magnitude, mut inherited, mut len) = (f64::from(bias), f64::from(bias.abs()), 0.0, 0);
        for (w, x) in terms.filter(|(w, _)| *w != 0.0) {
            let w = f64::from(w);
            value += w * x.value;
            magnitude += w.abs() * (x.value.abs() + x.error);
            inherited += w.abs() * x.error;
            len += 1;
        }
        let error = inherited + tolerance(len, magnitude);
        Self { value, error }
    }

    /// `(Σ x) / count`.
    pub(crate) fn mean(terms: impl Iterator<Item = Self>, count: usize) -> Self {
        let sum = Self::dot(0.0, terms.map(|x| (1.0, x)));
        let value = sum.value / count as f64;
        Self {
            value,
            error: sum.error / count as f64 + EPS * value.abs(),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let value = self.value + other.value;
        let inherited = self.error + other.error;
        Self {
            value,
            error: inherited + EPS * (value.abs() + inherited),
        }
    }

    /// The sum, which may also be found by starting the `len` products that make up `self` from `other`.
    pub(crate) fn started_from(self, other: Self, len: usize) -> Self {
        let sum = self.plus(other);
        Self {
            error: sum.error + tolerance(len, other.value.abs() + other.error),
            ..sum
        }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        let value = self.value * other.value;
        let inherited = self.value.abs() * other.error + other.value.abs() * self.error + self.error * other.error;
        Self {
            value,
            error: inherited + EPS * (value.abs() + inherited) + f64::from(f32::MIN_POSITIVE),
        }
    }

    /// The larger one; off by what either may be off.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            value: self.value.max(other.value),
            error: self.error.max(other.error),
        }
    }

    /// An activation: errors grow by its steepest slope, and by a few roundings of its own.
    pub(crate) fn activate(self, activation: Activation) -> Self {
        let x = self.value;
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let relu = |x: f64| if x < 0.0 { 0.0 } else { x };
        let relu6 = |x: f64| if x > 6.0 { 6.0 } else { relu(x) };
        let (value, slope, own) = match activation {
            Activation::Identity => return self,
            Activation::Relu => (relu(x), 1.0, 0.0),
            Activation::Relu6 => (relu6(x), 1.0, 0.0),
            Activation::LeakyRelu(slope) => {
                let slope = f64::from(slope);
                (if x < 0.0 { x * slope } else { x }, slope.abs().max(1.0), 1.0)
            }
            // 1 + erf cancels for negative x: its error is relative to x.
            Activation::Gelu => {
                let value = 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
                return Self {
                    value,
                    error: 1.2 * self.error + 4.0 * EPS * x.abs(),
                };
            }
            Activation::Silu => (x * sigmoid, 1.2, 4.0),
            Activation::Sigmoid => (sigmoid, 0.25, 4.0),
            Activation::Tanh => (x.tanh(), 1.0, 4.0),
            Activation::HardSwish => (x * relu6(x + 3.0) / 6.0, 1.5, 4.0),
            _ => panic!("the reference does not know {activation:?}"),
        };
        // Where f32 underflows, nothing is relative any more.
        let underflow = f64::from(f32::MIN_POSITIVE);
        Self {
            value,
            error: slope * self.error + own * EPS * value.abs() + underflow,
        }
    }

    /// Softmax of a line.
    pub(crate) fn softmax(line: &[Self]) -> Vec<Self> {
        let max = line.iter().fold(Self::exact(f32::NEG_INFINITY), |max, &x| max.max(x));
        let sum: f64 = line.iter().map(|x| (x.value - max.value).exp()).sum();
        line.iter()
            .map(|x| {
                let value = (x.value - max.value).exp() / sum;
                // Numerator and denominator change by e^±2δ when all inputs change by δ, and the
                // difference to the maximum is rounded; an input below f32's underflow becomes 0.
                let relative = (4.0 * max.error).exp_m1() + (line.len() as f64 + 8.0 + (max.value - x.value)) * EPS;
                Self {
                    value,
                    error: value * relative + f64::from(f32::MIN_POSITIVE),
                }
            })
            .collect()
    }
}
