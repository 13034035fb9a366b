//! Why a session cannot be made or run: flat, `Copy`, without text of its own.

use core::fmt;

/// Why a session cannot be made or run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The arena is smaller than the model's plan.
    ArenaTooSmall {
        /// Bytes needed.
        needed: u32,
        /// Bytes missing.
        missing: u32,
    },
    /// The arena does not start at a multiple of the plan's alignment.
    ArenaMisaligned {
        /// The alignment needed, in bytes.
        align: u32,
    },
    /// No kernel in the list runs this node's encoding and value type.
    NoKernel {
        /// Index of the node.
        node: u32,
    },
    /// There is no such input or output.
    Index {
        /// The first invalid index.
        bound: u32,
        /// The index asked for.
        found: u32,
    },
    /// A batch needs a model of one input and one output.
    Arity {
        /// Inputs of the model.
        inputs: u32,
        /// Outputs of the model.
        outputs: u32,
    },
    /// A buffer has another length than the model's input or output.
    Length {
        /// Elements expected.
        expected: u32,
        /// Elements found.
        found: u32,
    },
    /// The plan contradicts the node: impossible for a model that was read.
    Internal {
        /// Index of the node.
        node: u32,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArenaTooSmall { needed, missing } => {
                write!(f, "the arena is too small: {needed} bytes needed, {missing} missing")
            }
            Self::ArenaMisaligned { align } => write!(f, "the arena must start at a multiple of {align} bytes"),
            Self::NoKernel { node } => write!(f, "no kernel for the weights of node {node}"),
            Self::Index { bound, found } => write!(f, "there is no input or output {found}, only {bound}"),
            Self::Arity { inputs, outputs } => {
                write!(
                    f,
                    "a batch needs one input and one output, the model has {inputs} and {outputs}"
                )
            }
            Self::Length { expected, found } => write!(f, "{found} elements given, {expected} expected"),
            Self::Internal { node } => write!(f, "the memory plan contradicts node {node}"),
        }
    }
}

impl core::error::Error for RunError {}
