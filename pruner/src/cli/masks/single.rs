//! What one mask looks like: structure that emerges in convolutions, and how far the weights that stay have moved.

use std::path::Path;

use secateur_format::graph::Graph;
use serde_json::{Value, json};

use super::{Kept, Masked, weights};
use crate::chart::{Axes, Series, draw};
use crate::cli::error::CliError;
use crate::cli::output::{Output, percent, table};
use crate::layer::Layer;
use crate::mask::{Stability, Structure, Units, structure};
use crate::save::{Overwrite, write_file};

/// What is told of a layer, or of several together.
#[derive(Clone, Copy, Default)]
struct Anatomy {
    weights: usize,
    kept: usize,
    /// Of convolutions.
    structure: Option<Structure>,
    /// Since `initial`.
    stability: Option<Stability>,
}

impl Anatomy {
    /// Of the layers of these numbers.
    fn of(masked: &Masked, layers: &[usize], kept: &Kept, initial: Option<&Graph>) -> Self {
        let mut found = Self::default();
        for &index in layers {
            let (layer, kept) = (&masked.layers[index], &kept[index]);
            found.weights += kept.len();
            found.kept += kept.iter().filter(|&&kept| kept).count();
            if convolves(layer) {
                found.structure.get_or_insert_default().add(&structure(layer, kept));
            }
            if let Some(initial) = initial {
                let stability = found.stability.get_or_insert_default();
                stability.add(weights(initial, layer), weights(&masked.graph, layer), kept);
            }
        }
        found
    }

    fn sparsity(&self) -> f64 {
        (self.weights - self.kept) as f64 / self.weights.max(1) as f64
    }
}

fn convolves(layer: &Layer) -> bool {
    layer.op == "conv2d"
}

pub(super) fn show(masked: &Masked, svg: Option<&Path>, out: &Output) -> Result<(), CliError> {
    let of = |layers: &[usize]| Anatomy::of(masked, layers, &masked.kept, masked.initial.as_ref());
    let numbers: Vec<usize> = (0..masked.layers.len()).collect();
    let names = masked.layers.iter().map(|layer| layer.name.as_str());
    let layers: Vec<(&str, Anatomy)> = names.zip(numbers.iter().map(|&layer| of(&[layer]))).collect();
    let all = of(&numbers);
    let convolutions: Vec<usize> = numbers
        .into_iter()
        .filter(|&layer| convolves(&masked.layers[layer]))
        .collect();
    let round = |kept: &Kept| Anatomy::of(masked, &convolutions, kept, None);
    let rounds: Vec<Anatomy> = masked.rounds.iter().map(round).collect();
    if let Some(path) = svg {
        if convolutions.is_empty() {
            return Err(CliError::usage(format!(
                "--svg draws the structure of convolutions, and {} has none",
                masked.name
            )));
        }
        let drawn = if rounds.is_empty() {
            vec![round(&masked.kept)]
        } else {
            rounds.clone()
        };
        write_file(path, chart(&drawn).as_bytes(), Overwrite::Replace).map_err(|error| CliError::io(path, &error))?;
    }
    let json = json!({
        "model": masked.name,
        "layers": layers.iter().map(|(name, found)| row(name, found)).collect::<Vec<_>>(),
        "all": row("all", &all),
        "rounds": (1..).zip(&rounds).map(|(round, found)| json!({
            "round": round, "sparsity": found.sparsity(), "structure": found.structure.as_ref().map(json_of),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || text(&layers, &all))?;
    Ok(())
}

fn json_of(found: &Structure) -> Value {
    let units = found.kinds().map(|(name, units)| {
        let of = json!({ "count": units.count, "zero": units.zero, "share": units.share(), "chance": units.chance() });
        (name.to_owned(), of)
    });
    Value::Object(units.into_iter().collect())
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
            let of = of.map(|of| of.kinds().map(|(_, of)| units(&of)));
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
fn chart(rounds: &[Anatomy]) -> String {
    let line = |kind: usize, name: String, value: fn(&Units) -> f64| Series {
        name,
        points: rounds
            .iter()
            .map(|found| {
                let (_, units) = found.structure.unwrap_or_default().kinds()[kind];
                (found.sparsity(), value(&units))
            })
            .collect(),
        marked: Vec::new(),
    };
    let series = Structure::default()
        .kinds()
        .into_iter()
        .enumerate()
        .flat_map(|(kind, (name, _))| {
            [
                line(kind, name.to_owned(), Units::share),
                line(kind, format!("{name} by chance"), Units::chance),
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
