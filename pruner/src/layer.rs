//! Prunable layers: the weight matrices of linear and convolution nodes.

use secateur_format::graph::{Graph, Tensor};
use secateur_format::{Op, Shape, TensorId};

/// A weight matrix and what a pattern must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Name of the first node that uses the matrix.
    pub name: String,
    /// Its operator.
    pub op: &'static str,
    /// The matrix.
    pub tensor: TensorId,
    /// Outputs.
    pub rows: u32,
    /// Inputs; for convolutions kernel positions × input channels of a group.
    pub cols: u32,
    /// Outputs that share the same inputs: all, or those of one group.
    pub group_rows: u32,
    /// Neighbouring columns that are channels of one kernel position.
    pub channels: u32,
    /// The sum of all extents of the weights, kernel included: what ERK shares out by.
    pub extents: u32,
}

impl Layer {
    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.rows as usize * self.cols as usize
    }

    /// The place of the first node that uses the matrix.
    pub fn node(&self, graph: &Graph) -> Option<usize> {
        graph
            .nodes
            .iter()
            .position(|node| node.op.weight() == Some(self.tensor))
    }

    /// Groups of outputs that share the same inputs.
    pub fn groups(&self) -> usize {
        (self.rows / self.group_rows.max(1)) as usize
    }
}

/// Multiplications of each node, for one sample; 0 of those without a weight matrix.
pub(crate) fn work<'g>(graph: &'g Graph, shapes: &'g [Shape]) -> impl Iterator<Item = u64> + 'g {
    let outputs = shapes.iter().skip(graph.inputs.len());
    graph.nodes.iter().zip(outputs).map(|(node, out)| {
        let weights = node.op.weight().and_then(|id| graph.tensor(id));
        weights.map_or(0, |weights| out.elems() as u64 * u64::from(weights.cols))
    })
}

/// Those of all nodes together.
pub(crate) fn multiplications(graph: &Graph, shapes: &[Shape]) -> u64 {
    work(graph, shapes).sum()
}

/// Those by weights that are not zero.
pub(crate) fn effective_multiplications(graph: &Graph, shapes: &[Shape]) -> u64 {
    let outputs = shapes.iter().skip(graph.inputs.len());
    let products = graph.nodes.iter().zip(outputs).filter_map(|(node, out)| {
        let weights = graph.tensor(node.op.weight()?)?;
        let positions = out.elems() as u64 / u64::from(weights.rows.max(1));
        Some(positions * weights.data.iter().filter(|&&w| w != 0.0).count() as u64)
    });
    products.sum()
}

/// The prunable layers of a graph, in execution order, a shared matrix once.
pub fn layers(graph: &Graph, shapes: &[Shape]) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for node in &graph.nodes {
        let Some((tensor, matrix)) = node.op.weight().and_then(|id| Some((id, graph.tensor(id)?))) else {
            continue;
        };
        if layers.iter().any(|layer| layer.tensor == tensor) {
            continue;
        }
        let channels = node.inputs.first().and_then(|id| shapes.get(usize::from(id.0)));
        let channels = channels.map_or(0, |shape| shape.padded_dims()[0]);
        let (group_rows, channels) = match &node.op {
            Op::Conv2d(conv) => (matrix.rows / conv.groups.max(1), channels / conv.groups.max(1)),
            _ => (matrix.rows, channels),
        };
        layers.push(Layer {
            name: node.name.clone(),
            op: node.op.name(),
            tensor,
            rows: matrix.rows,
            cols: matrix.cols,
            group_rows,
            channels,
            extents: extents(&node.op, matrix),
        });
    }
    layers
}

fn extents(op: &Op, matrix: &Tensor) -> u32 {
    match op {
        Op::Conv2d(conv) => {
            let [height, width] = conv.kernel.map(u32::from);
            matrix.rows + matrix.cols / (height * width).max(1) + height + width
        }
        _ => matrix.rows + matrix.cols,
    }
}
