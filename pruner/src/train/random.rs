//! Random numbers as a function of what they are for: no generator has a position to be stored.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What random numbers are for. Each has streams of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The order of the samples in an epoch.
    Order,
    /// The augmentation of a sample.
    Augmentation,
    /// The initial values of a constant.
    Initial,
    /// The choice of the samples to calibrate on.
    Calibration,
    /// The choice of the samples that a training begins with, or of those of a class.
    Subset,
    /// Samples drawn again to see how sure a mean is.
    Bootstrap,
    /// A direction in the space of weights.
    Direction,
}

/// The numbers for `index` in round `round` (an epoch).
pub(crate) fn stream(seed: u64, purpose: Purpose, round: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((purpose as u64) << 60 | (round & 0x0fff_ffff) << 32 | (index & 0xffff_ffff));
    rng
}

/// A whole number from 0 to below `bound`.
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

/// A number in [0, 1).
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number of the standard normal distribution (Box and Muller 1958), the same on every machine.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(rng)));
    radius * libm::cos(std::f64::consts::TAU * unit(rng))
}
