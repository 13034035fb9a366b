//! Registries: methods that recipes choose by name and change by settings. [`criterion`](crate::criterion) and
//! [`dynamic`](crate::dynamic) have one each.

mod choice;
mod setting;

pub use choice::Choice;
pub use setting::{Kind, Setting, Value};

/// A method of a registry.
pub trait Entry: Clone + std::fmt::Debug + PartialEq + 'static {
    /// What one is called in complaints, and what many are.
    const NOUN: [&'static str; 2];
    /// Its name in the JSON Schema, and what is chosen.
    const SCHEMA: [&'static str; 2];

    /// The registry.
    fn all() -> &'static [Self];
    /// What recipes call it.
    fn name(&self) -> &'static str;
    /// Other names that are understood.
    fn aliases(&self) -> &'static [&'static str];
    /// What it does, in a line.
    fn summary(&self) -> &'static str;
    /// How it can be changed.
    fn settings(&self) -> &'static [Setting];
}
