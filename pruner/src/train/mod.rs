//! Training: a reverse-mode interpreter of the graph, and what is built on it.
//!
//! | module | what |
//! |---|---|
//! | `program`, `shard`, `interpreter`, `op/` | forward and backward, batch by batch |
//! | `state`, `checkpoint` | weights, masks and optimiser as one, in memory and on disk |
//! | `optimizer`, `schedule`, `loss`, `data` | the parts of a [`Plan`] |
//! | `trainer`, `evaluate` | the loop, and accuracy |
//! | `run` | the folder of a training |
//! | `init`, [`zoo`] | where training from scratch begins |
//!
//! Everything random is a function of a seed and of what it is for (`random`), and sums over samples
//! have a fixed order, so that a training has the same bits on every run and for every number of
//! threads, interrupted or not.

mod checkpoint;
mod data;
mod equalize;
mod evaluate;
mod init;
mod interpreter;
mod loss;
mod op;
mod optimizer;
mod patches;
mod program;
mod random;
mod run;
mod schedule;
mod shape;
mod shard;
mod simd;
mod state;
mod subset;
mod trainer;
pub mod zoo;

pub use checkpoint::CheckpointError;
pub use data::{Augment, Samples};
pub use evaluate::{Evaluation, evaluate};
pub(crate) use evaluate::{each_output, fitting_labels, logits};
pub use init::Init;
pub use interpreter::{Interpreter, NodeTime, Statistics};
pub use loss::{Distillation, Loss, Sums};
pub(crate) use loss::{sample as sample_loss, softmax};
pub use optimizer::{Adam, Optimizer};
pub(crate) use patches::Patches;
#[cfg(test)]
pub(crate) use random::unit;
pub(crate) use random::{Purpose, below, normal, stream};
pub use run::{Run, RunError, Setup};
pub use schedule::{Decay, Schedule};
pub use shape::Shape;
pub use state::{Memory, Position, State, sparsity};
pub use subset::{Diet, Subset, SubsetError, Take, cut};
pub use trainer::{Ending, Hooks, Plan, Progress, TrainError, Trainer};

#[cfg(test)]
mod tests;
