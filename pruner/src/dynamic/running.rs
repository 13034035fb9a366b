//! A pruner at work.

use secateur_format::graph::Graph;

use super::Pruner;
use crate::prune::PruneError;
use crate::train::{State, sparsity};

/// A pruner, and the network whose weights it puts in place of the state's.
pub struct Running<'a> {
    /// The pruner.
    pub pruner: Box<dyn Pruner + 'a>,
    network: Option<Graph>,
}

impl<'a> Running<'a> {
    /// Before the first step.
    pub fn new(pruner: Box<dyn Pruner + 'a>) -> Self {
        Self { pruner, network: None }
    }

    /// The network that goes forward in a step.
    ///
    /// # Errors
    /// As [`Pruner::effective`].
    pub fn network<'s>(&'s mut self, state: &'s State, step: u64) -> Result<&'s Graph, PruneError> {
        let weights = self.pruner.effective(state, step)?;
        if weights.is_empty() {
            self.network = None;
            return Ok(state.graph());
        }
        let network = self.network.get_or_insert_with(|| state.graph().clone());
        let constants = network.tensors.iter_mut().zip(&state.graph().tensors);
        constants.for_each(|(own, tensor)| own.data.clone_from(&tensor.data));
        for (id, data) in weights {
            if let Some(tensor) = network.tensors.get_mut(usize::from(id.0)) {
                tensor.data = data;
            }
        }
        Ok(network)
    }

    /// The fraction of zeros in what went forward last.
    pub fn sparsity(&self, state: &State) -> f64 {
        sparsity(self.network.as_ref().unwrap_or(state.graph()))
    }
}
