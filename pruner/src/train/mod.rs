//! Training: a reverse-mode interpreter of the graph, and what is built on it.
//!
//! Operators mean what they mean in the runtime, and masks act inside the weight gradients, because
//! both are ours (ARCHITECTURE.md has the measurements behind that decision).

mod interpreter;
mod op;
mod program;
mod shard;
mod simd;

pub use interpreter::{Interpreter, NodeTime, Statistics};

#[cfg(test)]
mod tests;
