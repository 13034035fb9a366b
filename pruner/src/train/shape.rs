//! Decays of the learning rate as people write them: in epochs.

use std::fmt;
use std::str::FromStr;

use super::schedule::Decay;

/// A decay in epochs.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// It does not change.
    Constant,
    /// A line down to 0.
    Linear,
    /// Half a cosine down to 0.
    Cosine,
    /// As [`Decay::OneCycle`].
    OneCycle,
    /// Times a factor every so many epochs.
    Step(u64, f64),
    /// Times a factor at each of these epochs.
    MultiStep(Vec<u64>, f64),
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            format!(
                "`{text}` is no schedule: use constant, linear, cosine, one-cycle, step:EPOCHS,FACTOR (such as \
                 step:30,0.1) or multi-step:EPOCH,…,FACTOR (such as multi-step:50,75,0.1)"
            )
        };
        let numbers = |list: &str| -> Option<(Vec<u64>, f64)> {
            let (epochs, factor) = list.rsplit_once(',')?;
            let epochs: Option<Vec<u64>> = epochs.split(',').map(|epoch| epoch.parse().ok()).collect();
            let factor = factor
                .parse()
                .ok()
                .filter(|factor: &f64| factor.is_finite() && *factor > 0.0)?;
            Some((epochs?.into_iter().filter(|&epoch| epoch > 0).collect(), factor))
        };
        let (name, list) = text.split_once(':').unwrap_or((text, ""));
        match (name, list) {
            ("constant", "") => Ok(Self::Constant),
            ("linear", "") => Ok(Self::Linear),
            ("cosine", "") => Ok(Self::Cosine),
            ("one-cycle", "") => Ok(Self::OneCycle),
            ("step", list) => match numbers(list).ok_or_else(usage)? {
                (epochs, factor) if epochs.len() == 1 => Ok(Self::Step(epochs[0], factor)),
                _ => Err(usage()),
            },
            ("multi-step", list) => match numbers(list).ok_or_else(usage)? {
                (epochs, factor) if !epochs.is_empty() => Ok(Self::MultiStep(epochs, factor)),
                _ => Err(usage()),
            },
            _ => Err(usage()),
        }
    }
}

impl Shape {
    /// In steps, of which an epoch has so many.
    pub fn decay(&self, per_epoch: u64) -> Decay {
        match self {
            Self::Constant => Decay::Constant,
            Self::Linear => Decay::Linear,
            Self::Cosine => Decay::Cosine { end: 0.0 },
            Self::OneCycle => Decay::OneCycle,
            Self::Step(epochs, factor) => Decay::Step {
                every: epochs * per_epoch,
                factor: *factor,
            },
            Self::MultiStep(epochs, factor) => Decay::MultiStep {
                at: epochs.iter().map(|epoch| epoch * per_epoch).collect(),
                factor: *factor,
            },
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Linear => f.write_str("linear"),
            Self::Cosine => f.write_str("cosine"),
            Self::OneCycle => f.write_str("one-cycle"),
            Self::Step(epochs, factor) => write!(f, "step:{epochs},{factor}"),
            Self::MultiStep(epochs, factor) => {
                f.write_str("multi-step:")?;
                epochs.iter().try_for_each(|epoch| write!(f, "{epoch},"))?;
                write!(f, "{factor}")
            }
        }
    }
}
