//! The arguments of `secateur train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::args::PreprocessArgs;
use crate::cli::error::CliError;
use crate::train::{Adam, Augment, Distillation, Init, Loss, Optimizer, Plan, Schedule, Shape, Statistics};

#[derive(Debug, Args)]
pub(in crate::cli) struct TrainArgs {
    /// A network's name (lenet-300-100, lenet-5, vgg-small, resnet-8, resnet-20, resnet-56, ds-cnn,
    /// mobilenet-v1) for fresh weights, or a model file for the weights it has
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
    /// Times that each sample is seen
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    epochs: u64,
    /// Samples of a step
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Highest learning rate; default 0.05 for sgd, 0.001 for adam and adamw
    #[arg(long, value_parser = positive)]
    lr: Option<f64>,
    /// constant, linear, cosine, one-cycle, step:EPOCHS,FACTOR or multi-step:EPOCH,…,FACTOR
    #[arg(long, default_value = "cosine")]
    schedule: Shape,
    /// Epochs in which the learning rate rises first
    #[arg(long, value_name = "EPOCHS", default_value_t = 0)]
    warmup: u64,
    /// sgd, adam or adamw
    #[arg(long, default_value = "sgd", value_enum)]
    optimizer: Kind,
    /// What stays of the velocity each step (sgd)
    #[arg(long, default_value_t = 0.9, value_parser = fraction)]
    momentum: f32,
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
    #[arg(long, default_value_t = 0.0, value_parser = fraction)]
    smoothing: f32,
    /// Temperature of the teacher
    #[arg(long, default_value_t = 4.0, value_parser = above_zero)]
    temperature: f32,
    /// Share of the teacher in the loss
    #[arg(long, default_value_t = 0.7, value_parser = share)]
    teacher_weight: f32,
    /// Greatest length of all gradients together
    #[arg(long, value_parser = positive)]
    clip: Option<f64>,
    /// Mirror every second image
    #[arg(long)]
    flip: bool,
    /// Shift images by up to so many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    crop: u8,
    /// Leave the statistics of batch norms as they are
    #[arg(long)]
    frozen_norms: bool,
    /// Seed of weights, order and augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Sgd,
    Adam,
    #[value(name = "adamw")]
    AdamW,
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

    /// The plan for so many samples.
    pub(super) fn plan(&self, samples: usize) -> Result<Plan, CliError> {
        let args = &self.plan;
        let batch = (args.batch as usize).min(samples);
        let per_epoch = samples.div_ceil(batch) as u64;
        if args.warmup >= args.epochs {
            let (warmup, epochs) = (args.warmup, args.epochs);
            return Err(CliError::usage(format!(
                "--warmup {warmup} leaves nothing of --epochs {epochs}"
            )));
        }
        let adam = |weight_decay: f32| Adam {
            weight_decay: args.weight_decay.unwrap_or(weight_decay),
            ..Adam::default()
        };
        let (optimizer, rate) = match args.optimizer {
            Kind::Sgd => (
                Optimizer::Sgd {
                    momentum: args.momentum,
                    nesterov: args.nesterov,
                    weight_decay: args.weight_decay.unwrap_or(5e-4),
                },
                0.05,
            ),
            Kind::Adam => (Optimizer::Adam(adam(0.0)), 1e-3),
            Kind::AdamW => (Optimizer::AdamW(adam(0.01)), 1e-3),
        };
        Ok(Plan {
            epochs: args.epochs,
            batch,
            optimizer,
            schedule: Schedule {
                rate: args.lr.unwrap_or(rate),
                warmup: args.warmup * per_epoch,
                shape: args.schedule.decay(per_epoch),
            },
            loss: match args.loss {
                LossKind::CrossEntropy => Loss::CrossEntropy {
                    smoothing: args.smoothing,
                },
                LossKind::MeanSquare => Loss::MeanSquare,
            },
            distillation: self.teacher.as_ref().map(|_| Distillation {
                temperature: args.temperature,
                weight: args.teacher_weight,
            }),
            augment: Augment {
                flip: args.flip,
                crop: args.crop.into(),
            },
            clip: args.clip,
            statistics: if args.frozen_norms {
                Statistics::Frozen
            } else {
                Statistics::Batch
            },
            seed: args.seed,
        })
    }
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
