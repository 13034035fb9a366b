//! Times: a model against the same model with dense weights, in one run.

use std::time::{Duration, Instant};

use secateur_runtime::kernel::Kernel;
use secateur_runtime::{ArenaBuf, Model, RunError, Session};

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
    pub nodes: Vec<Timing>,
    /// Runs measured.
    pub runs: usize,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Least runs of each model.
    pub runs: usize,
    /// Least time.
    pub time: Duration,
}

/// Measures models in turn, run by run, so that a change of the machine's speed
/// meets all of them. Node times and whole runs are measured apart: a clock is
/// read between nodes only in every other round.
///
/// # Errors
/// A [`RunError`].
pub fn measure(
    models: &[&Model<'_>],
    kernels: &'static [Kernel],
    options: &BenchOptions,
) -> Result<Vec<Measured>, RunError> {
    let mut arenas: Vec<ArenaBuf> = models.iter().map(|model| ArenaBuf::for_model(model)).collect();
    let mut runners = models
        .iter()
        .zip(&mut arenas)
        .map(|(model, arena)| {
            let nodes = vec![Vec::new(); model.node_count()];
            Ok(Runner {
                session: Session::with_kernels(model, arena.as_mut(), kernels)?,
                totals: Vec::new(),
                nodes,
            })
        })
        .collect::<Result<Vec<Runner<'_, '_>>, RunError>>()?;
    for runner in &mut runners {
        (0..3).try_for_each(|_| runner.prepare().and_then(|()| runner.session.run()))?;
    }
    let start = Instant::now();
    let mut runs = 0;
    while runs < options.runs.max(1) || start.elapsed() < options.time {
        for runner in &mut runners {
            runner.total()?;
            runner.by_node()?;
        }
        runs += 1;
    }
    let measured = |runner: Runner<'_, '_>| Measured {
        total: Timing::of(runner.totals),
        nodes: runner.nodes.into_iter().map(Timing::of).collect(),
        runs,
    };
    Ok(runners.into_iter().map(measured).collect())
}

struct Runner<'m, 'a> {
    session: Session<'m, 'a>,
    totals: Vec<f64>,
    nodes: Vec<Vec<f64>>,
}

impl Runner<'_, '_> {
    /// Inputs are overwritten by a run: give them ordinary values again.
    fn prepare(&mut self) -> Result<(), RunError> {
        for i in 0..self.session.model().input_count() {
            let input = self.session.input_mut(i)?.iter_mut().enumerate();
            input.for_each(|(i, x)| *x = (i % 17) as f32 / 8.0 - 1.0);
        }
        Ok(())
    }

    fn total(&mut self) -> Result<(), RunError> {
        self.prepare()?;
        let start = Instant::now();
        self.session.run()?;
        self.totals.push(start.elapsed().as_secs_f64() * 1e6);
        Ok(())
    }

    fn by_node(&mut self) -> Result<(), RunError> {
        self.prepare()?;
        let nodes = &mut self.nodes;
        let mut last = Instant::now();
        self.session.run_observed(|node, _| {
            let now = Instant::now();
            if let Some(samples) = nodes.get_mut(node) {
                samples.push((now - last).as_secs_f64() * 1e6);
            }
            last = now;
        })
    }
}
