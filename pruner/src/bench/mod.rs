//! Times: models in one run, in turn.

mod ceiling;

use std::time::{Duration, Instant};

use secateur_runtime::{ArenaBuf, Model, RunError, Session};

use crate::engine::Engine;

pub use ceiling::Ceiling;

/// Median and spread of repeated measurements, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Timing {
    /// Half of the runs took less.
    pub median_us: f64,
    /// A tenth of the runs took less.
    pub p10_us: f64,
    /// A tenth of the runs took more.
    pub p90_us: f64,
}

impl Timing {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |q: f64| {
            samples
                .get(((samples.len().max(1) - 1) as f64 * q).round() as usize)
                .copied()
                .unwrap_or(0.0)
        };
        Self {
            median_us: at(0.5),
            p10_us: at(0.1),
            p90_us: at(0.9),
        }
    }
}

/// Times of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Whole runs.
    pub total: Timing,
    /// Node by node.
    pub nodes: Vec<NodeMeasured>,
    /// Runs measured.
    pub runs: usize,
    /// How long the session took to be made.
    pub prepare_us: f64,
}

/// A node: its time, and how it was run.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeMeasured {
    /// Its time in a run.
    pub timing: Timing,
    /// What ran it; `None` for operators without weights.
    pub kernel: Option<&'static str>,
    /// Whether the product before it has done its work.
    pub fused: bool,
    /// Bytes of its repacked weights; `None` if they are read from the file.
    pub repacked_bytes: Option<usize>,
}

/// How long to measure, and what a run is.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Least runs of each model.
    pub runs: usize,
    /// Least time.
    pub time: Duration,
    /// Samples of a run, one after another.
    pub batch: usize,
}

/// Measures models in turn, run by run, so that a change of the machine's speed
/// meets all of them. Node times and whole runs are measured apart: a clock is
/// read between nodes only in every other round.
///
/// # Errors
/// A [`RunError`].
pub fn measure(models: &[&Model<'_>], engine: &Engine, options: &BenchOptions) -> Result<Vec<Measured>, RunError> {
    let mut arenas: Vec<ArenaBuf> = models.iter().map(|model| ArenaBuf::for_model(model)).collect();
    let mut runners = models
        .iter()
        .zip(&mut arenas)
        .map(|(model, arena)| {
            let start = Instant::now();
            let session = engine.session(model, arena.as_mut())?;
            Ok(Runner {
                session,
                batch: options.batch,
                prepare_us: micros(start),
                totals: Vec::new(),
                nodes: vec![Vec::new(); model.node_count()],
            })
        })
        .collect::<Result<Vec<Runner<'_, '_>>, RunError>>()?;
    for runner in &mut runners {
        (0..3).try_for_each(|_| runner.run())?;
    }
    let start = Instant::now();
    let mut runs = 0;
    while runs < options.runs.max(1) || start.elapsed() < options.time {
        for runner in &mut runners {
            // The caches are still those of the other model: the run that is split up warms them.
            runner.by_node()?;
            runner.total()?;
        }
        runs += 1;
    }
    Ok(runners.into_iter().map(|runner| runner.measured(runs)).collect())
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

struct Runner<'m, 'a> {
    session: Session<'m, 'a>,
    batch: usize,
    prepare_us: f64,
    totals: Vec<f64>,
    nodes: Vec<Vec<f64>>,
}

impl Runner<'_, '_> {
    /// Inputs are overwritten by a run: give them ordinary values again.
    fn fill(&mut self) -> Result<(), RunError> {
        for i in 0..self.session.model().input_count() {
            let input = self.session.input_mut(i)?.iter_mut().enumerate();
            input.for_each(|(i, x)| *x = (i % 17) as f32 / 8.0 - 1.0);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), RunError> {
        self.fill()?;
        self.session.run()
    }

    fn total(&mut self) -> Result<(), RunError> {
        let mut total = 0.0;
        for _ in 0..self.batch {
            self.fill()?;
            let start = Instant::now();
            self.session.run()?;
            total += micros(start);
        }
        self.totals.push(total);
        Ok(())
    }

    fn by_node(&mut self) -> Result<(), RunError> {
        let mut sums = vec![0.0; self.nodes.len()];
        for _ in 0..self.batch {
            self.fill()?;
            let mut last = Instant::now();
            self.session.run_observed(|node, _| {
                let now = Instant::now();
                if let Some(sum) = sums.get_mut(node) {
                    *sum += (now - last).as_secs_f64() * 1e6;
                }
                last = now;
            })?;
        }
        self.nodes.iter_mut().zip(sums).for_each(|(node, sum)| node.push(sum));
        Ok(())
    }

    fn measured(self, runs: usize) -> Measured {
        let model = *self.session.model();
        let prepared = self.session.prepared();
        let nodes = model.nodes().zip(self.nodes).map(|(node, samples)| NodeMeasured {
            timing: Timing::of(samples),
            kernel: self.session.kernel(&node).map(|kernel| kernel.name),
            fused: prepared.is_some_and(|prepared| prepared.fused(node.index)),
            repacked_bytes: prepared.and_then(|prepared| prepared.repacked_bytes(node.index)),
        });
        Measured {
            nodes: nodes.collect(),
            total: Timing::of(self.totals),
            runs,
            prepare_us: self.prepare_us,
        }
    }
}
