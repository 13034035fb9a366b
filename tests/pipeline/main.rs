//! Real models, from their source files to what the runtime computes, through
//! the public interfaces only.

mod accuracy;
mod arena;
mod goldens;
mod matrix;
mod predict;
mod structure;
mod support;
