//! Activation fusion: an activation that alone reads a linear, a convolution or
//! a sum is applied as it is stored.

use secateur_format::graph::Graph;
use secateur_format::{Activation, Op};

use super::{bypass, readers};

pub(super) fn activations(graph: &mut Graph) {
    let mut index = 0;
    while index < graph.nodes.len() {
        let Op::Activation(activation) = graph.nodes[index].op else {
            index += 1;
            continue;
        };
        let input = graph.nodes[index].inputs[0];
        let alone = readers(graph)[usize::from(input.0)] == 1;
        let producer = graph.producer(input).filter(|_| alone);
        let slot = producer.and_then(|p| match &mut graph.nodes[p].op {
            Op::Conv2d(conv) => Some(&mut conv.activation),
            Op::Linear(linear) => Some(&mut linear.activation),
            Op::Add(fused) => Some(fused),
            _ => None,
        });
        match slot {
            Some(slot) if *slot == Activation::Identity => {
                *slot = activation;
                bypass(graph, index, input);
            }
            _ if activation == Activation::Identity => bypass(graph, index, input),
            _ => index += 1,
        }
    }
}
