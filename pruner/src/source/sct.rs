//! `.sct` files as a source: the graph with its weights decoded.

use secateur_format::encoding::decode;
use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::{Model, Op, ValueId};

use crate::data::Preprocess;

/// Most weights that are decoded: 2 GiB as f32. An all but empty sparse matrix
/// may announce 65536 times more weights than it has bytes.
const MAX_WEIGHTS: u64 = 1 << 29;

/// The file's weights would take too much memory as dense matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {weights} weights are too many to decode, the limit is {MAX_WEIGHTS}")]
pub struct TooLarge {
    /// Weights, zeros included.
    pub weights: u64,
}

/// The owned graph of a model file. Stripped names become `input0`, `node0`, ….
///
/// # Errors
/// [`TooLarge`].
pub fn graph(model: &Model<'_>) -> Result<Graph, TooLarge> {
    let ids = (0..model.tensor_count()).map(|i| secateur_format::TensorId(i as u16));
    let weights = ids
        .filter_map(|id| model.tensor(id))
        .map(|(desc, _)| desc.weights())
        .fold(0, u64::saturating_add);
    if weights > MAX_WEIGHTS {
        return Err(TooLarge { weights });
    }
    let name =
        |id: ValueId, kind: &str, index: usize| model.name(id).map_or_else(|| format!("{kind}{index}"), str::to_owned);
    let inputs = (0..model.input_count()).map(|i| {
        let id = ValueId(i as u16);
        Input {
            name: name(id, "input", i),
            shape: model.shape(id),
        }
    });
    let nodes: Vec<NodeDef> = model
        .nodes()
        .map(|node| NodeDef {
            name: name(node.output, "node", node.index),
            op: node.op,
            inputs: node.inputs().collect(),
        })
        .collect();
    let tensors = (0..model.tensor_count()).filter_map(|i| {
        let (desc, matrix) = model.tensor(secateur_format::TensorId(i as u16))?;
        let data = decode(&matrix, &desc);
        Some(Tensor {
            name: tensor_name(&nodes, i),
            rows: desc.rows,
            cols: desc.cols,
            data,
        })
    });
    Ok(Graph {
        inputs: inputs.collect(),
        tensors: tensors.collect(),
        outputs: model.outputs().collect(),
        nodes,
    })
}

/// Tensor names are not stored: they follow from the node.
fn tensor_name(nodes: &[NodeDef], tensor: usize) -> String {
    let is = |id: secateur_format::TensorId| usize::from(id.0) == tensor;
    let found = nodes.iter().find_map(|node| match &node.op {
        Op::Conv2d(conv) if is(conv.weight) => Some(format!("{}.weight", node.name)),
        Op::Linear(linear) if is(linear.weight) => Some(format!("{}.weight", node.name)),
        Op::Conv2d(conv) if conv.bias.is_some_and(is) => Some(format!("{}.bias", node.name)),
        Op::Linear(linear) if linear.bias.is_some_and(is) => Some(format!("{}.bias", node.name)),
        _ => None,
    });
    found.unwrap_or_else(|| format!("tensor{tensor}"))
}

/// How the model's inputs are prepared, where the file says so.
pub fn preprocess(model: &Model<'_>) -> Option<Preprocess> {
    let stored = model.preprocess()?;
    Some(Preprocess {
        scale: stored.scale,
        mean: stored.mean().collect(),
        std: stored.std().collect(),
    })
}
