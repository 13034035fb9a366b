//! The registry: every entry, the worked examples of `algorithms.md`, and scores made by NumPy.

mod golden;
mod nnrelief;
mod registry;
mod support;
mod vectors;
