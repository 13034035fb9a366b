//! Dynamic sparse training: methods that prune while a network trains.
//!
//! A method is a [`Pruner`], which acts around each step. What it keeps from one step to the next is in the
//! [`State`], or follows from it and the step, so that a training that was interrupted goes on to the same bytes.
//! [`method`] is the registry, one file per method.

pub mod method;
mod rewire;
mod running;
mod starts;
mod task;

pub use method::METHODS;
pub use running::Running;
pub use task::{LayerMasks, Task};

use secateur_format::TensorId;

use crate::mask::{Pattern, Scope};
use crate::prune::PruneError;
use crate::registry::{Choice, Entry};
pub use crate::registry::{Kind, Setting};
use crate::train::State;

/// A method of the registry with its settings.
pub type Dynamic = Choice<Method>;

/// One way to prune while a network trains.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// What recipes call it.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The paper, with its arXiv id if it has one.
    pub source: &'static str,
    /// The patterns it can keep to.
    pub patterns: Patterns,
    /// The scopes it can keep to.
    pub scopes: &'static [Scope],
    /// How it can be changed.
    pub settings: &'static [Setting],
    /// Its pruner for a training.
    pub begin: fn(&Dynamic, Task) -> Begun,
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The patterns a method can keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patterns {
    /// All.
    Any,
    /// Single weights.
    Unstructured,
    /// N:M.
    Nm,
}

impl Patterns {
    /// Whether a pattern is one of them.
    pub fn allow(self, pattern: Pattern) -> bool {
        match self {
            Self::Any => true,
            Self::Unstructured => pattern == Pattern::Unstructured,
            Self::Nm => matches!(pattern, Pattern::Nm { .. }),
        }
    }

    /// For tables and complaints.
    pub fn text(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Unstructured => "unstructured",
            Self::Nm => "N:M",
        }
    }
}

impl Entry for Method {
    const NOUN: [&'static str; 2] = ["dynamic method", "dynamic methods"];
    const SCHEMA: [&'static str; 2] = [
        "Dynamic",
        "How it is pruned while it trains: a method's name, or a table with its name and settings.",
    ];

    fn all() -> &'static [Self] {
        METHODS
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn settings(&self) -> &'static [Setting] {
        self.settings
    }
}

/// A pruner, or why it does not suit the training.
pub type Begun = Result<Box<dyn Pruner>, PruneError>;

/// Weights of constants, in their layout.
pub type Weights = Vec<(TensorId, Vec<f32>)>;

/// What is done to a state around each step of a training. Steps count from 0.
pub trait Pruner: Send {
    /// Before a step: the place to change masks.
    ///
    /// # Errors
    /// A [`PruneError`].
    fn before_step(&mut self, _state: &mut State, _step: u64) -> Result<(), PruneError> {
        Ok(())
    }

    /// The weights that go forward and backward in a step in place of those of the state; none if those do.
    ///
    /// # Errors
    /// A [`PruneError`].
    fn effective(&mut self, _state: &State, _step: u64) -> Result<Weights, PruneError> {
        Ok(Weights::new())
    }

    /// Changes the gradients of what went forward, one per constant, into those that the optimiser follows; those of
    /// pruned weights are there, too. Returns whether the optimiser makes its step.
    ///
    /// # Errors
    /// A [`PruneError`].
    fn gradients(&mut self, _state: &mut State, _step: u64, _gradients: &mut [Vec<f32>]) -> Result<bool, PruneError> {
        Ok(true)
    }

    /// After the optimiser's step, at a learning rate: the place to change weights.
    ///
    /// # Errors
    /// A [`PruneError`].
    fn after_step(&mut self, _state: &mut State, _step: u64, _rate: f64) -> Result<(), PruneError> {
        Ok(())
    }

    /// After the training: makes the masks final, and the weights those that went forward.
    ///
    /// # Errors
    /// A [`PruneError`].
    fn finish(&mut self, _state: &mut State) -> Result<(), PruneError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
