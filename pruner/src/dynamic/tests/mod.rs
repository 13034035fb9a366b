//! Methods in whole runs.

mod methods;
mod registry;
mod support;
