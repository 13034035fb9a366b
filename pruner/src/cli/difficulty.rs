//! `secateur difficulty`

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::args::PreprocessArgs;
use super::convert::check_output;
use super::error::CliError;
use super::model::{fit, network_or_file};
use super::output::{Output, table};
use crate::data::{self, npy};
use crate::difficulty::difficulty;
use crate::recipe::{Rate, Training};
use crate::save::Overwrite;
use crate::train::{Hooks, Progress, Samples, Shape, State, zoo};

#[derive(Debug, Args)]
pub(super) struct DifficultyArgs {
    /// A network's name, or a model file, of which only the architecture is taken
    model: String,
    /// A data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file
    #[arg(long, value_name = "D")]
    data: PathBuf,
    /// Where the scores go: float32, one per sample in the order of the data
    #[arg(long, short, value_name = "OUT.npy")]
    output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// Trainings from weights drawn anew, over which scores are averaged
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    runs: u64,
    /// Epochs of each training
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: u64,
    /// Seed of the first training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

pub(super) fn run(args: &DifficultyArgs, out: &Output) -> Result<(), CliError> {
    check_output(&args.output, args.force)?;
    let loaded = data::load(&args.data)?;
    let dataset = &loaded.dataset;
    let model = network_or_file(&args.model, None, args.seed, || Ok(fit(dataset)), out)?;
    let given = args.preprocess.get().or(loaded.preprocess);
    let preprocess = given.or(model.preprocess).unwrap_or_default();
    // Scores are those of a training that has just begun, so the rate does not fall.
    let asked = Training {
        epochs: Some(args.epochs),
        schedule: Some(Rate::Shape(Shape::Constant)),
        ..Training::default()
    };
    let plan = asked
        .or(&Training::recommended(&args.model))
        .plan(args.seed, dataset.len());
    let init = zoo::find(&args.model).map(|network| network.init).unwrap_or_default();
    let samples = Samples {
        dataset,
        preprocess: &preprocess,
    };
    let mut watch = Watch(out.progress((args.runs * args.epochs) as usize * dataset.len(), "difficulty"));
    let scores = difficulty(&model.graph, init, samples, &plan, args.runs, &mut watch)?;
    watch.0.finish_and_clear();
    let overwrite = if args.force {
        Overwrite::Replace
    } else {
        Overwrite::Keep
    };
    let written: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
    npy::write_f32(&args.output, &[written.len()], &written, overwrite)?;

    let mut classes: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (&label, &score) in dataset.labels().unwrap_or_default().iter().zip(&scores) {
        classes.entry(label).or_default().push(score);
    }
    let names = dataset.class_names();
    let name = |class: u32| names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let json = json!({
        "output": args.output, "samples": scores.len(), "runs": args.runs, "epochs": args.epochs,
        "mean": mean(&scores),
        "per_class": classes.iter().map(|(&class, own)| json!({
            "class": class, "name": name(class), "count": own.len(), "mean": mean(own),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let row =
            |(&class, own): (&u32, &Vec<f64>)| vec![name(class), own.len().to_string(), format!("{:.4}", mean(own))];
        format!(
            "{}\nmean EL2N {:.4} of {} samples over {} trainings\nwrote {}\n",
            table(&["class", "of", "mean EL2N"], 1, classes.iter().map(row)),
            mean(&scores),
            scores.len(),
            args.runs,
            args.output.display()
        )
    })?;
    Ok(())
}

/// Shows how far it is.
struct Watch(ProgressBar);

impl Hooks for Watch {
    fn after_step(&mut self, _: &State, progress: &Progress) -> ControlFlow<()> {
        self.0.inc(progress.samples as u64);
        ControlFlow::Continue(())
    }
}
