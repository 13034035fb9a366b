//! When how much is pruned, and how the network recovers.

mod correct;
mod ramp;
mod retrain;

pub use correct::{correct_biases, reestimate_norms};
pub use ramp::{Ramp, rounds};
pub use retrain::{Cut, Original, Retraining};
