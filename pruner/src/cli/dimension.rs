//! `secateur dimension`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::PreprocessArgs;
use super::error::CliError;
use super::model::Opened;
use super::output::{Output, table};
use crate::calibrate::Calibration;
use crate::data;
use crate::dimension::dimensions;
use crate::layer::layers;
use crate::train::Samples;

#[derive(Debug, Args)]
pub(super) struct DimensionArgs {
    /// A model
    model: PathBuf,
    /// The same after pruning, or another with layers of the same names
    sparse: Option<PathBuf>,
    /// A data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file; labels are not needed
    #[arg(long, value_name = "D")]
    data: PathBuf,
    /// Samples that are drawn of it: time grows with their square
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(3..=5000))]
    samples: u32,
    /// Seed of the samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

pub(super) fn run(args: &DimensionArgs, out: &Output) -> Result<(), CliError> {
    let loaded = data::load(&args.data)?;
    let models = std::iter::once(&args.model).chain(&args.sparse);
    let opened = models
        .map(|path| Opened::new(path, out))
        .collect::<Result<Vec<_>, _>>()?;
    let names = |opened: &Opened| -> Result<Vec<String>, CliError> {
        let graph = &opened.source.graph;
        let layers = layers(graph, &graph.shapes().map_err(CliError::check)?);
        Ok(layers.into_iter().map(|layer| layer.name).collect())
    };
    let first = names(&opened[0])?;
    for other in &opened[1..] {
        if names(other)? != first {
            return Err(CliError::usage(
                "the models have other layers: give the same network before and after pruning",
            ));
        }
    }
    let bar = out.progress(first.len() * opened.len(), "dimension");
    let mut columns = Vec::new();
    for model in &opened {
        let preprocess = model.preprocess(args.preprocess.get(), loaded.preprocess.clone())?;
        let samples = Samples {
            dataset: &loaded.dataset,
            preprocess: &preprocess,
        };
        let calibration = Calibration::new(samples, args.samples as usize, args.seed);
        columns.push(dimensions(&model.source.graph, &calibration, || bar.inc(1))?);
    }
    bar.finish_and_clear();
    let of = |column: usize, layer: usize| columns.get(column).and_then(|column| column[layer].1);
    let rows = first
        .iter()
        .enumerate()
        .map(|(layer, name)| json!({ "name": name, "dimension": of(0, layer), "dimension_sparse": of(1, layer) }));
    let samples = loaded.dataset.len().min(args.samples as usize);
    let json = json!({ "samples": samples, "layers": rows.collect::<Vec<_>>() });
    out.result(&json, || {
        let header = ["layer", "dimension", "after pruning"];
        let rows = first.iter().enumerate().map(|(layer, name)| {
            let number = |column| of(column, layer).map_or_else(|| "none".to_owned(), |found| format!("{found:.2}"));
            std::iter::once(name.clone())
                .chain((0..columns.len()).map(number))
                .collect()
        });
        table(&header[..=columns.len()], 1, rows)
    })?;
    Ok(())
}
