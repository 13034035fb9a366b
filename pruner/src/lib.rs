//! Offline pruning, conversion and measurement of neural networks.
//!
//! The pipeline, each step a module: [`source`] imports a model, [`prune`](mod@prune)
//! sets weights to zero by a [`criterion`] under a [`mask`] pattern, [`structured`] removes
//! channels, [`mod@collapse`] layers, [`mod@lower`]
//! folds and fuses, [`mod@emit`] chooses encodings, writes the `.sct` file and proves
//! it against the dense [`reference`](mod@reference), [`mod@eval`] and [`mod@bench`] measure it,
//! run by an [`mod@engine`]; [`advice`] says why it runs as it does.
#![forbid(unsafe_code)]

pub mod advice;
pub mod bench;
pub mod calibrate;
pub mod chart;
pub mod cli;
pub mod collapse;
pub mod coreset;
pub mod criterion;
pub mod data;
pub mod difficulty;
pub mod digest;
pub mod dimension;
pub mod dynamic;
pub mod emit;
pub mod engine;
pub mod eval;
pub mod impact;
pub mod layer;
pub mod lower;
pub mod machine;
pub mod mask;
pub mod prune;
pub mod recipe;
pub mod reconstruct;
pub mod reference;
pub mod registry;
pub mod save;
pub mod schedule;
pub mod source;
pub mod structured;
pub mod sweep;
pub mod train;
