//! Structured pruning: channels leave the graph, with everything that is coupled to them, and
//! what stays is a smaller dense graph like any other.

mod budget;
mod choose;
mod classes;
mod coupling;
mod fisher;
mod latency;
mod permute;
mod propagate;
mod removal;
mod remove;
#[cfg(test)]
mod tests;
mod tune;
mod unused;

use std::fmt;

use secateur_format::graph::{Graph, GraphError};
use thiserror::Error;

pub use choose::{choose, scores};
pub use coupling::{Axis, Coupling, Group, Slices};
pub use fisher::mask_gradients;
pub use permute::permute;
pub use removal::Removal;
pub use remove::remove;
pub use unused::unused;

use crate::calibrate::Calibration;
use crate::criterion::{Criterion, CriterionError};
use crate::emit::EmitError;
use crate::eval::EvalError;
use crate::layer::multiplications;
use crate::mask::Scope;
use crate::prune::Rule;
use crate::reconstruct::ReconstructError;

/// How much to remove.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A fraction of the removable channels.
    Channels(f64),
    /// As many channels as leave at most this share of the multiplications.
    Multiplications(f64),
    /// As many channels as leave at most this share of the time that the runtime predicts for the layers.
    Time(f64),
}

impl Target {
    fn check(self) -> Result<(), ChannelError> {
        match self {
            Self::Channels(fraction) if !(0.0..1.0).contains(&fraction) => Err(ChannelError::Fraction(fraction)),
            Self::Multiplications(share) | Self::Time(share) if !(share > 0.0 && share < 1.0) => {
                Err(ChannelError::Share(share))
            }
            _ => Ok(()),
        }
    }

    /// Half way there: twice the same share leaves as much.
    fn milder(self) -> Self {
        match self {
            Self::Channels(fraction) => Self::Channels(1.0 - (1.0 - fraction).sqrt()),
            Self::Multiplications(share) => Self::Multiplications(share.sqrt()),
            Self::Time(share) => Self::Time(share.sqrt()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channels(fraction) => write!(f, "{fraction}"),
            Self::Multiplications(share) => write!(f, "macs {share}"),
            Self::Time(share) => write!(f, "latency {share}"),
        }
    }
}

/// How to remove channels.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// How much.
    pub target: Target,
    /// Whether the layers that read channels which leave get the weights that keep their outputs best, over samples.
    pub refit: bool,
    /// Each group keeps a multiple of so many channels, or all.
    pub round_to: usize,
    /// Which channels go first.
    pub criterion: Criterion,
    /// Where they compete.
    pub scope: Scope,
    /// Groups with a layer that these leave dense, or whose channels they leave alone, keep all; the last that matches a
    /// layer counts.
    pub rules: Vec<Rule>,
    /// Seed of random scores.
    pub seed: u64,
}

/// What happened to a group.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RemovedGroup {
    /// The group's name.
    pub name: String,
    /// Nodes whose outputs they are.
    pub layers: Vec<String>,
    /// Channels before.
    pub before: usize,
    /// Channels after.
    pub after: usize,
    /// Why it was left as it is.
    pub note: Option<String>,
}

/// The size of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Numbers in all constants.
    pub parameters: u64,
    /// Multiplications of linear and convolution layers, for one sample.
    pub multiplications: u64,
    /// Of the constants in f32.
    pub bytes: u64,
}

impl Size {
    /// The size of `graph`.
    ///
    /// # Errors
    /// A [`GraphError`] if the graph is not valid.
    pub fn new(graph: &Graph) -> Result<Self, GraphError> {
        let parameters = graph.tensors.iter().map(|tensor| tensor.data.len() as u64).sum();
        Ok(Self {
            parameters,
            multiplications: multiplications(graph, &graph.shapes()?),
            bytes: 4 * parameters,
        })
    }
}

/// What removal did.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ChannelReport {
    /// Group by group.
    pub groups: Vec<RemovedGroup>,
    /// The graph as it was.
    pub before: Size,
    /// The graph as it is.
    pub after: Size,
}

/// Why channels cannot be removed as asked.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The criterion cannot score the model.
    #[error(transparent)]
    Criterion(#[from] CriterionError),
    /// The fraction is outside 0..1.
    #[error("{0} is not a fraction of channels from 0 to below 1 (0.5 = half of them removed)")]
    Fraction(f64),
    /// The share is outside 0..1.
    #[error("{0} is not a share between 0 and 1 (0.5 = half of the multiplications, or of the time, stays)")]
    Share(f64),
    /// So few multiplications, or so little time, cannot be had.
    #[error(
        "removing channels cannot leave only {share} of the {of}: each coupled group keeps a channel (or \
         round_to of them), and pinned and skipped ones stay; allow more"
    )]
    Budget {
        /// What was asked for.
        share: f64,
        /// Multiplications or time.
        of: &'static str,
    },
    /// The network cannot be written as it would be run.
    #[error(transparent)]
    Time(#[from] EmitError),
    /// There is no time to predict.
    #[error(
        "there is no prediction for any layer of the network (only products and convolutions that are not depthwise have \
         one, where a kernel fits): give a budget of multiplications, macs, instead"
    )]
    NoTimes,
    /// Drawing leaves other counts.
    #[error(
        "coreset draws a fraction of each group's channels, some more than once: their number can be neither rounded nor \
         fitted to a budget; use structured without round_to, or coreset:choice=rank"
    )]
    Drawn,
    /// The samples do not fit.
    #[error(transparent)]
    Samples(#[from] EvalError),
    /// What reads the channels cannot be refitted.
    #[error(transparent)]
    Refit(#[from] ReconstructError),
    /// Nothing would be removed.
    #[error(
        "no channel would be removed: each of the {groups} groups is pinned, skipped, or so small that rounding \
         keeps all of it; `inspect --groups` shows them"
    )]
    Nothing {
        /// How many groups there are.
        groups: usize,
    },
}

/// Removes channels of `graph`; criteria that need samples take those of `calibration`.
///
/// # Errors
/// A [`ChannelError`]; the graph is then unchanged.
pub fn remove_channels(
    graph: &mut Graph,
    options: &ChannelOptions,
    calibration: Option<&Calibration<'_>>,
) -> Result<ChannelReport, ChannelError> {
    let removal = Removal::new(graph, options, calibration)?;
    let mut disconnected = graph.clone();
    removal.disconnect(&mut disconnected, calibration)?;
    let (smaller, report) = removal.apply(&disconnected)?;
    *graph = smaller;
    Ok(report)
}

#[cfg(test)]
mod target {
    use super::Target;

    #[test]
    fn two_steps_of_the_milder_target_are_the_target() {
        // algorithms.md 4.2: two steps to half of the multiplications.
        let once = Target::Multiplications(0.5).milder();
        assert_eq!(once, Target::Multiplications(std::f64::consts::FRAC_1_SQRT_2));
        assert_eq!(Target::Channels(0.75).milder(), Target::Channels(0.5));
    }
}
