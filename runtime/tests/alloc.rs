//! Reading a model, making a session and running it allocate nothing.

#[cfg(test)]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::net::{Net, shape};
use secateur_format::op::{Conv2d, Pool, PoolKind};
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_format::{Activation, Limits, Model, Op};
use secateur_runtime::{ArenaBuf, Session, kernel};

thread_local! {
    /// Allocations of this thread: other threads are the test harness.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator, which keeps the
// contract; the counter needs no memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn every_operator() -> Net {
    let mut net = Net::new(1);
    let x = net.input(&[4, 6, 6]);
    let conv = Conv2d {
        weight: net.weight(4, 36),
        bias: Some(net.bias(4)),
        pads: [1; 4],
        activation: Activation::Relu,
        ..common::case::CONV
    };
    let y = net.node(Op::Conv2d(conv), &[x]);
    let sum = net.node(Op::Add(Activation::Gelu), &[x, y]);
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: [2, 2],
        stride: [1, 1],
        pads: [0; 4],
    };
    let pooled = net.node(Op::Pool(pool), &[sum]);
    let product = net.node(Op::Mul, &[pooled, pooled]);
    let (before, after, value) = ([0, 1, 0, 0], [0, 0, 1, 0], 0.5);
    let padded = net.node(Op::Pad { before, after, value }, &[product]);
    let (start, end, step) = ([0; 4], [4, 6, 6, 1], [1, 2, 1, 1]);
    let sliced = net.node(Op::Slice { start, end, step }, &[padded]);
    let joined = net.node(Op::Concat { axis: 1 }, &[sliced, sliced]);
    let tokens = net.node(Op::Reshape(shape(&[4, 36])), &[joined]);
    let linear = secateur_format::op::Linear {
        weight: net.weight(8, 4),
        bias: None,
        out_features: 8,
        activation: Activation::Tanh,
    };
    let features = net.node(Op::Linear(linear), &[tokens]);
    let image = net.node(Op::Reshape(shape(&[8, 6, 6])), &[features]);
    let mean = net.node(Op::GlobalAvgPool, &[image]);
    let last = secateur_format::op::Linear {
        weight: net.weight(3, 8),
        out_features: 3,
        ..linear
    };
    let logits = net.node(Op::Linear(last), &[mean]);
    net.node(Op::Softmax { axis: 0 }, &[logits]);
    net
}

#[test]
fn sessions_do_not_allocate() {
    for scratch in [Scratch::Packed, Scratch::None] {
        let mut net = every_operator();
        let file = net.file(&PlanOptions { scratch, align: 64 });
        let input = net.random_inputs().remove(0);
        let mut output = [0.0; 3];
        for kernels in [kernel::ALL, kernel::SCALAR] {
            let mut arena = ArenaBuf::new(1 << 20);
            let before = ALLOCATIONS.get();
            let model = Model::read(file.as_ref(), &Limits::EMBEDDED).unwrap();
            let mut session = Session::with_kernels(&model, arena.as_mut(), kernels).unwrap();
            session.input_mut(0).unwrap().copy_from_slice(&input);
            session.run().unwrap();
            session.run_batch(&input, &mut output).unwrap();
            assert_eq!(ALLOCATIONS.get(), before);
        }
        net.check();
    }
    assert!(ALLOCATIONS.get() > 0, "nothing was counted at all");
}
