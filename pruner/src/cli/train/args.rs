//! The arguments of `secateur train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::PreprocessArgs;
use crate::cli::error::CliError;
use crate::recipe::{Length, Optimizer, Rate, Training};
use crate::train::zoo::NETWORKS;
use crate::train::{Distillation, Init, Loss, Plan, Shape};

#[derive(Debug, Args)]
#[command(after_help = networks())]
pub(in crate::cli) struct TrainArgs {
    /// A network's name (see below) or a model.toml without weights for fresh ones, or a model file for those it has
    #[arg(required_unless_present = "resume")]
    pub(super) model: Option<String>,
    /// The data to train on: a data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file
    #[arg(long, value_name = "D", required_unless_present = "resume")]
    pub(super) data: Option<PathBuf>,
    /// The data to measure accuracy on, after every epoch
    #[arg(long, value_name = "D")]
    pub(super) test: Option<PathBuf>,
    /// The folder that is written: checkpoint, metrics, model.toml and model.safetensors
    #[arg(long, short, value_name = "DIR", required_unless_present = "resume")]
    pub(super) out: Option<PathBuf>,
    /// Continue the run of this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "data", "test", "out", "teacher"])]
    pub(super) resume: Option<PathBuf>,
    /// Draw fresh weights, also for a model that has some
    #[arg(long, value_enum)]
    pub(super) init: Option<Init>,
    /// A model of the same inputs and outputs to learn from
    #[arg(long, value_name = "MODEL")]
    pub(super) teacher: Option<PathBuf>,
    /// Threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Show the time of every node
    #[arg(long)]
    pub(super) profile: bool,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Debug, Args)]
struct PlanArgs {
    /// Times that each sample is seen; default 10
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: Option<u64>,
    /// Samples of a step; default 128
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// Highest learning rate; default 0.05 for sgd, 0.001 for adam and adamw
    #[arg(long, value_parser = positive)]
    lr: Option<f64>,
    /// constant, linear, cosine (the default), one-cycle, step:EPOCHS,FACTOR or multi-step:EPOCH,…,FACTOR
    #[arg(long)]
    schedule: Option<Shape>,
    /// Epochs in which the learning rate rises first
    #[arg(long, value_name = "EPOCHS")]
    warmup: Option<u64>,
    /// sgd (the default), adam or adamw
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// What stays of the velocity each step (sgd); default 0.9
    #[arg(long, value_parser = fraction)]
    momentum: Option<f32>,
    /// Look ahead by the velocity (sgd)
    #[arg(long)]
    nesterov: bool,
    /// Default 0.0005 for sgd, 0 for adam, 0.01 for adamw
    #[arg(long, value_parser = not_negative)]
    weight_decay: Option<f32>,
    /// cross-entropy or mean-square
    #[arg(long, default_value = "cross-entropy", value_enum)]
    loss: LossKind,
    /// Share of the label that goes to all classes alike
    #[arg(long, value_parser = fraction)]
    smoothing: Option<f32>,
    /// Temperature of the teacher
    #[arg(long, default_value_t = 4.0, value_parser = above_zero)]
    temperature: f32,
    /// Share of the teacher in the loss
    #[arg(long, default_value_t = 0.7, value_parser = share)]
    teacher_weight: f32,
    /// How fast multipliers rise that make the losses of classes equal, such as 0.01
    #[arg(long, value_name = "RATE", value_parser = positive)]
    equalize: Option<f64>,
    /// Greatest length of all gradients together
    #[arg(long, value_parser = positive)]
    clip: Option<f64>,
    /// Mirror every second image; --flip=false does not
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    flip: Option<bool>,
    /// Shift images by up to so many pixels; default 0
    #[arg(long, value_name = "PIXELS")]
    crop: Option<u8>,
    /// Leave the statistics of batch norms as they are
    #[arg(long)]
    frozen_norms: bool,
    /// Seed of weights, order and augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossKind {
    CrossEntropy,
    MeanSquare,
}

impl TrainArgs {
    pub(super) fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// Threads that train: as asked, or all.
    pub(super) fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(all, usize::from)
    }

    /// The plan for so many samples: as asked, else as the network recommends, else as any recipe's.
    pub(super) fn plan(&self, samples: usize) -> Result<Plan, CliError> {
        let args = &self.plan;
        let asked = Training {
            epochs: args.epochs,
            batch: args.batch.map(|batch| batch as usize),
            optimizer: args.optimizer,
            rate: args.lr,
            schedule: args.schedule.clone().map(Rate::Shape),
            warmup: args.warmup.map(Length::Epochs),
            momentum: args.momentum,
            nesterov: args.nesterov.then_some(true),
            weight_decay: args.weight_decay,
            smoothing: args.smoothing,
            equalize: args.equalize,
            clip: args.clip,
            flip: args.flip,
            crop: args.crop.map(usize::from),
            frozen_norms: args.frozen_norms.then_some(true),
        };
        let recommended = Training::recommended(self.model.as_deref().unwrap_or_default());
        let mut plan = asked.or(&recommended).plan(args.seed, samples);
        if let Some(warmup) = args.warmup.filter(|&warmup| warmup >= plan.epochs) {
            let epochs = plan.epochs;
            return Err(CliError::usage(format!(
                "--warmup {warmup} leaves nothing of --epochs {epochs}"
            )));
        }
        if let LossKind::MeanSquare = args.loss {
            plan.loss = Loss::MeanSquare;
        }
        plan.distillation = self.teacher.as_ref().map(|_| Distillation {
            temperature: args.temperature,
            weight: args.teacher_weight,
        });
        Ok(plan)
    }
}

/// The networks, each with what it recommends.
fn networks() -> String {
    let lines = NETWORKS.iter().map(|network| {
        let init = network.init.to_possible_value();
        let init = init.as_ref().map_or("", |value| value.get_name());
        let settings = std::iter::once(format!("init = \"{init}\"")).chain(network.training.lines().map(Into::into));
        let settings = settings.collect::<Vec<_>>().join(", ");
        format!("  {:<14} {}\n                 {settings}\n", network.name, network.what)
    });
    format!(
        "Networks, and how they are trained where no flag says otherwise:\n{}",
        lines.collect::<String>()
    )
}

fn number(text: &str, fits: impl Fn(f64) -> bool, range: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && fits(number) => Ok(number),
        Ok(_) => Err(format!("must be {range}")),
        Err(_) => Err(format!("`{text}` is not a number")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0, "greater than 0")
}

fn above_zero(text: &str) -> Result<f32, String> {
    positive(text).map(|x| x as f32)
}

fn not_negative(text: &str) -> Result<f32, String> {
    number(text, |x| x >= 0.0, "0 or greater").map(|x| x as f32)
}

fn fraction(text: &str) -> Result<f32, String> {
    number(text, |x| (0.0..1.0).contains(&x), "from 0 to below 1").map(|x| x as f32)
}

fn share(text: &str) -> Result<f32, String> {
    number(text, |x| (0.0..=1.0).contains(&x), "from 0 to 1").map(|x| x as f32)
}
