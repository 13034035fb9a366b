//! What the layers of a network cost in time, as the runtime predicts it with its built-in costs for the best kernels that
//! this machine can run: predictions, unlike measurements, are the same each time, so that a run which is continued there
//! removes the same channels.

use std::collections::BTreeMap;

use secateur_format::Limits;
use secateur_format::graph::Graph;
use secateur_runtime::prepared::{Machine, Options, Problem, VectorTask};
use secateur_runtime::{ArenaBuf, Model, Node};

use super::coupling::Coupling;
use super::{ChannelError, choose, remove};
use crate::emit::{CheckError, EmitError, EmitOptions, EncodingChoice, Family, write};
use crate::layer::work;
use crate::lower::lower;
use crate::mask::Scope;

/// The parts of all channels that go in the networks which lines are fitted to.
const REMOVED: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

/// The time of a node: a line through its multiplications.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Line {
    /// Nanoseconds, however small it is.
    pub(super) fixed: f64,
    /// Nanoseconds of each multiplication.
    pub(super) slope: f64,
}

impl Line {
    /// Not time, but multiplications.
    pub(super) const MULTIPLICATIONS: Self = Self { fixed: 0.0, slope: 1.0 };

    /// By least squares; neither part is negative.
    fn fit(points: &[[f64; 2]]) -> Self {
        let count = points.len().max(1) as f64;
        let mean = |of: usize| points.iter().map(|point| point[of]).sum::<f64>() / count;
        let (x, y) = (mean(0), mean(1));
        let spread: f64 = points.iter().map(|point| (point[0] - x).powi(2)).sum();
        let joint: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
        let slope = if spread > 0.0 { (joint / spread).max(0.0) } else { 0.0 };
        match y - slope * x {
            fixed if fixed >= 0.0 => Self { fixed, slope },
            _ => Self {
                fixed: 0.0,
                slope: if x > 0.0 { y / x } else { 0.0 },
            },
        }
    }
}

/// The line of each node of `graph` that there is a prediction for, by name, on one thread (as arXiv 2204.09656 fits
/// lookup tables, but for the least number of units from which on time grows).
///
/// # Errors
/// A [`ChannelError`], if the network cannot be run.
pub(super) fn lines(graph: &Graph, coupling: &Coupling) -> Result<BTreeMap<String, Line>, ChannelError> {
    let mut points: BTreeMap<String, Vec<[f64; 2]>> = BTreeMap::new();
    for removed in REMOVED {
        let none = vec![0.0; coupling.count];
        let keep = choose(coupling, &none, |_| true, removed, Scope::Uniform, 1);
        let smaller = remove(graph, coupling, &keep)?;
        for (name, point) in predictions(&smaller)? {
            points.entry(name).or_default().push(point);
        }
    }
    if points.is_empty() {
        return Err(ChannelError::NoTimes);
    }
    let lines = points.into_iter().map(|(name, points)| (name, Line::fit(&points)));
    Ok(lines.collect())
}

/// Multiplications of each node and its predicted time, with the weights as they are.
fn predictions(graph: &Graph) -> Result<Vec<(String, [f64; 2])>, ChannelError> {
    let lowered = lower(graph)?;
    let dense = EmitOptions {
        encoding: EncodingChoice::Only(Family::Dense),
        strip: true,
        ..EmitOptions::default()
    };
    let bytes = write(&lowered, &dense)?.bytes;
    let buffer = ArenaBuf::copy_of(&bytes);
    let model = Model::read(buffer.as_ref(), &Limits::HOST);
    let model = model.map_err(|error| EmitError::from(CheckError::Unsupported(error.to_string())))?;
    // The same predictions wherever a run is continued.
    let options = Options {
        machine: Machine::default(),
        ..Options::default()
    };
    let shapes = lowered.shapes()?;
    let found = model.nodes().zip(&lowered.nodes).zip(work(&lowered, &shapes));
    let found = found.filter_map(|((node, def), multiplications)| {
        let ns = predicted(&model, &node, &options)?;
        Some((def.name.clone(), [multiplications as f64, ns]))
    });
    Ok(found.collect())
}

fn predicted(model: &Model<'_>, node: &Node<'_>, options: &Options) -> Option<f64> {
    match Problem::new(model, node).ok()? {
        Some(problem) => problem.task().candidates(options).first().map(|best| best.predicted_ns),
        None => VectorTask::new(model, node)?
            .candidates(options)
            .first()
            .map(|best| best.predicted_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_fitted_and_never_falls() {
        let line = Line::fit(&[[1.0, 5.0], [2.0, 7.0], [3.0, 9.0]]);
        assert!(
            (line.fixed - 3.0).abs() < 1e-9 && (line.slope - 2.0).abs() < 1e-9,
            "{line:?}"
        );
        let through = Line::fit(&[[1.0, 1.0], [2.0, 4.0]]);
        assert!(
            through.fixed == 0.0 && (through.slope - 5.0 / 3.0).abs() < 1e-9,
            "{through:?}"
        );
        let falling = Line::fit(&[[1.0, 4.0], [2.0, 2.0]]);
        assert_eq!(falling, Line { fixed: 3.0, slope: 0.0 });
        assert_eq!(Line::fit(&[[2.0, 4.0]]), Line { fixed: 4.0, slope: 0.0 });
        assert_eq!(Line::fit(&[]), Line::default());
    }
}
