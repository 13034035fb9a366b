//! What one mask looks like: structure that emerges in convolutions, and how far the weights that stay have moved.

use std::path::Path;

use serde_json::{Value, json};

use super::{Kept, Masked, weights};
use crate::chart::{Axes, Series, draw};
use crate::cli::error::CliError;
use crate::cli::output::{Output, percent, table};
use crate::layer::Layer;
use crate::mask::{Stability, Structure, Units, structure};
use crate::save::{Overwrite, write_file};

/// What is told of a layer, or of all.
#[derive(Clone, Copy, Default)]
struct Anatomy {
    weights: usize,
    kept: usize,
    /// Of convolutions.
    structure: Option<Structure>,
    /// Of runs.
    stability: Option<Stability>,
}

impl Anatomy {
    fn new(masked: &Masked, layer: &Layer, kept: &[bool]) -> Self {
        let stability = masked.initial.as_ref().map(|initial| {
            let mut found = Stability::default();
            found.add(weights(initial, layer), weights(&masked.graph, layer), kept);
            found
        });
        Self {
            weights: kept.len(),
            kept: kept.iter().filter(|&&kept| kept).count(),
            structure: (layer.op == "conv2d").then(|| structure(layer, kept)),
            stability,
        }
    }

    fn sparsity(&self) -> f64 {
        1.0 - self.kept as f64 / self.weights.max(1) as f64
    }
}

pub(super) fn show(masked: &Masked, svg: Option<&Path>, out: &Output) -> Result<(), CliError> {
    let layers = masked.layers.iter().zip(&masked.kept);
    let layers: Vec<(&str, Anatomy)> = layers
        .map(|(layer, kept)| (layer.name.as_str(), Anatomy::new(masked, layer, kept)))
        .collect();
    let all = all(masked, &layers);
    let last = [masked.kept.clone()];
    let rounds = if masked.rounds.is_empty() {
        &last
    } else {
        masked.rounds.as_slice()
    };
    let rounds: Vec<(f64, Structure)> = rounds.iter().map(|kept| convolutions(masked, kept)).collect();
    if let Some(path) = svg {
        if all.structure.is_none() {
            return Err(CliError::usage(format!(
                "--svg draws the structure of convolutions, and {} has none",
                masked.name
            )));
        }
        write_file(path, chart(&rounds).as_bytes(), Overwrite::Replace).map_err(|error| CliError::io(path, &error))?;
    }
    let json = json!({
        "model": masked.name,
        "layers": layers.iter().map(|(name, found)| row(name, found)).collect::<Vec<_>>(),
        "all": row("all", &all),
        "rounds": (1..).zip(&rounds).take(masked.rounds.len()).map(|(round, (sparsity, found))| json!({
            "round": round, "sparsity": sparsity, "structure": json_of(found),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || text(&layers, &all))?;
    Ok(())
}

fn all(masked: &Masked, layers: &[(&str, Anatomy)]) -> Anatomy {
    let mut all = Anatomy::default();
    for (_, layer) in layers {
        all.weights += layer.weights;
        all.kept += layer.kept;
        if let Some(own) = &layer.structure {
            all.structure.get_or_insert_default().add(own);
        }
    }
    if let Some(initial) = &masked.initial {
        let found = all.stability.get_or_insert_default();
        for (layer, kept) in masked.layers.iter().zip(&masked.kept) {
            found.add(weights(initial, layer), weights(&masked.graph, layer), kept);
        }
    }
    all
}

/// The sparsity of all convolutions together, and their structure.
fn convolutions(masked: &Masked, kept: &Kept) -> (f64, Structure) {
    let (mut found, mut weights, mut zeros) = (Structure::default(), 0, 0);
    let convolutions = masked.layers.iter().zip(kept).filter(|(layer, _)| layer.op == "conv2d");
    for (layer, kept) in convolutions {
        found.add(&structure(layer, kept));
        weights += kept.len();
        zeros += kept.iter().filter(|kept| !**kept).count();
    }
    (zeros as f64 / f64::max(weights as f64, 1.0), found)
}

fn json_of(found: &Structure) -> Value {
    let units = |units: &Units| json!({ "count": units.count, "zero": units.zero, "share": units.share(), "chance": units.chance() });
    json!({ "filters": units(&found.filters), "inputs": units(&found.inputs), "kernels": units(&found.kernels) })
}

fn row(name: &str, found: &Anatomy) -> Value {
    json!({
        "name": name, "weights": found.weights, "kept": found.kept,
        "structure": found.structure.as_ref().map(json_of),
        "stability": found.stability.map(|found| json!({
            "correlation": found.correlation(), "displacement": found.displacement(),
            "same_signs": found.same_signs(),
        })),
    })
}

fn text(layers: &[(&str, Anatomy)], all: &Anatomy) -> String {
    let mut header = vec!["layer", "zeros"];
    if all.structure.is_some() {
        header.extend(["zero filters", "zero inputs", "zero kernels"]);
    }
    if all.stability.is_some() {
        header.extend(["correlation", "displacement", "same signs"]);
    }
    let units = |units: &Units| format!("{} ({})", percent(units.share()), percent(units.chance()));
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
    let rows = layers.iter().copied().chain([("all", *all)]).map(|(name, found)| {
        let mut cells = vec![name.to_owned(), percent(found.sparsity())];
        if all.structure.is_some() {
            let of = found.structure;
            let of = of.map(|of| [of.filters, of.inputs, of.kernels].map(|of| units(&of)));
            cells.extend(of.unwrap_or_default());
        }
        if let Some(of) = found.stability {
            cells.extend([number(of.correlation()), number(of.displacement())]);
            cells.push(of.same_signs().map_or_else(String::new, percent));
        }
        cells
    });
    let mut text = table(&header, 1, rows);
    if all.structure.is_some() {
        text += "in brackets: what would be zero by chance\n";
    }
    if all.stability.is_some() {
        text +=
            "correlation, displacement and signs are those of the weights that stay, before and after all training\n";
    }
    text
}

/// Two lines for each kind of unit: the share that is zero, and what it would be by chance.
fn chart(rounds: &[(f64, Structure)]) -> String {
    let kinds: [(&str, fn(&Structure) -> Units); 3] = [
        ("filters", |found| found.filters),
        ("input channels", |found| found.inputs),
        ("kernels", |found| found.kernels),
    ];
    let series = kinds.into_iter().flat_map(|(name, units)| {
        let line = |name: String, value: fn(&Units) -> f64| Series {
            name,
            points: rounds
                .iter()
                .map(|(sparsity, found)| (*sparsity, value(&units(found))))
                .collect(),
            marked: Vec::new(),
        };
        [
            line(name.to_owned(), Units::share),
            line(format!("{name} by chance"), Units::chance),
        ]
    });
    let axes = Axes {
        title: "Structure in convolutions",
        x: "sparsity of the convolutions",
        y: "share that is entirely zero",
        log_x: false,
    };
    draw(axes, &series.collect::<Vec<_>>())
}
