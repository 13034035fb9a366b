//! Why a layer runs as it does: the ways to run it, what each costs, and what other weights would change.

mod cache;
mod outlook;
mod vector;

use std::cmp::Ordering;

use secateur_format::encoding::Encoding;
use secateur_runtime::kernel::Kernel;
use secateur_runtime::prepared::{Candidate, Layer, Options, Problem, Task, Threads, Tiling, VectorTask, shortlist};
use secateur_runtime::{Model, Node, RunError};

pub use cache::Caches;
pub use outlook::{Outlook, PATTERNS, outlooks};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The way that is chosen, and the best with dense weights.
    Chosen,
    /// All of them.
    All,
}

/// A way to run a layer.
#[derive(Clone, Debug)]
pub struct Way {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Whether it multiplies all weights, zeros too.
    pub dense: bool,
    /// How the weights lie in memory: repacked, or in this encoding.
    pub layout: Layout,
    /// Bytes of the weights as the kernel reads them.
    pub bytes: u64,
    /// Predicted time; `None` for ways that there is no prediction for.
    pub predicted_us: Option<f64>,
    /// Measured time; `None` if it was not measured.
    pub measured_us: Option<f64>,
}

/// How the weights of a way lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// Repacked, for panels of this form.
    Repacked(Tiling),
    /// As in a file, if not in the same encoding.
    Encoded(Encoding),
}

/// What there is to know of a layer's speed.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// The ways to run it, the chosen one first, then by predicted time.
    pub ways: Vec<Way>,
    /// What weights of other patterns would do.
    pub outlooks: Vec<Outlook>,
}

impl Advice {
    /// The way that is chosen.
    pub fn chosen(&self) -> Option<&Way> {
        self.ways.first()
    }

    /// The best way with dense weights.
    pub fn dense(&self) -> Option<&Way> {
        self.ways.iter().find(|way| way.dense)
    }

    /// How many times longer the next best kernel is predicted to take.
    pub fn margin(&self) -> Option<f64> {
        let chosen = self.chosen()?;
        let next = self.ways.iter().find(|way| way.kernel.name != chosen.kernel.name)?;
        Some(next.predicted_us? / chosen.predicted_us?)
    }

    /// How many times longer the layer takes with dense weights; measured.
    pub fn speedup(&self) -> Option<f64> {
        Some(self.dense()?.measured_us? / self.chosen()?.measured_us?)
    }

    /// The fastest way that was measured, if it is not the one chosen.
    pub fn faster(&self) -> Option<&Way> {
        let chosen = self.chosen()?.measured_us?;
        let measured = self.ways.iter().filter_map(|way| Some((way.measured_us?, way)));
        let (best, way) = measured.min_by(|a, b| a.0.total_cmp(&b.0))?;
        (best < chosen).then_some(way)
    }
}

/// All there is to know of the node's layer; nothing for nodes that are run in one way only.
///
/// # Errors
/// A [`RunError`]: none for a model that was read.
pub fn advise(
    model: &Model<'_>,
    node: &Node<'_>,
    options: &Options,
    effort: Effort,
    threads: &mut Threads,
) -> Result<Advice, RunError> {
    let Some(problem) = Problem::new(model, node)? else {
        let task = VectorTask::new(model, node);
        return Ok(Advice {
            ways: task.map_or(Vec::new(), |task| vector::ways(&task, options, threads)),
            outlooks: Vec::new(),
        });
    };
    let task = problem.task();
    Ok(Advice {
        ways: panel_ways(&task, options, effort, threads),
        outlooks: outlooks(&task, options),
    })
}

/// The best way of each kernel, the chosen one and the best dense one measured. With all effort every way, and all
/// measured: then that one is chosen that is the fastest of those worth timing.
fn panel_ways(task: &Task<'_>, options: &Options, effort: Effort, threads: &mut Threads) -> Vec<Way> {
    let candidates = task.candidates(options);
    let best = |dense: bool| candidates.iter().find(|candidate| candidate.is_dense() == dense);
    let worth = match effort {
        Effort::Chosen => [true, false].into_iter().filter_map(best).copied().collect(),
        Effort::All => shortlist(&candidates),
    };
    let mut ways = timed(task, &worth, threads);
    let of_kernel = |way: &Way, candidate: &Candidate| way.kernel.name == candidate.kernel.name;
    let is = |way: &Way, candidate: &Candidate| {
        of_kernel(way, candidate) && way.layout == Layout::Repacked(candidate.tiling)
    };
    for candidate in &candidates {
        match effort {
            Effort::All if !ways.iter().any(|way| is(way, candidate)) => {
                ways.extend(timed(task, &[*candidate], threads));
            }
            Effort::Chosen if !ways.iter().any(|way| of_kernel(way, candidate)) => {
                let layer = task.layer(candidate, threads.count());
                ways.extend(layer.map(|layer| way(candidate, &layer)));
            }
            _ => {}
        }
    }
    ways.sort_by(|a, b| by_time(a.predicted_us, b.predicted_us));
    if effort == Effort::All {
        let timed = ways.iter().enumerate();
        let timed = timed.filter(|(_, way)| worth.iter().any(|candidate| is(way, candidate)));
        if let Some((at, _)) = timed.min_by(|(_, a), (_, b)| by_time(a.measured_us, b.measured_us)) {
            ways[..=at].rotate_right(1);
        }
    }
    ways
}

fn by_time(a: Option<f64>, b: Option<f64>) -> Ordering {
    let us = |time: Option<f64>| time.unwrap_or(f64::INFINITY);
    us(a).total_cmp(&us(b))
}

/// The ways of some candidates, measured in turns.
fn timed(task: &Task<'_>, candidates: &[Candidate], threads: &mut Threads) -> Vec<Way> {
    let layers = candidates
        .iter()
        .filter_map(|candidate| Some((candidate, task.layer(candidate, threads.count())?)));
    let (candidates, layers): (Vec<_>, Vec<_>) = layers.unzip();
    let times = task.measure(&layers, threads);
    let ways = candidates
        .into_iter()
        .zip(&layers)
        .map(|(candidate, layer)| way(candidate, layer));
    ways.zip(times)
        .map(|(way, time)| Way {
            measured_us: Some(time / 1e3),
            ..way
        })
        .collect()
}

fn way(candidate: &Candidate, layer: &Layer) -> Way {
    Way {
        kernel: candidate.kernel,
        dense: candidate.is_dense(),
        layout: Layout::Repacked(candidate.tiling),
        bytes: layer.bytes() as u64,
        predicted_us: Some(candidate.predicted_ns / 1e3),
        measured_us: None,
    }
}
