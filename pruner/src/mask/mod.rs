//! Masks: which weights stay. Patterns shape them, scopes share out the sparsity.

mod pattern;
mod select;

pub use pattern::{Misfit, Pattern};
pub(crate) use select::prune_count;
pub use select::{Guard, Quota, Scope, select};
