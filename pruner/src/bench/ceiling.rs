//! What the machine can do at most, to compare layers with.

use std::hint::black_box;
use std::time::Instant;

use secateur_format::graph::{Graph, Input, NodeDef, Tensor};
use secateur_format::op::Linear;
use secateur_format::{Activation, Op, Shape, TensorId, ValueId};
use secateur_runtime::kernel::Kernel;
use secateur_runtime::prepared::{Options, Problem, Threads};
use secateur_runtime::{ArenaBuf, Limits, Model};

use crate::emit::{EmitOptions, write};
use crate::engine::Engine;

/// Rates that no layer exceeds, with the threads and kernels of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    /// Floating-point operations per second, a multiply-add being two; `None` without panel kernels.
    pub flops: Option<f64>,
    /// Bytes read from memory per second.
    pub bandwidth: f64,
}

impl Ceiling {
    /// Measures both: some tens of milliseconds.
    pub fn measure(engine: &Engine) -> Self {
        Self {
            flops: flops(engine.kernels(), engine.threads()),
            bandwidth: bandwidth(engine.threads()),
        }
    }
}

/// A panel of this height is in the first-level cache of any processor at hand.
const COLS: usize = 128;
/// So many rows that packing a panel is nothing beside multiplying with it.
const ROWS: usize = 256;
/// So many columns that threads have equal shares.
const COLUMNS: usize = 3072;

/// The rate of the dense panel kernel on a product made for it, which stays in the first-level cache.
fn flops(kernels: &'static [Kernel], threads: usize) -> Option<f64> {
    let options = Options {
        kernels,
        threads,
        ..Options::default()
    };
    let bytes = ArenaBuf::copy_of(&write(&product(), &EmitOptions::default()).ok()?.bytes);
    let model = Model::read(bytes.as_ref(), &Limits::HOST).ok()?;
    let problem = Problem::new(&model, &model.nodes().next()?).ok()??;
    let task = problem.task();
    let mut threads = Threads::new(threads);
    let candidates = task.candidates(&options);
    let layers = candidates
        .iter()
        .filter_map(|candidate| task.layer(candidate, threads.count()));
    let times = task.measure(&layers.collect::<Vec<_>>(), &mut threads);
    let best = times.into_iter().min_by(f64::total_cmp)?;
    Some((2 * ROWS * COLS * COLUMNS) as f64 / best * 1e9)
}

/// A linear layer of many tokens, without zeros: only dense kernels run it.
fn product() -> Graph {
    Graph {
        inputs: vec![Input {
            name: "x".to_owned(),
            shape: Shape::new(&[COLS as u32, COLUMNS as u32]).unwrap_or(Shape::SCALAR),
        }],
        nodes: vec![NodeDef {
            name: "y".to_owned(),
            op: Op::Linear(Linear {
                weight: TensorId(0),
                bias: None,
                out_features: ROWS as u32,
                activation: Activation::Identity,
            }),
            inputs: vec![ValueId(0)],
        }],
        tensors: vec![Tensor {
            name: "w".to_owned(),
            rows: ROWS as u32,
            cols: COLS as u32,
            data: vec![0.5; ROWS * COLS],
        }],
        outputs: vec![ValueId(1)],
    }
}

/// More than caches hold, as 64-bit numbers.
const WORDS: usize = 16 << 20;

/// The rate at which all threads together add up an array.
fn bandwidth(threads: usize) -> f64 {
    let data = vec![1u64; WORDS];
    let once = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in data.chunks(WORDS.div_ceil(threads)) {
                scope.spawn(|| black_box(part.iter().fold(0u64, |sum, x| sum.wrapping_add(*x))));
            }
        });
        start.elapsed().as_secs_f64()
    };
    let best = (0..5).map(|_| once()).fold(f64::INFINITY, f64::min);
    (8 * WORDS) as f64 / best
}
