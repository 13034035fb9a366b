//! `secateur impact`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::PreprocessArgs;
use super::error::CliError;
use super::model::{Opened, fit};
use super::output::{Output, percent, table};
use crate::data;
use crate::impact::{ClassImpact, Effort, impact};
use crate::train::Samples;

#[derive(Debug, Args)]
pub(super) struct ImpactArgs {
    /// The network before pruning
    dense: PathBuf,
    /// The same network after it
    sparse: PathBuf,
    /// A data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file
    #[arg(long, value_name = "D")]
    data: PathBuf,
    /// Samples of each class that gradient and curvature are measured on, at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Seed of the samples, of power iterations and of resampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

pub(super) fn run(args: &ImpactArgs, out: &Output) -> Result<(), CliError> {
    let [dense, sparse] = [&args.dense, &args.sparse].map(|path| Opened::new(path, out));
    let (dense, sparse) = (dense?, sparse?);
    let loaded = data::load(&args.data)?;
    let preprocess = dense.preprocess(args.preprocess.get(), loaded.preprocess)?;
    let samples = Samples {
        dataset: &loaded.dataset,
        preprocess: &preprocess,
    };
    let names = loaded.dataset.class_names();
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let effort = Effort {
        samples: args.samples as usize,
        seed: args.seed,
    };
    let bar = out.progress(fit(&loaded.dataset).1 as usize, "impact");
    let found = impact(&dense.source.graph, &sparse.source.graph, samples, effort, || {
        bar.inc(1)
    })?;
    bar.finish_and_clear();
    let of = |class: &ClassImpact| {
        let mut fields = json!(class);
        fields["name"] = name(class.class).into();
        fields
    };
    let json = json!({
        "shift": found.shift, "violation": found.violation,
        "per_class": found.classes.iter().map(of).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let rows = found.classes.iter().map(|class| {
            let number = |value: f64| format!("{value:.4}");
            let [low, high] = class.interval;
            vec![
                name(class.class),
                class.count.to_string(),
                percent(class.accuracy_dense),
                percent(class.accuracy_sparse),
                number(class.excess_loss),
                format!("{low:.4} to {high:.4}"),
                number(class.gradient_norm),
                number(class.curvature),
                number(class.bound),
                number(class.boundary),
            ]
        });
        let header = [
            "class",
            "of",
            "dense",
            "sparse",
            "excess loss",
            "95 %",
            "gradient",
            "curvature",
            "bound",
            "boundary",
        ];
        format!(
            "{}\nparameters moved by {:.4}; excess losses differ by up to {:.4}\n",
            table(&header, 1, rows),
            found.shift,
            found.violation
        )
    })?;
    Ok(())
}
