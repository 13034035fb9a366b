//! Emitting: encodings chosen per layer, memory planned, the file written, read
//! back, run, and compared with the dense reference.

mod candidates;
mod check;

use std::fmt;
use std::str::FromStr;

use secateur_format::Op;
use secateur_format::container::writer::{Extras, Layout, Preprocess, Tuning, WriteError};
use secateur_format::encoding::{Encoding, MatrixDesc, PackError, Packed, Quantized, ValueType, pack};
use secateur_format::graph::{Graph, GraphError, Tensor};
use secateur_format::plan::planner::PlanOptions;
use thiserror::Error;

pub use candidates::{Candidate, candidates};
use check::check_packed;
pub use check::{Check, CheckError, TOLERANCE, check};

use crate::lower::lower;
use crate::mask::Pattern;

/// Which encodings may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingChoice {
    /// The smallest per layer.
    #[default]
    Auto,
    /// This one where it fits and is smaller than dense.
    Only(Family),
}

/// An encoding with the parameters left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `dense`
    Dense,
    /// `csr16`
    Csr16,
    /// `win8`
    Win8,
    /// `bitmask`
    Bitmask,
    /// `nm`, with any N:M or the given one.
    Nm(Option<(u8, u8)>),
    /// `block`, with any shape or the given one.
    Block(Option<(u8, u8)>),
}

impl Family {
    /// Whether an encoding belongs to the family.
    pub fn contains(self, encoding: Encoding) -> bool {
        match (self, encoding) {
            (Self::Dense, Encoding::Dense)
            | (Self::Csr16, Encoding::Csr16)
            | (Self::Win8, Encoding::Win8)
            | (Self::Bitmask, Encoding::Bitmask) => true,
            (Self::Nm(only), Encoding::Nm { n, m }) => only.is_none_or(|only| only == (n, m)),
            (Self::Block(only), Encoding::Block { r, c, .. }) => only.is_none_or(|only| only == (r, c)),
            _ => false,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense => f.write_str("dense"),
            Self::Csr16 => f.write_str("csr16"),
            Self::Win8 => f.write_str("win8"),
            Self::Bitmask => f.write_str("bitmask"),
            Self::Nm(None) => f.write_str("nm"),
            Self::Nm(Some((n, m))) => write!(f, "nm{n}:{m}"),
            Self::Block(None) => f.write_str("block"),
            Self::Block(Some((r, c))) => write!(f, "block{r}x{c}"),
        }
    }
}

impl FromStr for EncodingChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The parameters of `nm` and `block` are those of patterns.
        let parameters = |text: &str| text.parse::<Pattern>().ok();
        let family = match text {
            "auto" => return Ok(Self::Auto),
            "dense" => Some(Family::Dense),
            "csr16" => Some(Family::Csr16),
            "win8" => Some(Family::Win8),
            "bitmask" => Some(Family::Bitmask),
            "nm" => Some(Family::Nm(None)),
            "block" => Some(Family::Block(None)),
            _ => match (text.strip_prefix("nm"), text.strip_prefix("block")) {
                (Some(rest), _) => match parameters(rest) {
                    Some(Pattern::Nm { n, m }) => Some(Family::Nm(Some((n, m)))),
                    _ => None,
                },
                (_, Some(rest)) => match parameters(rest) {
                    Some(Pattern::Block { r, c }) => Some(Family::Block(Some((r, c)))),
                    _ => None,
                },
                _ => None,
            },
        };
        family.map(Self::Only).ok_or_else(|| {
            format!(
                "`{text}` is not an encoding: use auto, dense, csr16, win8, bitmask, nm or nmN:M with 1 <= N < M <= 16 \
                 (nm2:4), block or blockRxC with R and C out of 1, 2, 4, 8, 16 (block4x1)"
            )
        })
    }
}

/// How to emit.
#[derive(Clone, Debug)]
pub struct EmitOptions {
    /// Encodings.
    pub encoding: EncodingChoice,
    /// Type of the stored weights.
    pub values: ValueType,
    /// Memory plan.
    pub plan: PlanOptions,
    /// Leave out names, preprocessing, info and tuning.
    pub strip: bool,
    /// Stored with the model.
    pub preprocess: Option<Preprocess>,
    /// Key-value text stored with the model.
    pub info: Vec<(String, String)>,
    /// Stored with the model.
    pub tuning: Option<Tuning>,
}

impl Default for EmitOptions {
    fn default() -> Self {
        Self {
            encoding: EncodingChoice::Auto,
            values: ValueType::F32,
            plan: PlanOptions::default(),
            strip: false,
            preprocess: None,
            info: Vec::new(),
            tuning: None,
        }
    }
}

/// The encoding chosen for a layer, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Name of its node.
    pub node: String,
    /// Its operator.
    pub op: &'static str,
    /// Outputs and inputs of its weight matrix.
    pub shape: (u32, u32),
    /// Weights that are not zero, in the value type.
    pub nonzeros: u64,
    /// The encoding.
    pub chosen: Candidate,
    /// All that were considered, the smallest first.
    pub candidates: Vec<Candidate>,
    /// Why this one.
    pub reason: String,
}

impl Choice {
    /// Number of weights.
    pub fn weights(&self) -> u64 {
        u64::from(self.shape.0) * u64::from(self.shape.1)
    }

    /// Fraction of zeros.
    pub fn sparsity(&self) -> f64 {
        1.0 - self.nonzeros as f64 / self.weights().max(1) as f64
    }

    /// Bytes of the layer's weights stored densely.
    pub fn dense_bytes(&self) -> u64 {
        let dense = self.candidates.iter().find(|c| c.desc.encoding == Encoding::Dense);
        dense.map_or(0, |c| c.bytes)
    }
}

/// A written model, not checked.
#[derive(Clone, Debug)]
pub struct Written {
    /// The file.
    pub bytes: Vec<u8>,
    /// Bytes of the same file with all weights dense.
    pub dense_bytes: u64,
    /// Layer by layer.
    pub choices: Vec<Choice>,
    /// Size of the arena.
    pub arena_bytes: u32,
    /// Lower bound of any arena.
    pub arena_lower_bound: u32,
}

/// A written model, checked.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The file.
    pub bytes: Vec<u8>,
    /// Bytes of the same file with all weights dense.
    pub dense_bytes: u64,
    /// Layer by layer.
    pub choices: Vec<Choice>,
    /// Size of the arena.
    pub arena_bytes: u32,
    /// Lower bound of any arena.
    pub arena_lower_bound: u32,
    /// The comparison with the dense reference.
    pub check: Check,
}

/// Why a model cannot be emitted.
#[derive(Debug, Error)]
pub enum EmitError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A weight cannot be stored.
    #[error("weights of node `{node}`: {error}; try another --values type")]
    Pack {
        /// The node.
        node: String,
        /// What is wrong.
        error: PackError,
    },
    /// The file did not pass its check.
    #[error("the written model failed its check, which is a bug worth reporting: {0}")]
    Check(CheckError),
    /// The model exceeds what this build can run.
    #[error("{0}")]
    Unsupported(CheckError),
}

impl From<CheckError> for EmitError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Unsupported(_) => Self::Unsupported(error),
            CheckError::Encoding { .. } | CheckError::Differs { .. } => Self::Check(error),
        }
    }
}

/// Lowers, encodes, writes, reads back, runs and compares.
///
/// # Errors
/// An [`EmitError`]; nothing is returned that failed its check.
pub fn emit(source: &Graph, options: &EmitOptions) -> Result<Emitted, EmitError> {
    emit_lowered(source, &lower(source)?, options)
}

/// As [`emit`], for a graph that was lowered from `source` before, or is run as it is.
///
/// # Errors
/// As [`emit`].
pub fn emit_lowered(source: &Graph, graph: &Graph, options: &EmitOptions) -> Result<Emitted, EmitError> {
    let written = write(graph, options)?;
    let check = check(source, graph, &written.bytes)?;
    Ok(Emitted {
        bytes: written.bytes,
        dense_bytes: written.dense_bytes,
        choices: written.choices,
        arena_bytes: written.arena_bytes,
        arena_lower_bound: written.arena_lower_bound,
        check,
    })
}

/// Encodes and writes a lowered graph. Nothing is run: for measurements, which do not depend on
/// what is computed. A file that is kept must pass [`check`](fn@check).
///
/// # Errors
/// An [`EmitError`].
pub fn write(graph: &Graph, options: &EmitOptions) -> Result<Written, EmitError> {
    let (choices, packed) = encode(graph, options)?;
    let extras = Extras {
        strip: options.strip,
        preprocess: options.preprocess.clone().filter(|_| !options.strip),
        info: options.info.clone(),
        tuning: options.tuning.clone(),
    };
    let descs: Vec<MatrixDesc> = packed.iter().map(|p| p.desc).collect();
    let layout = Layout::new(graph, &descs, &options.plan, &extras)?;
    let dense_descs: Vec<MatrixDesc> = descs.iter().map(|desc| as_dense(*desc)).collect();
    let dense_bytes = Layout::new(graph, &dense_descs, &options.plan, &extras)?.file_len();
    let (arena_bytes, arena_lower_bound) = (layout.plan().arena_bytes, layout.plan().lower_bound);
    let bytes = layout.write(&packed)?;
    Ok(Written {
        bytes,
        dense_bytes,
        choices,
        arena_bytes,
        arena_lower_bound,
    })
}

fn as_dense(desc: MatrixDesc) -> MatrixDesc {
    MatrixDesc {
        encoding: Encoding::Dense,
        stored: desc.rows.saturating_mul(desc.cols),
        ..desc
    }
}

/// Chooses and packs the encoding of every constant. Choices are in execution
/// order, those of a shared matrix once.
fn encode(graph: &Graph, options: &EmitOptions) -> Result<(Vec<Choice>, Vec<Packed>), EmitError> {
    let mut choices: Vec<Choice> = Vec::new();
    let mut packed: Vec<Option<Packed>> = vec![None; graph.tensors.len()];
    let store = |tensor: &Tensor, node: &str, values, choose: &mut dyn FnMut(&Quantized) -> Encoding| {
        let fail = |error| EmitError::Pack {
            node: node.to_owned(),
            error,
        };
        let quantized = Quantized::new(&tensor.data, tensor.cols, values).map_err(fail)?;
        let packed = pack(&quantized, choose(&quantized)).map_err(fail)?;
        check_packed(&packed, &quantized)?;
        Ok::<Packed, EmitError>(packed)
    };
    for node in &graph.nodes {
        let Some(id) = node.op.weight().map(|id| usize::from(id.0)) else {
            continue;
        };
        if let (Some(tensor), Some(slot @ None)) = (graph.tensors.get(id), packed.get_mut(id)) {
            *slot = Some(store(tensor, &node.name, options.values, &mut |quantized| {
                let choice = choose(&node.name, &node.op, quantized, options.encoding);
                let encoding = choice.chosen.desc.encoding;
                choices.push(choice);
                encoding
            })?);
        }
    }
    let packed = packed
        .into_iter()
        .zip(&graph.tensors)
        .map(|(packed, tensor)| match packed {
            Some(packed) => Ok(packed),
            None => store(tensor, &tensor.name, ValueType::F32, &mut |_| Encoding::Dense),
        });
    Ok((choices, packed.collect::<Result<_, _>>()?))
}

/// The smallest allowed encoding, dense unless another is smaller.
pub fn choose(node: &str, op: &Op, quantized: &Quantized, choice: EncodingChoice) -> Choice {
    let candidates = candidates(quantized, choice);
    let allowed = |c: &&Candidate| match choice {
        EncodingChoice::Auto => true,
        EncodingChoice::Only(family) => family.contains(c.desc.encoding),
    };
    let dense = *candidates
        .iter()
        .find(|c| c.desc.encoding == Encoding::Dense)
        .unwrap_or(&candidates[0]);
    let best = candidates.iter().find(allowed).copied();
    let (chosen, reason) = match best {
        Some(best) if best.desc.encoding == Encoding::Dense => {
            let next = candidates.iter().find(|c| c.desc.encoding != Encoding::Dense);
            let reason = match (choice, next) {
                (EncodingChoice::Auto, Some(next)) => {
                    format!(
                        "no sparse encoding is smaller: {} would take {} bytes",
                        next.desc.encoding, next.bytes
                    )
                }
                _ => "as asked".to_owned(),
            };
            (best, reason)
        }
        Some(best) if best.bytes < dense.bytes => {
            let runner_up = candidates.iter().find(|c| c.desc.encoding != best.desc.encoding);
            let reason = match (choice, runner_up) {
                (EncodingChoice::Auto, Some(second)) => {
                    format!("smallest; next is {} with {} bytes", second.desc.encoding, second.bytes)
                }
                _ => "as asked".to_owned(),
            };
            (best, reason)
        }
        Some(best) => {
            let encoding = best.desc.encoding;
            (
                dense,
                format!(
                    "{encoding} would take {} bytes, no less than dense: kept dense",
                    best.bytes
                ),
            )
        }
        None => (
            dense,
            "the encoding asked for does not fit the layer: kept dense".to_owned(),
        ),
    };
    let nonzeros = quantized.nonzeros();
    Choice {
        node: node.to_owned(),
        op: op.name(),
        shape: quantized.shape(),
        nonzeros,
        chosen,
        candidates,
        reason,
    }
}
