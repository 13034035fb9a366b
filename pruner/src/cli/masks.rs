//! `secateur masks`

use std::path::PathBuf;

use clap::Args;
use secateur_format::graph::Graph;
use serde_json::json;

use super::error::CliError;
use super::model::Opened;
use super::output::{Output, percent, table};
use crate::layer::{Layer, layers};
use crate::mask::{Overlap, overlap};

#[derive(Debug, Args)]
pub(super) struct MasksArgs {
    /// A pruned model
    first: PathBuf,
    /// Another of the same layers
    second: PathBuf,
}

pub(super) fn run(args: &MasksArgs, out: &Output) -> Result<(), CliError> {
    let open = |path: &PathBuf| Ok::<_, CliError>(Opened::new(path, out)?.source.graph);
    let (first, second) = (open(&args.first)?, open(&args.second)?);
    let (ours, theirs) = (prunable(&first)?, prunable(&second)?);
    let alike = ours.len() == theirs.len()
        && ours
            .iter()
            .zip(&theirs)
            .all(|(a, b)| (a.rows, a.cols) == (b.rows, b.cols));
    if !alike {
        return Err(CliError::usage(format!(
            "{} and {} have other layers: masks can only be compared of the same network",
            args.first.display(),
            args.second.display()
        )));
    }
    let mut all = Overlap::default();
    let mut found = Vec::new();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let of = overlap(kept(&first, ours), kept(&second, theirs));
        all.add(of);
        found.push((ours.name.clone(), of));
    }
    let overall = [("all".to_owned(), all)];
    let row = |name: &str, of: &Overlap| {
        json!({
            "name": name, "weights": of.weights, "kept_first": of.first, "kept_second": of.second,
            "kept_both": of.both, "jaccard": of.jaccard(), "chance": of.chance(),
        })
    };
    let layers: Vec<_> = found.iter().map(|(name, of)| row(name, of)).collect();
    out.result(&json!({ "layers": layers, "all": row("all", &overall[0].1) }), || {
        let density = |kept: usize, of: &Overlap| percent(kept as f64 / of.weights.max(1) as f64);
        let rows = found.iter().chain(&overall).map(|(name, of)| {
            vec![
                name.clone(),
                density(of.first, of),
                density(of.second, of),
                format!("{:.4}", of.jaccard()),
                format!("{:.4}", of.chance()),
            ]
        });
        table(
            &["layer", "first keeps", "second keeps", "jaccard", "by chance"],
            1,
            rows.collect::<Vec<_>>(),
        )
    })?;
    Ok(())
}

fn prunable(graph: &Graph) -> Result<Vec<Layer>, CliError> {
    Ok(layers(graph, &graph.shapes().map_err(CliError::check)?))
}

fn kept<'g>(graph: &'g Graph, layer: &Layer) -> impl Iterator<Item = bool> + use<'g> {
    let weights = graph.tensor(layer.tensor).map_or(&[][..], |tensor| &tensor.data);
    weights.iter().map(|&w| w != 0.0)
}
