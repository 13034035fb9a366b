//! The arithmetic of the operators, forward and backward, on the samples of one shard.
//!
//! A value of shape `[d0, …]` is held as `[d0, samples, …]`: the numbers of a channel lie side by
//! side, so that a convolution is one matrix product and a normalisation one pass over a run.
//! Backward functions add to the gradients they are given.

pub(super) mod activation;
pub(super) mod conv;
pub(super) mod depthwise;
mod direct;
pub(super) mod layout;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod product;
pub(super) mod softmax;
mod wide;
