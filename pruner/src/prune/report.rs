//! What pruning did.

use secateur_format::graph::{Graph, GraphError, Tensor};

use crate::layer::layers;

/// What happened to a layer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PrunedLayer {
    /// Name of its node.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// Weights.
    pub weights: usize,
    /// Weights that are zero now.
    pub zeros: usize,
    /// The pattern applied; `None` if the layer was left dense.
    pub pattern: Option<String>,
    /// Whether a rule asked to leave it dense.
    pub skipped: bool,
    /// Why it was not pruned as the others.
    pub note: Option<String>,
}

/// What pruning did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PruneReport {
    /// Layer by layer.
    pub layers: Vec<PrunedLayer>,
    /// Fraction of zeros over the weights of all linear and convolution layers.
    pub sparsity: f64,
    /// Fraction of zeros over all parameters.
    pub model_sparsity: f64,
}

impl PruneReport {
    /// Counts the zeros anew, in the weights that `graph` has now.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn recount(&mut self, graph: &Graph) -> Result<(), GraphError> {
        let zeros = |tensor: &Tensor| tensor.data.iter().filter(|&&w| w == 0.0).count();
        for (row, layer) in self.layers.iter_mut().zip(layers(graph, &graph.shapes()?)) {
            row.zeros = graph.tensor(layer.tensor).map_or(0, zeros);
        }
        let part = |zeros: usize, of: usize| zeros as f64 / of.max(1) as f64;
        let weights = self.layers.iter().map(|row| row.weights).sum();
        self.sparsity = part(self.layers.iter().map(|row| row.zeros).sum(), weights);
        let all = graph.tensors.iter().map(|tensor| tensor.data.len()).sum();
        self.model_sparsity = part(graph.tensors.iter().map(zeros).sum(), all);
        Ok(())
    }
}
