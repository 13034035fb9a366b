//! `secateur sensitivity`

use std::path::PathBuf;

use clap::Args;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::args::PreprocessArgs;
use super::error::CliError;
use super::model::Opened;
use super::output::{Output, percent, table};
use crate::chart::{Axes, Series, draw};
use crate::data;
use crate::digest::Digests;
use crate::layer::layers;
use crate::prune::{Rule, prune};
use crate::recipe::Recipe;
use crate::save::{Overwrite, write_file};
use crate::train::{Loss, Samples, evaluate};

#[derive(Debug, Args)]
pub(super) struct SensitivityArgs {
    /// The model
    model: PathBuf,
    /// A data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file
    #[arg(long, value_name = "D")]
    data: PathBuf,
    /// The sparsities that each layer is pruned to, alone
    #[arg(long, value_name = "S,…", value_delimiter = ',', default_values_t = [0.5, 0.7, 0.8, 0.9, 0.95])]
    sparsities: Vec<f64>,
    /// Keep what is measured in this file, and measure only what it does not hold yet
    #[arg(long, short, value_name = "OUT.json")]
    output: Option<PathBuf>,
    /// Draw accuracy over sparsity, a line for each layer
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// What is measured, and what it is measured of.
#[derive(Serialize, Deserialize)]
struct Measured {
    inputs: Digests,
    points: Vec<Point>,
}

/// One layer at one sparsity, all others dense.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    layer: String,
    sparsity: f64,
    accuracy: f64,
    loss: f64,
}

pub(super) fn run(args: &SensitivityArgs, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model, out)?;
    let loaded = data::load(&args.data)?;
    let preprocess = opened.preprocess(args.preprocess.get(), loaded.preprocess)?;
    let samples = Samples {
        dataset: &loaded.dataset,
        preprocess: &preprocess,
    };
    let graph = &opened.source.graph;
    let names: Vec<String> = layers(graph, &graph.shapes().map_err(CliError::check)?)
        .into_iter()
        .map(|layer| layer.name)
        .collect();
    let mut inputs = Digests::default();
    inputs.model("the model", &opened.source).map_err(CliError::check)?;
    inputs.samples("the data", &loaded.dataset);
    inputs.preprocessing(&preprocess);
    let mut measured = known(args, inputs)?;
    let bar = out.progress(names.len() * args.sparsities.len(), "sensitivity");
    for name in &names {
        for &sparsity in &args.sparsities {
            bar.inc(1);
            if find(&measured.points, name, sparsity).is_some() {
                continue;
            }
            let rule = |layers: &str, sparsity| {
                Ok::<_, CliError>(Rule {
                    alpha: None,
                    layers: Regex::new(layers).map_err(CliError::check)?,
                    sparsity: Some(sparsity),
                    bounds: None,
                    channels: None,
                })
            };
            let mut options = Recipe::default().options(Some(sparsity));
            options.rules = vec![rule("", 0.0)?, rule(&format!("^{}$", regex::escape(name)), sparsity)?];
            let mut pruned = graph.clone();
            prune(&mut pruned, &options, None)?;
            let found = evaluate(&pruned, &samples, Loss::CrossEntropy { smoothing: 0.0 })?;
            measured.points.push(Point {
                layer: name.clone(),
                sparsity,
                accuracy: found.accuracy.fraction(),
                loss: found.loss,
            });
            if let Some(path) = &args.output {
                let text = serde_json::to_string_pretty(&measured).unwrap_or_default() + "\n";
                write_file(path, text.as_bytes(), Overwrite::Replace).map_err(|error| CliError::io(path, &error))?;
            }
        }
    }
    bar.finish_and_clear();
    let points = measured.points;
    if let Some(path) = &args.svg {
        let text = svg(&names, &args.sparsities, &points);
        write_file(path, text.as_bytes(), Overwrite::Replace).map_err(|error| CliError::io(path, &error))?;
    }
    out.result(&json!({ "points": points }), || {
        let header: Vec<String> = args.sparsities.iter().map(|&sparsity| percent(sparsity)).collect();
        let header: Vec<&str> = std::iter::once("layer")
            .chain(header.iter().map(String::as_str))
            .collect();
        let rows = names.iter().map(|name| {
            let cell =
                |&sparsity| find(&points, name, sparsity).map_or_else(String::new, |point| percent(point.accuracy));
            std::iter::once(name.clone())
                .chain(args.sparsities.iter().map(cell))
                .collect()
        });
        format!("accuracy with one layer pruned\n{}", table(&header, 1, rows))
    })?;
    Ok(())
}

/// What an earlier run has measured of the same inputs.
fn known(args: &SensitivityArgs, inputs: Digests) -> Result<Measured, CliError> {
    let Some(path) = args.output.as_ref().filter(|path| path.exists()) else {
        let points = Vec::new();
        return Ok(Measured { inputs, points });
    };
    let text = std::fs::read(path).map_err(|error| CliError::io(path, &error))?;
    let measured: Measured = serde_json::from_slice(&text)
        .map_err(|error| CliError::unreadable(path, format!("no measurements ({error}); give another file")))?;
    inputs.check(&measured.inputs, path)?;
    Ok(measured)
}

fn find<'p>(points: &'p [Point], layer: &str, sparsity: f64) -> Option<&'p Point> {
    points
        .iter()
        .find(|point| point.layer == layer && point.sparsity == sparsity)
}

/// Accuracy over sparsity, a line for each layer.
fn svg(names: &[String], sparsities: &[f64], points: &[Point]) -> String {
    let series = names.iter().map(|name| Series {
        name: name.clone(),
        points: sparsities
            .iter()
            .filter_map(|&sparsity| Some((sparsity, find(points, name, sparsity)?.accuracy)))
            .collect(),
        marked: Vec::new(),
    });
    let axes = Axes {
        title: "Accuracy with one layer pruned",
        x: "sparsity of the layer",
        y: "accuracy",
        log_x: false,
    };
    draw(axes, &series.collect::<Vec<_>>())
}
