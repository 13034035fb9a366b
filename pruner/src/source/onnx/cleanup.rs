//! Brings an imported graph into the form in which a person would have written it: exporters
//! split what is one operation here, and leave reshapes that change nothing.

use secateur_format::graph::{Graph, Tensor};
use secateur_format::op::{BatchNorm, Conv2d, Linear};
use secateur_format::{Activation, MAX_RANK, Op, Shape, TensorId, ValueId};

/// Merges and drops nodes without changing what the graph computes; `shapes` are its shapes.
pub(super) fn cleanup(mut graph: Graph, shapes: &[Shape]) -> Graph {
    let mut alias: Vec<ValueId> = (0..graph.value_count()).map(|id| ValueId(id as u16)).collect();
    bypass(&mut graph, shapes, &mut alias);
    fuse_activations(&mut graph, &mut alias);
    drop_unused(graph, &alias)
}

/// The value that stands for another one after the merges so far.
fn resolve(alias: &[ValueId], mut id: ValueId) -> ValueId {
    // Every step leads to an older value.
    while let Some(&next) = alias.get(usize::from(id.0)).filter(|next| next.0 < id.0) {
        id = next;
    }
    id
}

fn shape_of(shapes: &[Shape], id: ValueId) -> Option<&Shape> {
    shapes.get(usize::from(id.0))
}

/// Lets reshapes and slices read the value before the reshape or slice that they follow, and
/// replaces those that change nothing by their input.
fn bypass(graph: &mut Graph, shapes: &[Shape], alias: &mut [ValueId]) {
    for index in 0..graph.nodes.len() {
        let own = graph.output_of(index);
        let Some(mut node) = graph.nodes.get(index).cloned() else {
            continue;
        };
        node.inputs.iter_mut().for_each(|id| *id = resolve(alias, *id));
        if let [input] = node.inputs.as_mut_slice() {
            let before = graph.producer(*input).and_then(|index| graph.nodes.get(index));
            if let Some(before) = before
                && let Some(op) = merged(&before.op, &node.op)
                && let [source] = before.inputs.as_slice()
            {
                (node.op, *input) = (op, *source);
            }
            let moves = matches!(node.op, Op::Reshape(_) | Op::Slice { .. } | Op::Pad { .. });
            // A reshape, slice or padding that keeps the shape keeps every element.
            if moves
                && shape_of(shapes, *input) == shape_of(shapes, own)
                && let Some(slot) = alias.get_mut(usize::from(own.0))
            {
                *slot = *input;
            }
        }
        if let Some(slot) = graph.nodes.get_mut(index) {
            *slot = node;
        }
    }
}

/// One operator for two in a row.
fn merged(first: &Op, second: &Op) -> Option<Op> {
    match (first, second) {
        (Op::Reshape(_), Op::Reshape(shape)) => Some(Op::Reshape(*shape)),
        (
            Op::Slice {
                start: start_a,
                end: end_a,
                step: step_a,
            },
            Op::Slice {
                start: start_b,
                end: end_b,
                step: step_b,
            },
        ) => {
            let (mut start, mut end, mut step) = ([0; MAX_RANK], [0; MAX_RANK], [0; MAX_RANK]);
            for axis in 0..MAX_RANK {
                let by = *step_a.get(axis)?;
                let place = |index: u32| index.checked_mul(by)?.checked_add(*start_a.get(axis)?);
                *start.get_mut(axis)? = place(*start_b.get(axis)?)?;
                *end.get_mut(axis)? = place(*end_b.get(axis)?)?.min(*end_a.get(axis)?);
                *step.get_mut(axis)? = by.checked_mul(*step_b.get(axis)?)?;
            }
            Some(Op::Slice { start, end, step })
        }
        _ => None,
    }
}

/// Moves an activation into the operator before it, where nothing else reads that.
fn fuse_activations(graph: &mut Graph, alias: &mut [ValueId]) {
    let uses = uses(graph, alias);
    for index in 0..graph.nodes.len() {
        let own = graph.output_of(index);
        let Some(node) = graph.nodes.get(index) else { continue };
        let (Op::Activation(activation), [input]) = (node.op, node.inputs.as_slice()) else {
            continue;
        };
        let input = resolve(alias, *input);
        let count = |id: ValueId| uses.get(usize::from(id.0)).copied().unwrap_or(0);
        if count(input) != 1 || count(own) == 0 {
            continue;
        }
        let before = graph.producer(input).and_then(|index| graph.nodes.get_mut(index));
        if let Some(slot @ Activation::Identity) = before.and_then(|node| fused_activation(&mut node.op)) {
            *slot = activation;
            if let Some(slot) = alias.get_mut(usize::from(own.0)) {
                *slot = input;
            }
        }
    }
}

fn fused_activation(op: &mut Op) -> Option<&mut Activation> {
    match op {
        Op::Conv2d(Conv2d { activation, .. }) | Op::Linear(Linear { activation, .. }) | Op::Add(activation) => {
            Some(activation)
        }
        _ => None,
    }
}

/// Which values the outputs depend on.
fn live(graph: &Graph, alias: &[ValueId]) -> Vec<bool> {
    let mut live = vec![false; graph.value_count()];
    let mark = |live: &mut Vec<bool>, id: ValueId| {
        if let Some(slot) = live.get_mut(usize::from(resolve(alias, id).0)) {
            *slot = true;
        }
    };
    graph.outputs.iter().for_each(|&id| mark(&mut live, id));
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if live.get(usize::from(graph.output_of(index).0)) == Some(&true) {
            node.inputs.iter().for_each(|&id| mark(&mut live, id));
        }
    }
    live
}

/// How often each value is read by live nodes and outputs.
fn uses(graph: &Graph, alias: &[ValueId]) -> Vec<u32> {
    let live = live(graph, alias);
    let mut uses = vec![0; graph.value_count()];
    let readers = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(i, _)| live.get(usize::from(graph.output_of(*i).0)) == Some(&true));
    for &id in readers.flat_map(|(_, node)| &node.inputs).chain(&graph.outputs) {
        if let Some(count) = uses.get_mut(usize::from(resolve(alias, id).0)) {
            *count += 1;
        }
    }
    uses
}

/// Drops the nodes that nothing reads, and the constants that no node is left to use.
fn drop_unused(graph: Graph, alias: &[ValueId]) -> Graph {
    let live = live(&graph, alias);
    let inputs = graph.inputs.len();
    let mut new_ids: Vec<ValueId> = (0..graph.value_count()).map(|id| ValueId(id as u16)).collect();
    let mut tensors = Renumbered {
        old: graph.tensors.into_iter().map(Some).collect(),
        ids: Vec::new(),
        new: Vec::new(),
    };
    tensors.ids = vec![None; tensors.old.len()];
    let mut nodes = Vec::new();
    for (index, mut node) in graph.nodes.into_iter().enumerate() {
        if live.get(inputs + index) != Some(&true) {
            continue;
        }
        node.inputs
            .iter_mut()
            .for_each(|id| *id = renumbered(&new_ids, resolve(alias, *id)));
        tensors.renumber(&mut node.op);
        if let Some(slot) = new_ids.get_mut(inputs + index) {
            *slot = ValueId((inputs + nodes.len()) as u16);
        }
        nodes.push(node);
    }
    let outputs = graph
        .outputs
        .iter()
        .map(|&id| renumbered(&new_ids, resolve(alias, id)))
        .collect();
    Graph {
        inputs: graph.inputs,
        nodes,
        outputs,
        tensors: tensors.new,
    }
}

fn renumbered(new_ids: &[ValueId], id: ValueId) -> ValueId {
    new_ids.get(usize::from(id.0)).copied().unwrap_or(id)
}

/// Constants in the order of their first use.
struct Renumbered {
    old: Vec<Option<Tensor>>,
    ids: Vec<Option<TensorId>>,
    new: Vec<Tensor>,
}

impl Renumbered {
    fn renumber(&mut self, op: &mut Op) {
        match op {
            Op::Conv2d(Conv2d { weight, bias, .. }) | Op::Linear(Linear { weight, bias, .. }) => {
                self.place(weight);
                bias.iter_mut().for_each(|bias| self.place(bias));
            }
            Op::BatchNorm(BatchNorm {
                scale, bias, mean, var, ..
            }) => {
                [scale, bias, mean, var].into_iter().for_each(|id| self.place(id));
            }
            _ => {}
        }
    }

    fn place(&mut self, id: &mut TensorId) {
        let index = usize::from(id.0);
        if let Some(tensor) = self.old.get_mut(index).and_then(Option::take) {
            self.new.push(tensor);
            if let Some(slot) = self.ids.get_mut(index) {
                *slot = Some(TensorId((self.new.len() - 1) as u16));
            }
        }
        if let Some(Some(new)) = self.ids.get(index) {
            *id = *new;
        }
    }
}
