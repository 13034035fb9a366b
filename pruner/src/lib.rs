//! Offline pruning, conversion and measurement of neural networks.
#![forbid(unsafe_code)]

pub mod data;
