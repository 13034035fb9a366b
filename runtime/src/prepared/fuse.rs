//! Residual additions that the product before them can do itself.

use secateur_format::{Activation, Model, Node, Op, ValueId};

/// An addition that is done by the product before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addition {
    /// Index of the addition.
    pub(crate) node: usize,
    /// Its result.
    pub(crate) output: ValueId,
    /// What is added.
    pub(crate) residual: ValueId,
    /// Whether the result takes over the memory of what is added.
    pub(crate) in_output: bool,
    /// Applied to the sum.
    pub(crate) activation: Activation,
}

/// The addition `next`, if it may be fused into the product `node` right before it: it adds that
/// product's output, which nothing else reads, and its result lies where one of its operands lay.
pub(crate) fn addition(model: &Model<'_>, node: &Node<'_>, next: &Node<'_>) -> Option<Addition> {
    let Op::Add(activation) = next.op else { return None };
    let linear = match &node.op {
        Op::Conv2d(conv) => conv.activation == Activation::Identity,
        Op::Linear(linear) => linear.activation == Activation::Identity,
        _ => false,
    };
    let mut inputs = next.inputs();
    let (a, b) = (inputs.next()?, inputs.next()?);
    let residual = match (a == node.output, b == node.output) {
        (true, false) => b,
        (false, true) => a,
        _ => return None,
    };
    let plan = model.plan();
    let elsewhere = plan.last_use(node.output) != next.index as u32 || model.outputs().any(|id| id == node.output);
    if !linear || elsewhere {
        return None;
    }
    let start = |id: ValueId| plan.value(id, model.shape(id)).elems().start;
    // A product cannot write over its own input, which may be what is added.
    let in_output = start(next.output) == start(residual) && node.inputs().all(|id| start(id) != start(residual));
    let in_product = start(next.output) == start(node.output);
    (in_output || in_product).then_some(Addition {
        node: next.index,
        output: next.output,
        residual,
        in_output,
        activation,
    })
}
