//! Recipes: all that decides how a model is pruned, in one TOML file. `docs/recipes.md` explains the keys,
//! `docs/recipe.schema.json` is their JSON Schema.

mod check;
mod dynamic;
mod parse;
mod plan;
mod presets;
pub mod run;
mod training;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use parse::{Layer, RecipeError, complaint, difference, parse, schema};
pub use plan::{Phase, budget_target};
pub use presets::{PRESETS, Preset, preset};
pub use training::Resolved;
pub use units::{Length, PatternText, Points, Rate};

use crate::collapse::Collapse;
use crate::criterion::Criterion;
use crate::dynamic::Dynamic;
use crate::mask::Scope;
use crate::prune::Fallback;
use crate::reconstruct::Reconstruction;
use crate::schedule::Ramp;
use crate::train::{Init, Subset};

/// How a model is pruned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// A model file, or a network's name or a description without weights for fresh ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How fresh weights are drawn; default is what the network recommends, and for files the weights they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// Of weights, order, augmentation and random scores.
    pub seed: u64,
    /// The samples.
    pub data: Data,
    /// What is pruned, and how much.
    pub prune: Prune,
    /// When it is pruned.
    pub schedule: Schedule,
    /// Training before pruning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Training>,
    /// Training after (or, for gradual and dynamic pruning, during) pruning; what it leaves out is as in `train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrain: Option<Training>,
    /// Retraining learns from a teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<Distill>,
    /// Corrections after pruning that need no training.
    pub correct: Correct,
    /// How the .sct file is written.
    pub export: Export,
    /// Exceptions; the last that matches a layer counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rule: Vec<Rule>,
}

/// The samples: a data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// To train, correct and calibrate on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// How many samples of `train` criteria and corrections see, drawn by the seed.
    #[schemars(range(min = 1))]
    pub calibration: usize,
    /// To decide on: what `max_drop` is measured on; default is `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// To report on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// What is left of classes of `train`, by number or name, as a share of their samples, drawn by the seed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<String, f64>,
    /// The samples of `train` that the training before pruning sees until `rewind_to`, or without rewinding all along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<Subset>,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            train: None,
            calibration: 2048,
            validation: None,
            test: None,
            shares: BTreeMap::new(),
            subset: None,
        }
    }
}

/// What is pruned, and how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prune {
    /// Fraction of the channels (filters, neurons) to remove first, with all that is coupled to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub structured: Option<f64>,
    /// Instead of `structured`: channels are removed until at most this share of the multiplications is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub macs: Option<f64>,
    /// Instead of `structured`: channels are removed until at most this share of the time is left that the runtime
    /// predicts for the layers, with its built-in costs for the instruction set of this machine and one thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub latency: Option<f64>,
    /// Before all else, layers that are alike become one, where what the last layer reads stays similar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapse: Option<Collapse>,
    /// With `structured`, `macs` or `latency`: what is coupled keeps a multiple of so many channels, or all.
    #[schemars(range(min = 1, max = 1024))]
    pub round_to: usize,
    /// Fraction of the prunable weights to remove; with `max_drop`, the most that is tried. N:M fixes it itself,
    /// and with `structured` it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sparsity: Option<f64>,
    /// With scope importance, instead of `sparsity`: the share of importance that each output keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: Option<f64>,
    /// The highest sparsity is searched that costs no more accuracy, in percentage points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<Points>,
    /// Which weights go first.
    pub criterion: Criterion,
    /// How layers share the sparsity.
    pub scope: Scope,
    /// What is pruned together.
    pub pattern: PatternText,
    /// What becomes of layers that the pattern does not divide.
    pub fallback: Fallback,
    /// The weights that stay are changed so that each layer's outputs over samples of `data.train` change least. All
    /// but least-squares choose the weights themselves: then the criterion only shares out the sparsity. With `structured` or
    /// `macs`, least-squares does so for what reads channels that are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconstruct: Option<Reconstruction>,
    /// Before pruning by N:M or blocks, channels are put in an order in which the pattern keeps more of the weights; the
    /// network computes the same.
    pub permute: bool,
    /// The least sparsity of a layer.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min: f64,
    /// The greatest sparsity of a layer.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: f64,
}

impl Default for Prune {
    fn default() -> Self {
        Self {
            structured: None,
            macs: None,
            latency: None,
            collapse: None,
            round_to: 1,
            sparsity: None,
            alpha: None,
            max_drop: None,
            criterion: Criterion::default(),
            scope: Scope::default(),
            pattern: PatternText::default(),
            fallback: Fallback::default(),
            reconstruct: None,
            permute: false,
            min: 0.0,
            max: 1.0,
        }
    }
}

/// When it is pruned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// All at once, in rounds with retraining after each, or little by little while it trains.
    pub kind: Kind,
    /// With `kind = "dynamic"`: how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Dynamic>,
    /// Rounds of iterative pruning.
    #[schemars(range(min = 1, max = 1000))]
    pub rounds: u32,
    /// What the weights that stay are before each retraining of iterative pruning.
    pub between: Between,
    /// With `between = "rewind"`: when in `train` the weights were what they become again; `0it` is their beginning.
    pub rewind_to: Length,
    /// With `between = "rewind"`: retraining counts its steps from `rewind_to` on, and so has the rates and the length of
    /// what is left from there.
    pub resume: bool,
    /// How the sparsity rises in gradual pruning.
    pub ramp: Ramp,
    /// Where in `retrain` gradual pruning begins and ends, as fractions of its steps.
    pub span: [f64; 2],
    /// How often gradual pruning prunes.
    pub every: Length,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            method: None,
            rounds: 5,
            between: Between::default(),
            rewind_to: Length::Steps(0),
            resume: false,
            ramp: Ramp::default(),
            span: [0.0, 0.66],
            every: Length::Epochs(1),
        }
    }
}

/// When it is pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All at once.
    #[default]
    OneShot,
    /// In rounds that prune the same fraction of what is left, each with retraining.
    Iterative,
    /// While it trains (arXiv 1710.01878).
    Gradual,
    /// While it trains, by a method that has more of it in hand than the masks.
    Dynamic,
}

/// What the weights that stay are before each retraining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// What they are: fine-tuning, or learning-rate rewinding with `schedule = "lrw"` (arXiv 2003.02389).
    #[default]
    Keep,
    /// What they were at `rewind_to` (arXiv 1803.03635, 1912.05671).
    Rewind,
    /// Drawn anew.
    Reinit,
}

/// A training. What is left out is as in `train`, or as the network recommends (`secateur train --help`), or the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// Times that each sample is seen; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: Option<u64>,
    /// Samples of a step; default 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub batch: Option<usize>,
    /// Default sgd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Optimizer>,
    /// The highest learning rate; default 0.05 for sgd, 0.001 for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub rate: Option<f64>,
    /// How the rate goes; default cosine, in `retrain` llr.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Rate>,
    /// In which the rate rises first; retraining schedules have their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Length>,
    /// Of sgd; default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: Option<f32>,
    /// Whether sgd looks ahead by the velocity; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// Default 0.0005 for sgd, 0 for adam, 0.01 for adamw.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f32>,
    /// Share of the label that goes to all classes alike; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub smoothing: Option<f32>,
    /// How fast multipliers rise that make the losses of classes equal, such as 0.01; default not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub equalize: Option<f64>,
    /// The greatest length of all gradients together; default any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub clip: Option<f64>,
    /// Whether every second image is mirrored; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<bool>,
    /// Pixels by which images are shifted at most; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub crop: Option<usize>,
    /// Whether the statistics of batch norms stay as they are; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_norms: Option<bool>,
}

/// An optimiser's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    #[default]
    Sgd,
    /// arXiv 1412.6980.
    Adam,
    /// arXiv 1711.05101.
    AdamW,
}

/// Learning from a teacher (arXiv 1503.02531).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Distill {
    /// A model file; default is the model before pruning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// T: the greater, the more the teacher's small outputs count.
    #[schemars(range(min = 0.0))]
    pub temperature: f32,
    /// Share of the teacher in the loss.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight: f32,
}

impl Default for Distill {
    fn default() -> Self {
        Self {
            teacher: None,
            temperature: 4.0,
            weight: 0.7,
        }
    }
}

/// Corrections after each pruning that need samples, but no training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Correct {
    /// Biases take over what the pruned weights gave on average.
    pub biases: bool,
    /// The statistics of batch norms are taken anew.
    pub norms: bool,
}

/// How the .sct file is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Export {
    /// `auto`, `dense`, `csr16`, `win8`, `bitmask`, `nm[N:M]`, `block[RxC]`.
    pub encoding: String,
    /// f32, f16 or bf16.
    pub values: Values,
    /// Memory for packed convolutions.
    pub scratch: Scratch,
    /// Whether names, preprocessing and the recipe are left out.
    pub strip: bool,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            encoding: "auto".into(),
            values: Values::default(),
            scratch: Scratch::default(),
            strip: false,
        }
    }
}

/// Memory for packed convolutions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scratch {
    /// What they need: fast.
    #[default]
    Packed,
    /// None: the least RAM.
    None,
}

/// The type of stored weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Values {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, IEEE 754.
    F16,
    /// The upper 16 bits of an f32.
    Bf16,
}

/// An exception for layers whose name matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A regular expression, searched for in the layer's name.
    pub layers: String,
    /// The sparsity of these layers; 0 leaves them dense, with all their channels if `channels` does not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sparsity: Option<f64>,
    /// The least sparsity that the scope may give them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min: Option<f64>,
    /// The greatest sparsity that the scope may give them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: Option<f64>,
    /// Whether `prune.structured` may remove channels of these layers; default unless their sparsity is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<bool>,
    /// The share of importance that their outputs keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: Option<f64>,
}

#[cfg(test)]
mod tests;
