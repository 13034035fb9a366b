//! The same bits for every number of threads.

use secateur_format::op::Conv2d;
use secateur_format::{Activation, Op};

use super::support::{Net, Problem};
use crate::train::Statistics;

#[test]
fn threads_do_not_change_a_bit() {
    let mut net = Net::new(&[3, 12, 12]);
    let weight = net.tensor(8, 27);
    net.push(Op::Conv2d(Conv2d {
        weight,
        bias: None,
        out_channels: 8,
        groups: 1,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
        activation: Activation::Identity,
    }));
    net.batch_norm(8);
    net.push(Op::Activation(Activation::Relu));
    net.push(Op::GlobalAvgPool);
    net.linear(10, 8);
    let problem = Problem::new(&net.graph, 45);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| problem.gradients(&net.graph, Statistics::Batch))
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(3));
}
