//! Reconstruction: pruning that changes the weights that stay, so that the layer's outputs change least.
//!
//! Over calibration inputs `X [N, K]`, the outputs of weights `W [rows, K]` move by `tr((W−W′) H (W−W′)ᵀ)` with the
//! Gram matrix `H = Xᵀ X`. Each method of [`METHODS`] makes that small, one file per method; but for WoodFisher, which
//! looks at the loss, and is with its [criterion](crate::criterion).

mod alps;
mod layers;
mod least_squares;
mod obc;
mod permute;
mod problem;
mod removal;
mod sparsegpt;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub use layers::{LayerError, reconstruct};
pub use permute::permute_channels;
pub use problem::{Problem, Solution};
pub use removal::Removal;

use crate::criterion::CriterionError;
use crate::eval::EvalError;
use crate::source::nearest::suggestion;

/// One way to reconstruct a layer.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What recipes call it.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The paper, with its arXiv id.
    pub source: &'static str,
    solve: Solve,
}

/// What a method decides.
#[derive(Clone, Copy, Debug)]
enum Solve {
    /// The mask and the weights.
    Mask(fn(&Problem, Removal) -> Result<Solution, Singular>),
    /// The weights, for the mask of a criterion.
    Weights(fn(&Problem, Vec<bool>) -> Result<Solution, Singular>),
    /// The weights of all layers at once, for the masks of a criterion, by the gradients of the loss.
    Gradients,
}

/// The method that takes masks as they are.
pub const LEAST_SQUARES: Method = Method {
    name: "least-squares",
    summary: "the mask of the criterion, with the best weights that it allows",
    source: "the refit of Kwon et al. 2022, arXiv 2204.09656, of single weights",
    solve: Solve::Weights(least_squares::solve),
};

/// All methods.
pub static METHODS: [Method; 5] = [
    Method {
        name: "obc",
        summary: "removes weights one by one, with the best change of all others of the row after each",
        source: "Frantar and Alistarh 2022, arXiv 2208.11580",
        solve: Solve::Mask(obc::solve),
    },
    Method {
        name: "sparsegpt",
        summary: "prunes column by column, and lets the columns that follow make up for it",
        source: "Frantar and Alistarh 2023, arXiv 2301.00774",
        solve: Solve::Mask(sparsegpt::solve),
    },
    LEAST_SQUARES,
    Method {
        name: "alps",
        summary: "moves mask and weights together by ADMM, then takes the best weights of the mask",
        source: "Meng et al. 2024, arXiv 2406.07831",
        solve: Solve::Mask(alps::solve),
    },
    Method {
        name: "woodfisher",
        summary: "the mask of the criterion; what stays makes up for the loss by the inverse Fisher matrix, as the criterion \
                  of that name has it; needs labels",
        source: "Singh and Alistarh 2020, arXiv 2004.14340",
        solve: Solve::Gradients,
    },
];

impl Method {
    /// Whether it chooses the mask, and the criterion only how much each layer loses.
    pub fn chooses(&self) -> bool {
        matches!(self.solve, Solve::Mask(_))
    }

    /// Prunes what `removal` says, or, if the method chooses no masks, what `mask` `[rows, K]` has `false` for. Methods
    /// that need labels change no other weights of a single layer.
    ///
    /// # Errors
    /// [`Singular`].
    pub fn solve(&self, problem: &Problem, removal: Removal, mask: Vec<bool>) -> Result<Solution, Singular> {
        match self.solve {
            Solve::Mask(solve) => solve(problem, removal),
            Solve::Weights(solve) => solve(problem, mask),
            Solve::Gradients => Ok(Solution {
                weights: problem.masked(&mask),
                mask,
            }),
        }
    }

    /// Whether it needs labels.
    pub fn needs_labels(&self) -> bool {
        matches!(self.solve, Solve::Gradients)
    }
}

/// Inputs whose Gram matrix has no Cholesky factor although it is damped: they are not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Singular;

/// Why a network cannot be reconstructed.
#[derive(Debug, Error)]
pub enum ReconstructError {
    /// The samples do not fit, or the graph is not valid.
    #[error(transparent)]
    Samples(#[from] EvalError),
    /// There are no labels, or they do not fit.
    #[error(transparent)]
    Gradients(#[from] CriterionError),
    /// The inputs of a layer are of no use.
    #[error(
        "the inputs of layer `{layer}` are infinite or not a number for some samples, so it cannot be reconstructed: \
         check the samples and their preprocessing"
    )]
    Inputs {
        /// The layer.
        layer: String,
    },
}

/// A method of [`METHODS`], as recipes name it.
#[derive(Clone, Copy, Debug)]
pub struct Reconstruction(pub &'static Method);

impl PartialEq for Reconstruction {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl FromStr for Reconstruction {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || METHODS.iter().map(|method| method.name);
        METHODS
            .iter()
            .find(|method| method.name == name)
            .map(Self)
            .ok_or_else(|| {
                let (near, all) = (suggestion(name, names()), names().collect::<Vec<_>>().join(", "));
                let name = name.escape_debug();
                format!("there is no reconstruction `{name}`{near}; the methods are {all}")
            })
    }
}

impl fmt::Display for Reconstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl Serialize for Reconstruction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for Reconstruction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Reconstruction {
    fn schema_name() -> Cow<'static, str> {
        "Reconstruction".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let method = |method: &Method| {
            serde_json::json!({ "const": method.name, "type": "string",
                "description": format!("{} ({}).", method.summary, method.source) })
        };
        json_schema!({ "oneOf": METHODS.iter().map(method).collect::<Vec<_>>() })
    }
}
