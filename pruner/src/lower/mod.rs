//! Lowering: from the graph as imported to the graph as run. Batch norms are
//! folded, activations fused; results do not change but for rounding.

mod fold;
mod fuse;

use secateur_format::graph::{Graph, GraphError};
use secateur_format::{Op, TensorId, ValueId};

/// The graph as the runtime runs it: no batch norms, activations fused, no
/// unused nodes or constants. Zero weights stay zero.
///
/// # Errors
/// A [`GraphError`] if the graph is not valid.
pub fn lower(graph: &Graph) -> Result<Graph, GraphError> {
    graph.shapes()?;
    let mut graph = graph.clone();
    fold::batch_norms(&mut graph)?;
    fuse::activations(&mut graph);
    drop_unused(&mut graph);
    graph.shapes()?;
    Ok(graph)
}

/// How many nodes and outputs read each value.
fn readers(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0; graph.value_count()];
    let ids = graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs);
    ids.for_each(|id| readers[usize::from(id.0)] += 1);
    readers
}

/// Removes node `index`, its readers reading `replacement` instead.
fn bypass(graph: &mut Graph, index: usize, replacement: ValueId) {
    let removed = graph.output_of(index);
    graph.nodes.remove(index);
    let rename = |id: &mut ValueId| {
        if *id == removed {
            *id = replacement;
        } else if *id > removed {
            id.0 -= 1;
        }
    };
    graph
        .nodes
        .iter_mut()
        .flat_map(|node| &mut node.inputs)
        .for_each(rename);
    graph.outputs.iter_mut().for_each(rename);
}

/// Removes nodes whose result nobody reads, and constants nobody uses.
pub(crate) fn drop_unused(graph: &mut Graph) {
    for index in (0..graph.nodes.len()).rev() {
        let output = graph.output_of(index);
        if readers(graph)[usize::from(output.0)] == 0 {
            bypass(graph, index, output);
        }
    }
    let mut used = vec![false; graph.tensors.len()];
    for node in &mut graph.nodes {
        for_each_tensor(&mut node.op, |id| used[usize::from(id.0)] = true);
    }
    let mut next = 0;
    let renumbered: Vec<u16> = used
        .iter()
        .map(|&used| {
            next += u16::from(used);
            next.wrapping_sub(1)
        })
        .collect();
    for node in &mut graph.nodes {
        for_each_tensor(&mut node.op, |id| id.0 = renumbered[usize::from(id.0)]);
    }
    let mut used = used.into_iter();
    graph.tensors.retain(|_| used.next().unwrap_or(true));
}

/// Calls `visit` for each constant of an operator.
pub(crate) fn for_each_tensor(op: &mut Op, mut visit: impl FnMut(&mut TensorId)) {
    match op {
        Op::Conv2d(conv) => {
            visit(&mut conv.weight);
            conv.bias.as_mut().map(visit);
        }
        Op::Linear(linear) => {
            visit(&mut linear.weight);
            linear.bias.as_mut().map(visit);
        }
        Op::BatchNorm(bn) => [&mut bn.scale, &mut bn.bias, &mut bn.mean, &mut bn.var]
            .into_iter()
            .for_each(visit),
        _ => {}
    }
}
