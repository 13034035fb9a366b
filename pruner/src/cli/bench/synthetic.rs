//! `--synthetic-sparsity`: the model as if it had been pruned.

use clap::Args;
use regex::Regex;
use secateur_format::graph::Graph;
use secateur_format::op::Op;

use super::super::error::CliError;
use super::super::output::Output;
use crate::criterion::Criterion;
use crate::layer::{Layer, layers};
use crate::mask::{Bounds, Pattern, Scope};
use crate::prune::{Fallback, PruneOptions, Rule, prune};

#[derive(Debug, Args)]
pub(in crate::cli) struct SyntheticArgs {
    /// Prune the weights in memory to this sparsity first, the same in every layer: shows the speed, not the accuracy
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    synthetic_sparsity: Option<f64>,
    /// What is pruned together: unstructured, N:M (which fixes the sparsity), or RxC blocks
    #[arg(long, value_parser = str::parse::<Pattern>)]
    pattern: Option<Pattern>,
    /// Prune the first convolution, depthwise convolutions and the last layer too
    #[arg(long)]
    all: bool,
}

impl SyntheticArgs {
    /// The pruned graph; `None` if nothing is to be pruned.
    pub(super) fn prune(&self, graph: &Graph, out: &Output) -> Result<Option<Graph>, CliError> {
        if self.synthetic_sparsity.is_none() && self.pattern.is_none() {
            return match self.all {
                true => Err(CliError::usage("--all needs --synthetic-sparsity")),
                false => Ok(None),
            };
        }
        let mut graph = graph.clone();
        let options = PruneOptions {
            sparsity: self.synthetic_sparsity,
            alpha: None,
            pattern: self.pattern.unwrap_or(Pattern::Unstructured),
            criterion: Criterion::default(),
            scope: Scope::Uniform,
            fallback: Fallback::Dense,
            bounds: Bounds::default(),
            rules: if self.all { Vec::new() } else { spared(&graph)? },
            seed: 0,
        };
        let report = prune(&mut graph, &options, None)?;
        for layer in report.layers.iter().filter(|layer| !layer.skipped) {
            if let Some(note) = &layer.note {
                out.warn(&format!("{}: {note}", layer.name));
            }
        }
        Ok(Some(graph))
    }
}

/// Rules that leave the layers dense which are seldom pruned, and cost much accuracy if they are.
fn spared(graph: &Graph) -> Result<Vec<Rule>, CliError> {
    let shapes = graph.shapes().map_err(crate::prune::PruneError::from)?;
    let layers = layers(graph, &shapes);
    let is_conv = |layer: &Layer| {
        let node = graph.nodes.iter().find(|node| node.op.weight() == Some(layer.tensor));
        node.is_some_and(|node| matches!(node.op, Op::Conv2d(_)))
    };
    let first = layers.iter().position(is_conv);
    let last = layers.len().saturating_sub(1);
    let depthwise = |layer: &Layer| layer.group_rows < layer.rows && layer.channels == 1;
    let spared = layers.iter().enumerate();
    let spared = spared.filter(|(i, layer)| Some(*i) == first || *i == last || depthwise(layer));
    spared
        .map(|(_, layer)| {
            let name = format!("^{}$", regex::escape(&layer.name));
            Ok(Rule {
                layers: Regex::new(&name).map_err(CliError::usage)?,
                alpha: None,
                sparsity: Some(0.0),
                bounds: None,
                channels: None,
            })
        })
        .collect()
}
