//! The arguments of every command.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::Regex;
use secateur_runtime::prepared::{Choice, Options};

use super::bench::{Assertion, SyntheticArgs};
pub(super) use super::compare::CompareArgs;
pub(super) use super::difficulty::DifficultyArgs;
pub(super) use super::dimension::DimensionArgs;
use super::engine::{EngineArgs, KernelArgs, MachineArgs};
use super::error::CliError;
pub(super) use super::impact::ImpactArgs;
pub(super) use super::masks::MasksArgs;
pub(super) use super::recipe::{RecipeArgs, RunArgs as RecipeRunArgs};
pub(super) use super::sensitivity::SensitivityArgs;
pub(super) use super::sweep::SweepArgs;
pub(super) use super::train::TrainArgs;
use crate::criterion::Criterion;
use crate::data::Preprocess;
use crate::emit::EncodingChoice;
use crate::engine::Engine;
use crate::mask::{Pattern, Scope};
use crate::prune::Fallback;
use crate::recipe::{Export, Layer, Scratch, Values};
use crate::reconstruct::Reconstruction;

const MODEL_HELP: &str = "A .sct file, an .onnx file, a model.toml or its folder, or .safetensors beside a .toml";

/// Prunes neural networks and turns them into files that really are smaller.
///
/// Exit codes: 0 done, 1 a check failed, 2 wrong usage, 3 unreadable or
/// unsupported model or data, 4 input/output error.
#[derive(Debug, Parser)]
#[command(name = "secateur", version)]
pub(super) struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// No progress, no warnings
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a model is made of
    Inspect(InspectArgs),
    /// Prune a model: in one shot to a .sct file, or by a recipe that trains, in a run's folder
    Prune(PruneArgs),
    /// Train a network, from scratch or from the weights it has
    Train(TrainArgs),
    /// Write a model as .sct without pruning it
    Convert(ConvertArgs),
    /// Run a model on the arrays of an .npy file
    Run(RunArgs),
    /// Measure accuracy on a data set, through the runtime
    Eval(EvalArgs),
    /// Check a .sct file, and that it computes what it should
    Verify(VerifyArgs),
    /// Show per layer how its weights are stored, and why
    Explain(ExplainArgs),
    /// Time a model against itself with dense weights
    Bench(BenchArgs),
    /// List the kernels of this build
    Kernels,
    /// Prune, write, run and measure a digit classifier that comes with the tool
    Demo(DemoArgs),
    /// Score how hard each sample of a data set is to learn, over short trainings
    Difficulty(DifficultyArgs),
    /// Measure the intrinsic dimension of each layer's activations, before and after pruning
    Dimension(DimensionArgs),
    /// List, show and check recipes
    Recipe(RecipeArgs),
    /// Show which weights a model keeps, or how alike the masks of several are
    Masks(MasksArgs),
    /// Compare the accuracy of two models, sample by sample
    Compare(CompareArgs),
    /// Show which classes pruning costs more than others, and what foretells it
    Impact(ImpactArgs),
    /// Prune each layer alone, and measure what that costs
    Sensitivity(SensitivityArgs),
    /// Run methods × sparsities × seeds, and compare them: table, checks, Pareto fronts
    Sweep(SweepArgs),
}

#[derive(Debug, Args)]
pub(super) struct ModelArg {
    #[arg(help = MODEL_HELP)]
    pub(super) model: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    pub(super) model: ModelArg,
    /// Show which channels can only be removed together, and why
    #[arg(long)]
    pub(super) groups: bool,
}

/// How stored samples become network inputs.
#[derive(Debug, Default, Args)]
pub(super) struct PreprocessArgs {
    /// Factor of every stored value: (x * scale - mean) / std
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = parse_factor)]
    scale: Option<f32>,
    /// Means after scaling: one, or one per channel
    #[arg(long, value_delimiter = ',', value_name = "M,…", allow_negative_numbers = true, value_parser = parse_finite)]
    mean: Vec<f32>,
    /// Standard deviations after scaling: one, or one per channel
    #[arg(long, value_delimiter = ',', value_name = "D,…", allow_negative_numbers = true, value_parser = parse_factor)]
    std: Vec<f32>,
}

impl PreprocessArgs {
    /// The preprocessing, if any of the flags is given.
    pub(super) fn get(&self) -> Option<Preprocess> {
        if self.scale.is_none() && self.mean.is_empty() && self.std.is_empty() {
            return None;
        }
        Some(Preprocess {
            scale: self.scale.unwrap_or(1.0),
            mean: self.mean.clone(),
            std: self.std.clone(),
        })
    }
}

fn parse_finite(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if number.is_finite() {
        return Ok(number);
    }
    Err("must be finite".to_owned())
}

fn parse_factor(text: &str) -> Result<f32, String> {
    let number = parse_finite(text)?;
    if number != 0.0 {
        return Ok(number);
    }
    Err("must not be zero".to_owned())
}

/// How the file is written.
#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    /// The .sct file to write
    #[arg(long, short, value_name = "OUT.sct")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Encoding of the weights: auto (the default), dense, csr16, win8, bitmask, nm[N:M], block[RxC]
    #[arg(long, value_parser = parse_encoding)]
    encoding: Option<String>,
    /// Type of the stored weights; default f32
    #[arg(long, value_enum)]
    values: Option<Values>,
    /// Memory for packed convolutions: `packed`, the default, is fast, `none` needs the least RAM
    #[arg(long, value_enum)]
    scratch: Option<Scratch>,
    /// Alignment of values in the arena, in bytes: a power of two from 4 to 64
    #[arg(long, default_value_t = 64, value_parser = parse_align)]
    pub(super) align: u32,
    /// Leave out names, preprocessing, info and tuning
    #[arg(long)]
    strip: bool,
    /// Time all ways to run each layer, and store the fastest: used where the model runs on the same CPU
    #[arg(long, conflicts_with = "strip")]
    pub(super) tune: bool,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
}

impl WriteArgs {
    /// The file to write.
    pub(super) fn output(&self) -> Result<&Path, CliError> {
        let missing = || CliError::usage("name the file to write: --output OUT.sct");
        self.output.as_deref().ok_or_else(missing)
    }

    /// How the weights are written, as in a recipe.
    pub(super) fn export(&self) -> Export {
        let default = Export::default();
        Export {
            encoding: self.encoding.clone().unwrap_or(default.encoding),
            values: self.values.unwrap_or_default(),
            scratch: self.scratch.unwrap_or_default(),
            strip: self.strip,
        }
    }
}

fn parse_encoding(text: &str) -> Result<String, String> {
    EncodingChoice::from_str(text).map(|_| text.to_owned())
}

fn parse_align(text: &str) -> Result<u32, String> {
    let align: u32 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if align.is_power_of_two() && (4..=64).contains(&align) {
        return Ok(align);
    }
    Err("must be 4, 8, 16, 32 or 64".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    #[arg(help = MODEL_HELP)]
    pub(super) model: Option<PathBuf>,
    #[command(flatten)]
    pub(super) write: WriteArgs,
    #[command(flatten)]
    pub(super) run: RecipeRunArgs,
    /// Fraction of the weights to set to zero, from 0 to below 1; N:M patterns fix it themselves
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    sparsity: Option<f64>,
    /// Fraction of the channels (filters, neurons) to remove first, with all that is coupled to them
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    structured: Option<f64>,
    /// With --structured: what is coupled keeps a multiple of N channels, or all
    #[arg(long, value_name = "N")]
    round_to: Option<u32>,
    /// What is pruned together: unstructured, N:M (2:4), or RxC blocks (4x1)
    #[arg(long, value_parser = Pattern::from_str)]
    pattern: Option<Pattern>,
    /// Which weights go first; `secateur recipe list` shows all criteria and their settings
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = Criterion::from_str)]
    criterion: Option<Criterion>,
    /// How layers share the sparsity
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// What to do with layers that the pattern does not divide
    #[arg(long, value_enum)]
    fallback: Option<Fallback>,
    /// Change the weights that stay so that each layer's outputs over the samples of --train change least: obc,
    /// sparsegpt, least-squares, alps or woodfisher
    #[arg(long, value_name = "METHOD")]
    reconstruct: Option<Reconstruction>,
    /// Put channels in an order in which the pattern, N:M or blocks, keeps more of the weights
    #[arg(long)]
    permute: bool,
    /// Leave layers dense whose name matches, with all their channels (repeatable); wins over --layer
    #[arg(long, value_name = "REGEX")]
    skip: Vec<Regex>,
    /// Another sparsity for layers whose name matches (repeatable, the last that matches counts)
    #[arg(long, value_name = "REGEX=S", value_parser = parse_rule)]
    layer: Vec<(Regex, f64)>,
    /// Seed of all that is random
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// A data set: accuracy before and after is reported
    #[arg(long, value_name = "D")]
    pub(super) data: Option<PathBuf>,
}

impl PruneArgs {
    /// What the recipe is made of that the flags ask for.
    pub(super) fn layers(&self) -> Result<Vec<Layer>, CliError> {
        let mut flags = Vec::new();
        let mut set = |flag: &'static str, key: &'static str, value: Option<toml::Value>| {
            flags.extend(value.map(|value| Layer::flag(flag, &format!("{key} = {value}"))));
        };
        let text = |text: String| toml::Value::from(text);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| text(path.display().to_string()));
        let name = |value: &dyn std::fmt::Display| text(value.to_string());
        set("MODEL", "model", path(&self.model));
        set("--seed", "seed", self.seed.map(|seed| toml::Value::from(seed as i64)));
        set("--data", "data.test", path(&self.data));
        set("--train", "data.train", path(&self.run.train));
        set(
            "--structured",
            "prune.structured",
            self.structured.map(toml::Value::from),
        );
        set("--round-to", "prune.round_to", self.round_to.map(toml::Value::from));
        set("--sparsity", "prune.sparsity", self.sparsity.map(toml::Value::from));
        set(
            "--pattern",
            "prune.pattern",
            self.pattern.as_ref().map(|pattern| name(pattern)),
        );
        set(
            "--criterion",
            "prune.criterion",
            self.criterion
                .as_ref()
                .and_then(|criterion| toml::Value::try_from(criterion).ok()),
        );
        set("--scope", "prune.scope", self.scope.and_then(value_name));
        set("--fallback", "prune.fallback", self.fallback.and_then(value_name));
        let write = &self.write;
        let encoding = write.encoding.clone().map(text);
        set("--encoding", "export.encoding", encoding);
        set("--values", "export.values", write.values.and_then(value_name));
        set("--scratch", "export.scratch", write.scratch.and_then(value_name));
        set("--strip", "export.strip", write.strip.then(|| true.into()));
        set(
            "--reconstruct",
            "prune.reconstruct",
            self.reconstruct.as_ref().map(|method| name(method)),
        );
        set(
            "--permute",
            "prune.permute",
            self.permute.then(|| toml::Value::from(true)),
        );
        let skips = self.skip.iter().map(|layers| (layers, 0.0));
        let rules = self
            .layer
            .iter()
            .map(|(layers, sparsity)| (layers, *sparsity))
            .chain(skips);
        let rules: Vec<toml::Value> = rules
            .map(|(layers, sparsity)| {
                let mut rule = toml::Table::new();
                rule.insert("layers".into(), text(layers.to_string()));
                rule.insert("sparsity".into(), sparsity.into());
                rule.into()
            })
            .collect();
        set("--layer, --skip", "rule", (!rules.is_empty()).then(|| rules.into()));
        self.run.layers(flags)
    }
}

/// The name of a value as clap knows it.
fn value_name(value: impl ValueEnum) -> Option<toml::Value> {
    Some(value.to_possible_value()?.get_name().into())
}

fn parse_rule(text: &str) -> Result<(Regex, f64), String> {
    let (pattern, sparsity) = text
        .rsplit_once('=')
        .ok_or("use REGEX=SPARSITY, such as 'layer3.*=0.95'")?;
    let sparsity = sparsity.parse().map_err(|_| format!("`{sparsity}` is not a number"))?;
    Ok((Regex::new(pattern).map_err(|e| e.to_string())?, sparsity))
}

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    #[command(flatten)]
    pub(super) model: ModelArg,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) model: ModelArg,
    /// Network inputs: one sample, or a batch of them
    #[arg(long, value_name = "X.npy")]
    pub(super) input: PathBuf,
    /// Where the outputs go
    #[arg(long, short, value_name = "Y.npy")]
    pub(super) output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Apply the preprocessing that is stored with the model
    #[arg(long)]
    pub(super) preprocess: bool,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    pub(super) model: ModelArg,
    /// A data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file
    #[arg(long, value_name = "D")]
    pub(super) data: PathBuf,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The .sct file
    pub(super) model: PathBuf,
    /// The model it was made from: every stored weight must be one of its weights
    #[arg(long, value_name = "MODEL")]
    pub(super) against: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) model: ModelArg,
    /// Show all candidates of every layer, not only the best
    #[arg(long)]
    pub(super) all: bool,
    /// Measure all candidates of every layer, and choose by that: some seconds
    #[arg(long)]
    pub(super) measure: bool,
    #[command(flatten)]
    kernels: KernelArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

impl ExplainArgs {
    /// How the model would be prepared.
    pub(super) fn options(&self) -> Result<Options, CliError> {
        Ok(Options {
            kernels: self.kernels.get()?,
            ..self.machine.options()?
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[arg(help = MODEL_HELP, required_unless_present = "calibrate")]
    pub(super) model: Option<PathBuf>,
    /// Measure this machine's kernels instead of a model, and write what predictions are made with: half a minute
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "machine", "no_prepare"])]
    pub(super) calibrate: Option<PathBuf>,
    /// Replace the file of --calibrate if it exists
    #[arg(long, conflicts_with = "model")]
    pub(super) force: bool,
    /// Least number of runs
    #[arg(long, default_value_t = 20, allow_negative_numbers = true)]
    pub(super) runs: usize,
    /// Least time, in seconds
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(super) seconds: f64,
    /// Samples of a run, one after another
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_batch)]
    pub(super) batch: usize,
    /// Choose each layer's kernel by measuring those predicted to be close
    #[arg(long, conflicts_with = "no_prepare")]
    tune: bool,
    /// A condition that must hold, such as 'speedup>=3' (repeatable)
    #[arg(long = "assert", value_name = "EXPR", value_parser = Assertion::from_str)]
    pub(super) assertions: Vec<Assertion>,
    #[command(flatten)]
    pub(super) synthetic: SyntheticArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

impl BenchArgs {
    /// How both models are prepared, if they are.
    pub(super) fn options(&self) -> Result<Options, CliError> {
        Ok(Options {
            kernels: self.engine.kernels()?,
            choice: if self.tune { Choice::Measure } else { Choice::Predict },
            ..self.machine.options()?
        })
    }

    /// How both models are run.
    pub(super) fn engine(&self) -> Result<Engine, CliError> {
        self.engine.with(self.options()?)
    }
}

fn parse_batch(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (1..=65_536).contains(&count) {
        return Ok(count);
    }
    Err("must be from 1 to 65536".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Keep the .sct file; without this it is written to a temporary folder and removed
    #[arg(long, short, value_name = "OUT.sct")]
    pub(super) output: Option<PathBuf>,
}
