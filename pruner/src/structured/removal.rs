//! Which channels leave, and what is done to the weights that read the others.

use secateur_format::graph::Graph;

use super::budget::within;
use super::choose::{choose, relative, scores};
use super::coupling::{Coupling, Group};
use super::fisher::{mask_gradients, rearrange};
use super::latency::lines;
use super::remove::remove;
use super::tune::tune;
use super::{ChannelError, ChannelOptions, ChannelReport, RemovedGroup, Size, Target};
use crate::calibrate::Calibration;
use crate::coreset::draw;
use crate::criterion::method::uniform;
use crate::criterion::{Criterion, Needs, Value};
use crate::mask::{Pattern, Scope};
use crate::prune::{Masks, kept_whole};
use crate::reconstruct::{LEAST_SQUARES, reconstruct};

/// The channels that leave a graph.
#[derive(Clone, Debug)]
pub struct Removal {
    pub(super) coupling: Coupling,
    pub(super) keep: Vec<bool>,
    pub(super) readers: Readers,
    pub(super) groups: Vec<RemovedGroup>,
}

/// What becomes of the weights that read the channels which stay.
#[derive(Clone, Debug)]
pub(super) enum Readers {
    /// They are multiplied by a factor of each channel.
    Scaled(Vec<f64>),
    /// They become those that keep the outputs best.
    Refitted,
    /// They are multiplied by what makes the outputs those of a network where these channels stay.
    Tuned(Vec<bool>),
}

impl Removal {
    /// Chooses them; criteria that need samples take those of `calibration`.
    ///
    /// # Errors
    /// A [`ChannelError`].
    pub fn new(
        graph: &Graph,
        options: &ChannelOptions,
        calibration: Option<&Calibration<'_>>,
    ) -> Result<Self, ChannelError> {
        options.target.check()?;
        let asked = |setting: &str, value| options.criterion.setting(setting) == Some(Value::Name(value));
        let drawn = asked("choice", "sample");
        if drawn && (options.round_to > 1 || !matches!(options.target, Target::Channels(_))) {
            return Err(ChannelError::Drawn);
        }
        let coupling = Coupling::new(graph)?;
        let scores = scores(graph, &coupling, &options.criterion, options.seed, calibration)?;
        let skipped = |group: &Group| group.layers.iter().find_map(|layer| kept_whole(&options.rules, layer));
        let lines = match options.target {
            Target::Time(_) => Some(lines(graph, &coupling)?),
            _ => None,
        };
        let stays = |target: Target| -> Result<Vec<bool>, ChannelError> {
            let may = |group: &Group| skipped(group).is_none();
            match target {
                Target::Channels(fraction) => {
                    // Probabilities of one group say nothing about those of another.
                    let scope = if drawn { Scope::Uniform } else { options.scope };
                    Ok(choose(&coupling, &scores, may, fraction, scope, options.round_to))
                }
                Target::Multiplications(share) | Target::Time(share) => {
                    // What estimates the loss is comparable between layers as it is.
                    let absolute = options.criterion.method().needs == Needs::Labels;
                    let own = if absolute {
                        scores.clone()
                    } else {
                        relative(&coupling, &scores)
                    };
                    let found = within(graph, &coupling, &own, may, lines.as_ref(), share, options.round_to)?;
                    let of = if lines.is_some() {
                        "predicted time"
                    } else {
                        "multiplications"
                    };
                    found.ok_or(ChannelError::Budget { share, of })
                }
            }
        };
        let mut keep = stays(options.target)?;
        if let (true, Some(calibration), Some(Value::Whole(batch))) = (
            asked("rearrange", "yes"),
            calibration,
            options.criterion.setting("batch"),
        ) {
            let gradients = mask_gradients(graph, &coupling, calibration, batch as usize)?;
            coupling
                .groups
                .iter()
                .for_each(|group| rearrange(group, &gradients, &mut keep));
        }
        let mut factors = factors(&keep);
        if drawn {
            draw_again(&coupling, &scores, options.seed, &mut factors);
            keep = factors.iter().map(|&factor| factor > 0.0).collect();
        }
        let readers = if options.refit {
            Readers::Refitted
        } else if asked("tune", "yes") {
            Readers::Tuned(stays(options.target.milder())?)
        } else {
            Readers::Scaled(factors)
        };
        if options.target != Target::Channels(0.0) && keep.iter().all(|&keep| keep) {
            let groups = coupling.groups.len();
            return Err(ChannelError::Nothing { groups });
        }
        let row = |group: &Group| {
            let kept = group.channels.iter().filter(|&&channel| keep[channel]).count();
            let rule = || skipped(group).map(|rule| format!("skipped by the rule `{}`", rule.layers));
            RemovedGroup {
                name: group.name.clone(),
                layers: group.layers.clone(),
                before: group.channels.len() * group.width,
                after: kept * group.width,
                note: group.pins.first().cloned().or_else(rule),
            }
        };
        let groups = coupling.groups.iter().map(row).collect();
        Ok(Self {
            coupling,
            keep,
            readers,
            groups,
        })
    }

    /// Zeroes the weights that read channels which leave, and changes those that read others as was asked for: the graph
    /// then computes in all other channels what the smaller one will.
    ///
    /// # Errors
    /// A [`ChannelError`], if weights are changed by samples that do not fit.
    pub fn disconnect(&self, graph: &mut Graph, calibration: Option<&Calibration<'_>>) -> Result<(), ChannelError> {
        let Self { coupling, keep, .. } = self;
        match (&self.readers, calibration) {
            (Readers::Scaled(factors), _) => disconnect(graph, coupling, factors),
            (Readers::Refitted, Some(calibration)) => {
                let mut masks = self.masks(graph);
                let (unstructured, none) = (Pattern::Unstructured, Criterion::default());
                reconstruct(graph, &mut masks, unstructured, &LEAST_SQUARES, &none, calibration)?;
            }
            (Readers::Tuned(teacher), Some(calibration)) => tune(graph, coupling, [keep, teacher], calibration)?,
            (_, None) => disconnect(graph, coupling, &factors(keep)),
        }
        Ok(())
    }

    /// What stays of the weights that read channels.
    fn masks(&self, graph: &Graph) -> Masks {
        let readers = self.coupling.slices.iter().filter(|slices| slices.reads(&graph.nodes));
        let mask = readers.map(|slices| {
            let rows = graph.tensor(slices.tensor).map_or(0, |tensor| tensor.rows as usize);
            let row: Vec<bool> = slices.channels.iter().map(|&channel| self.keep[channel]).collect();
            (slices.tensor, row.repeat(rows))
        });
        mask.collect()
    }

    /// The graph without them, and what that did.
    ///
    /// # Errors
    /// A [`ChannelError`], if it is another graph than they were chosen for.
    pub fn apply(self, graph: &Graph) -> Result<(Graph, ChannelReport), ChannelError> {
        let smaller = remove(graph, &self.coupling, &self.keep)?;
        let report = ChannelReport {
            groups: self.groups,
            before: Size::new(graph)?,
            after: Size::new(&smaller)?,
        };
        Ok((smaller, report))
    }
}

/// 1 for what stays, 0 for what goes.
pub(super) fn factors(keep: &[bool]) -> Vec<f64> {
    keep.iter().map(|&keep| f64::from(u8::from(keep))).collect()
}

/// Multiplies the weights that read each channel by its factor.
pub(super) fn disconnect(graph: &mut Graph, coupling: &Coupling, factors: &[f64]) {
    let Graph { nodes, tensors, .. } = graph;
    for slices in coupling.slices.iter().filter(|slices| slices.reads(nodes)) {
        if let Some(tensor) = tensors.get_mut(usize::from(slices.tensor.0)) {
            let weights = tensor.data.iter_mut().zip(slices.channels.iter().cycle());
            weights.for_each(|(weight, &channel)| *weight *= factors[channel] as f32);
        }
    }
}

/// Draws as many channels of each group as were to stay, with replacement, by their scores; `factors` become those of
/// what was drawn.
fn draw_again(coupling: &Coupling, scores: &[f64], seed: u64, factors: &mut [f64]) {
    for group in &coupling.groups {
        let count = group.channels.iter().filter(|&&channel| factors[channel] > 0.0).count();
        if count < group.channels.len() {
            let shares: Vec<f64> = group.channels.iter().map(|&channel| scores[channel]).collect();
            let drawn = draw(&shares, count, &uniform(count, &group.name, seed));
            group
                .channels
                .iter()
                .zip(drawn)
                .for_each(|(&channel, factor)| factors[channel] = factor);
        }
    }
}
