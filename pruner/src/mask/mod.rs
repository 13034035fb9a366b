//! Masks: which weights stay. Patterns shape them, scopes share out the sparsity. What can be told of them afterwards:
//! how alike they are, where the weights that stay come from, and whether zeros make up whole filters.

mod importance;
mod pattern;
mod scope;
mod select;
mod similarity;
mod stability;
mod structure;

pub use importance::{Connections, Kept, Prefix, select_importance};
pub use pattern::{Misfit, Pattern};
pub use scope::{Bounds, Extents, Scope, erk, outliers, owl};
pub(crate) use select::prune_count;
pub use select::{Guard, Pool, Quota, select};
pub use similarity::{Overlap, overlap};
pub use stability::Stability;
pub use structure::{Structure, Units, structure};
