//! The graph as a list of steps, with a buffer for every value and gradient.
//!
//! Fused activations become steps of their own. A buffer is reused as soon as neither the forward
//! nor the backward pass needs what it holds, so the memory of a training step is known, and
//! taken, before the first one.

use secateur_format::graph::Graph;
use secateur_format::op::PoolKind;
use secateur_format::{Activation, Op, Shape, ValueId};

/// One operator without a fused activation.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The node it comes from.
    pub(super) node: usize,
    /// The operator.
    pub(super) op: Op,
    /// Values it reads, each with what happens to its gradient.
    pub(super) inputs: Vec<(usize, Flow)>,
    /// The value it computes.
    pub(super) output: usize,
}

/// What the backward pass does with the gradient of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nothing: no parameter lies behind.
    Stop,
    /// It is that of the output, changed in place.
    Move,
    /// It is the first contribution.
    Set,
    /// It is one more contribution.
    Add,
}

/// Steps, and where values and gradients lie.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// Shapes of values; value 0 is the input.
    pub(super) shapes: Vec<Shape>,
    /// The value the program is for.
    pub(super) output: usize,
    /// The number here of each value of the graph; `usize::MAX` where it is not computed.
    pub(super) numbers: Vec<usize>,
    /// The buffer of each value.
    pub(super) places: Vec<usize>,
    /// Elements per sample of each buffer.
    pub(super) sizes: Vec<usize>,
    /// The buffer of each value's gradient.
    pub(super) grad_places: Vec<usize>,
    /// Elements per sample of each gradient buffer.
    pub(super) grad_sizes: Vec<usize>,
}

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Forward only.
    Inference,
    /// Forward and backward.
    Training,
}

impl Program {
    /// The program that computes `wanted` of a valid graph of one input, and keeps it; the last is the output.
    pub(super) fn new(graph: &Graph, shapes: &[Shape], wanted: &[ValueId], purpose: Purpose) -> Self {
        let (mut steps, shapes, numbers) = unfuse(graph, shapes, wanted);
        let kept: Vec<usize> = wanted.iter().map(|id| numbers[usize::from(id.0)]).collect();
        let output = kept.last().copied().unwrap_or(0);
        let backward = purpose == Purpose::Training;
        let (places, sizes) = place_values(&steps, &shapes, &kept, backward);
        let (grad_places, grad_sizes) = if backward {
            place_gradients(&mut steps, &shapes, output)
        } else {
            (Vec::new(), Vec::new())
        };
        Self {
            steps,
            shapes,
            output,
            numbers,
            places,
            sizes,
            grad_places,
            grad_sizes,
        }
    }
}

/// The steps that `wanted` needs, shapes by value, and the numbers of the graph's values.
fn unfuse(graph: &Graph, shapes: &[Shape], wanted: &[ValueId]) -> (Vec<Step>, Vec<Shape>, Vec<usize>) {
    let mut needed = vec![false; graph.value_count()];
    wanted.iter().for_each(|id| needed[usize::from(id.0)] = true);
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if needed[graph.inputs.len() + index] {
            node.inputs.iter().for_each(|id| needed[usize::from(id.0)] = true);
        }
    }
    let mut numbers: Vec<usize> = (0..graph.inputs.len()).collect();
    let mut own_shapes: Vec<Shape> = shapes[..graph.inputs.len()].to_vec();
    let mut steps = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let value = graph.inputs.len() + index;
        if !needed[value] {
            numbers.push(usize::MAX);
            continue;
        }
        let mut inputs: Vec<_> = node
            .inputs
            .iter()
            .map(|id| (numbers[usize::from(id.0)], Flow::Stop))
            .collect();
        for op in parts(node.op) {
            let output = own_shapes.len();
            own_shapes.push(shapes[value]);
            steps.push(Step {
                node: index,
                op,
                inputs: std::mem::replace(&mut inputs, vec![(output, Flow::Stop)]),
                output,
            });
        }
        numbers.push(own_shapes.len() - 1);
    }
    (steps, own_shapes, numbers)
}

/// The operator, and its activation behind it.
fn parts(mut op: Op) -> impl Iterator<Item = Op> {
    let fused = match &mut op {
        Op::Conv2d(conv) => std::mem::replace(&mut conv.activation, Activation::Identity),
        Op::Linear(linear) => std::mem::replace(&mut linear.activation, Activation::Identity),
        Op::Add(activation) => std::mem::replace(activation, Activation::Identity),
        _ => Activation::Identity,
    };
    let second = (fused != Activation::Identity).then_some(Op::Activation(fused));
    std::iter::once(op).chain(second)
}

/// Whether the backward pass of an activation reads its output, rather than its input.
pub(super) fn from_output(activation: Activation) -> bool {
    match activation {
        Activation::Identity | Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::Tanh => true,
        // The sign of the output must tell that of the input.
        Activation::LeakyRelu(slope) => slope > 0.0,
        _ => false,
    }
}

/// Whether the backward pass reads the inputs, and whether the output.
fn reads(op: &Op) -> (bool, bool) {
    match op {
        Op::Conv2d(_) | Op::Linear(_) | Op::BatchNorm(_) | Op::Mul => (true, false),
        Op::Pool(pool) => (pool.kind == PoolKind::Max, false),
        Op::Activation(activation) => (!from_output(*activation), from_output(*activation)),
        Op::Softmax { .. } => (false, true),
        _ => (false, false),
    }
}

/// Whether an output in the layout of shards is its input, element by element.
fn same_layout(op: &Op, input: Shape, output: Shape) -> bool {
    match op {
        Op::Activation(_) | Op::Add(_) | Op::BatchNorm(_) => true,
        Op::Reshape(_) => input.dims()[0] == output.dims()[0],
        _ => false,
    }
}

/// Buffers that are taken and given back.
#[derive(Default)]
struct Pool {
    sizes: Vec<usize>,
    free: Vec<usize>,
}

impl Pool {
    /// The smallest free buffer that is large enough, or else a new one.
    fn take(&mut self, size: usize) -> usize {
        let fits = |&(_, &id): &(usize, &usize)| self.sizes[id] >= size;
        let best = self
            .free
            .iter()
            .enumerate()
            .filter(fits)
            .min_by_key(|&(_, &id)| self.sizes[id]);
        if let Some((at, &id)) = best {
            self.free.swap_remove(at);
            return id;
        }
        self.sizes.push(size);
        self.sizes.len() - 1
    }
}

fn place_values(steps: &[Step], shapes: &[Shape], kept: &[usize], backward: bool) -> (Vec<usize>, Vec<usize>) {
    // The step after which a value is not needed any more.
    let mut last = vec![0; shapes.len()];
    for (index, step) in steps.iter().enumerate() {
        let (inputs, own) = if backward { reads(&step.op) } else { (false, false) };
        for &(input, _) in &step.inputs {
            last[input] = last[input].max(if inputs { usize::MAX } else { index });
        }
        last[step.output] = if own { usize::MAX } else { index };
    }
    kept.iter().for_each(|&value| last[value] = usize::MAX);

    let mut pool = Pool::default();
    let mut places = vec![pool.take(shapes[0].elems())];
    // What is needed of a buffer, by all values that share it.
    let mut busy = vec![last[0]];
    for (index, step) in steps.iter().enumerate() {
        let size = shapes[step.output].elems();
        let mut inputs: Vec<usize> = step.inputs.iter().map(|&(input, _)| places[input]).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let reusable = |&&(input, _): &&(usize, Flow)| {
            let own = same_layout(&step.op, shapes[input], shapes[step.output]);
            own && busy[places[input]] == index && inputs.len() == step.inputs.len()
        };
        let place = match step.inputs.iter().find(reusable) {
            Some(&(input, _)) => places[input],
            None => pool.take(size),
        };
        busy.resize(pool.sizes.len(), 0);
        places.push(place);
        busy[place] = last[step.output];
        for place in inputs {
            if busy[place] == index {
                pool.free.push(place);
            }
        }
    }
    (places, pool.sizes)
}

fn place_gradients(steps: &mut [Step], shapes: &[Shape], output: usize) -> (Vec<usize>, Vec<usize>) {
    // Values behind which parameters lie.
    let mut wanted = vec![false; shapes.len()];
    for step in steps.iter() {
        let parameters = matches!(step.op, Op::Conv2d(_) | Op::Linear(_) | Op::BatchNorm(_));
        wanted[step.output] = parameters || step.inputs.iter().any(|&(input, _)| wanted[input]);
    }
    let mut pool = Pool::default();
    let mut places = vec![usize::MAX; shapes.len()];
    places[output] = pool.take(shapes[output].elems());
    for step in steps.iter_mut().rev() {
        let place = places[step.output];
        if place == usize::MAX {
            continue;
        }
        let mut moved = false;
        let twice = step.inputs.len() == 2 && step.inputs[0].0 == step.inputs[1].0;
        for (input, flow) in &mut step.inputs {
            let (input, same) = (*input, same_layout(&step.op, shapes[*input], shapes[step.output]));
            *flow = match (wanted[input], places[input] == usize::MAX) {
                (false, _) => Flow::Stop,
                (true, false) => Flow::Add,
                (true, true) if same && !moved && !twice => {
                    places[input] = place;
                    moved = true;
                    Flow::Move
                }
                (true, true) => {
                    places[input] = pool.take(shapes[input].elems());
                    Flow::Set
                }
            };
        }
        if !moved {
            pool.free.push(place);
        }
    }
    (places, pool.sizes)
}
