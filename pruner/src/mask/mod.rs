//! Masks: which weights stay. Patterns shape them, scopes share out the sparsity.

mod importance;
mod pattern;
mod scope;
mod select;
mod similarity;

pub use importance::{Connections, Kept, Prefix, select_importance};
pub use pattern::{Misfit, Pattern};
pub use scope::{Bounds, Extents, Scope, erk, outliers, owl};
pub(crate) use select::prune_count;
pub use select::{Guard, Pool, Quota, select};
pub use similarity::{Overlap, overlap};
