//! From stored values to network inputs.

use super::error::Defect;
use serde::{Deserialize, Serialize};

/// `(x * scale - mean) / std`, with `mean` and `std` per channel.
///
/// Each list is empty (no shift, no division), holds one value for all channels, or one value
/// for each channel. A quantised input `(q - zero_point) * step` is written as `scale = step`,
/// `mean = [zero_point * step]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocess {
    /// Factor of the stored value.
    pub scale: f32,
    /// Mean of the scaled values: `[]`, `[all]` or one per channel.
    pub mean: Vec<f32>,
    /// Standard deviation of the scaled values: `[]`, `[all]` or one per channel.
    pub std: Vec<f32>,
}

impl Default for Preprocess {
    /// The identity.
    fn default() -> Self {
        Self {
            scale: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
        }
    }
}

impl Preprocess {
    /// Whether [`Preprocess::apply`] leaves every value as it is.
    pub fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.mean.iter().all(|&mean| mean == 0.0) && self.std.iter().all(|&std| std == 1.0)
    }

    /// Checks that the numbers can be applied to samples of `channels` channels.
    ///
    /// # Errors
    ///
    /// When a number is not finite, `scale` or a `std` is zero, or a list's length is none of
    /// 0, 1 and `channels`.
    pub fn validate(&self, channels: usize) -> Result<(), Defect> {
        let usable = |divisor: f32| divisor.is_finite() && divisor != 0.0;
        if !usable(self.scale) {
            return Err(Defect::new(
                format!("preprocess.scale is {}", self.scale),
                "give a finite number other than zero",
            ));
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Defect::new(
                format!("preprocess.mean holds {mean}"),
                "give finite numbers",
            ));
        }
        if let Some(std) = self.std.iter().find(|&&std| !usable(std)) {
            return Err(Defect::new(
                format!("preprocess.std holds {std}"),
                "give finite numbers other than zero",
            ));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() > 1 && values.len() != channels {
                return Err(Defect::new(
                    format!("preprocess.{name} has {} values for {channels} channels", values.len()),
                    "give one value, or one for each channel",
                ));
            }
        }
        Ok(())
    }

    /// Turns the stored `values` of one sample, `[channels, ...]`, into network inputs in place.
    ///
    /// # Errors
    ///
    /// Those of [`Preprocess::validate`], or when `values` is not made of `channels` equal
    /// parts; `values` is then unchanged.
    pub fn apply(&self, values: &mut [f32], channels: usize) -> Result<(), Defect> {
        self.validate(channels)?;
        if channels == 0 || !values.len().is_multiple_of(channels) {
            return Err(Defect::new(
                format!("{} values do not make {channels} channels", values.len()),
                "pass one whole sample and its number of channels",
            ));
        }
        // `max` only serves an empty sample, as chunks must not have size zero.
        let plane = (values.len() / channels).max(1);
        for (channel, values) in values.chunks_exact_mut(plane).enumerate() {
            let mean = of_channel(&self.mean, channel, 0.0);
            let std = of_channel(&self.std, channel, 1.0);
            for value in values {
                *value = (*value * self.scale - mean) / std;
            }
        }
        Ok(())
    }
}

fn of_channel(values: &[f32], channel: usize, absent: f32) -> f32 {
    match values {
        [all] => *all,
        each => each.get(channel).copied().unwrap_or(absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_their_own_mean_and_std() {
        let preprocess = Preprocess {
            scale: 0.5,
            mean: vec![1.0, 2.0],
            std: vec![4.0],
        };
        let mut values = [2.0, 10.0, 4.0, 12.0];
        preprocess.apply(&mut values, 2).unwrap();
        assert_eq!(values, [0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn a_quantised_input_is_expressible() {
        let (step, zero_point) = (0.584_702_9_f32, 83.0);
        let preprocess = Preprocess {
            scale: step,
            mean: vec![zero_point * step],
            std: vec![1.0],
        };
        let mut values = [83.0, -128.0, 127.0];
        preprocess.apply(&mut values, 1).unwrap();
        assert_eq!(values[0], 0.0);
        assert!((values[1] + 211.0 * step).abs() < 1e-4);
        assert!((values[2] - 44.0 * step).abs() < 1e-4);
    }

    #[test]
    fn the_default_is_the_identity() {
        let identity = Preprocess::default();
        assert!(identity.is_identity());
        let mut values = [f32::MIN, -0.0, 3.5];
        identity.apply(&mut values, 3).unwrap();
        assert_eq!(values, [f32::MIN, -0.0, 3.5]);
        identity.apply(&mut [], 3).unwrap();
        let shifted = Preprocess {
            mean: vec![0.1],
            ..identity
        };
        assert!(!shifted.is_identity());
    }

    #[test]
    fn unusable_numbers_are_refused() {
        let refused = |scale, mean: &[f32], std: &[f32]| {
            let preprocess = Preprocess {
                scale,
                mean: mean.to_vec(),
                std: std.to_vec(),
            };
            assert!(preprocess.validate(3).is_err(), "{preprocess:?}");
        };
        refused(0.0, &[], &[]);
        refused(f32::NAN, &[], &[]);
        refused(1.0, &[f32::INFINITY], &[]);
        refused(1.0, &[], &[0.0]);
        refused(1.0, &[], &[f32::NAN]);
        refused(1.0, &[0.0, 0.0], &[]);
        refused(1.0, &[], &[1.0; 4]);
        assert!(Preprocess::default().apply(&mut [0.0; 4], 3).is_err());
        assert!(Preprocess::default().apply(&mut [0.0; 4], 0).is_err());
    }
}
