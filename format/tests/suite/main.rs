//! Integration tests of the format: encodings, container, planner, hostile
//! files and golden files. One binary, so that they share their helpers.

// clippy.toml allows it in test functions; their helpers are no different.
#![allow(clippy::unwrap_used)]

mod change;
mod container;
mod encodings;
mod flips;
mod forge;
mod golden;
mod planner;
mod rules_content;
mod rules_graph;
mod rules_layout;
mod samples;
mod spec;
