//! SynFlow: the flow through a network of positive weights, without data.

use secateur_format::graph::{Graph, GraphError};
use secateur_format::{Activation, Op, TensorId};

use super::{Criterion, CriterionError, Kind, Method, Needs, Scores, Setting, Subject, Unit};
use crate::eval::EvalError;
use crate::train::{Interpreter, Statistics, logits};

const ROUNDS: Setting = Setting {
    name: "rounds",
    kind: Kind::Whole(100, [1, 1000]),
    help: "Rounds in which it prunes; a single one may empty layers.",
    ours: false,
};

/// Binary orders of magnitude that a pass begins below one, in turn, until nothing overflows.
///
/// The flow of a deep network leaves the range of f32 (arXiv 2006.05467 uses f64). It is proportional to its input
/// and biases together, and its gradient to that of the output, so that both may begin as small as is needed.
const DEPTHS: [i32; 3] = [0, 55, 110];

pub(super) const METHOD: Method = Method {
    name: "synflow",
    aliases: &[],
    summary: "|w · dR/dw| for R = the sum of outputs of the network of |weights| for an input of ones",
    source: "Pruning neural networks without any data, arXiv 2006.05467",
    needs: Needs::Weights,
    settings: &[ROUNDS],
    unit: Unit::Sum,
    score,
};

fn score(subject: &Subject<'_>, criterion: &Criterion) -> Result<Scores, CriterionError> {
    let invalid = |problem: GraphError| CriterionError::Samples {
        criterion: criterion.method().name,
        problem: EvalError::Graph(problem),
    };
    let mut scores = Scores::new();
    for depth in DEPTHS {
        let gradients = flow(subject.graph, 2f32.powi(-depth)).map_err(invalid)?;
        scores = subject.each_pair(&gradients, |w, g| (w * g).abs());
        if scores.iter().flatten().all(|score| score.is_finite()) {
            break;
        }
    }
    Ok(scores)
}

/// The gradient of R with respect to each constant, times the square of `scale`.
fn flow(graph: &Graph, scale: f32) -> Result<Vec<Vec<f64>>, GraphError> {
    let output = logits(graph).ok_or(GraphError::Structure)?;
    let graph = positive(graph, scale);
    let mut interpreter = Interpreter::trainer(&graph, output, 1, Statistics::Frozen)?;
    interpreter.set_inputs(1, |_, x| x.fill(scale));
    interpreter.forward(&graph);
    interpreter.loss(|_, _, dy| dy.fill(scale));
    interpreter.backward(&graph);
    let gradients = interpreter.gradients().iter();
    Ok(gradients
        .map(|gradient| gradient.iter().map(|&g| f64::from(g)).collect())
        .collect())
}

/// The network with the sizes of all its constants, and what is added in it times `scale`. Activations that bend or
/// saturate are ReLUs in it, because the flow is to be proportional to its input.
fn positive(graph: &Graph, scale: f32) -> Graph {
    let added = graph.nodes.iter().flat_map(|node| match &node.op {
        Op::BatchNorm(bn) => [Some(bn.bias), Some(bn.mean)],
        op => [op.bias(), None],
    });
    let added: Vec<TensorId> = added.flatten().collect();
    let mut positive = graph.clone();
    for node in &mut positive.nodes {
        let activation = match &mut node.op {
            Op::Conv2d(conv) => &mut conv.activation,
            Op::Linear(linear) => &mut linear.activation,
            Op::Activation(activation) | Op::Add(activation) => activation,
            _ => continue,
        };
        if !matches!(activation, Activation::Identity | Activation::LeakyRelu(_)) {
            *activation = Activation::Relu;
        }
    }
    for (id, tensor) in (0..).map(TensorId).zip(&mut positive.tensors) {
        let factor = if added.contains(&id) { scale } else { 1.0 };
        tensor.data.iter_mut().for_each(|w| *w = w.abs() * factor);
    }
    positive
}
