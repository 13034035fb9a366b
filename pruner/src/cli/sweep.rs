//! `secateur sweep`

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use secateur_format::Limits;
use secateur_runtime::{ArenaBuf, Model as File};
use serde_json::json;

use super::error::CliError;
use super::interrupt::interruption;
use super::output::{Output, markdown, percent, table, thousands};
use super::recipe::layer;
use super::recipe_run::Prepared;
use crate::bench::{BenchOptions, measure};
use crate::chart::{Axes, Series, draw};
use crate::engine::Engine;
use crate::recipe::run::Folder;
use crate::recipe::{Layer, Recipe, parse};
use crate::save::{Overwrite, write_file};
use crate::sweep::{Cell, Cost, Outcome, Results, Row, Spread, Sweep, Verdict, front};

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// The sweep: methods, sparsities, seeds (docs/sweeps.md)
    sweep: PathBuf,
    /// The folder of all runs, results.jsonl, table.md and the Pareto fronts; what it holds already is not run again
    #[arg(long = "run", value_name = "DIR")]
    folder: PathBuf,
    /// The model of all runs
    #[arg(long, value_name = "FILE|NAME")]
    model: Option<PathBuf>,
    /// The data to train on
    #[arg(long, value_name = "D")]
    train: Option<PathBuf>,
    /// The data to test on
    #[arg(long, value_name = "D")]
    test: Option<PathBuf>,
    /// A key of all recipes and its value (repeatable), such as retrain.epochs=3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Runs at a time, which share the cores; default is one for each core
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print the runs, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// A cell, and what its recipe is made of.
struct Planned {
    cell: Cell,
    folder: PathBuf,
    recipe: Recipe,
    layers: Vec<Layer>,
}

impl Planned {
    fn has_begun(&self) -> bool {
        self.folder.join("recipe.toml").exists()
    }

    /// What is done has a report; a line of results alone may be of a folder that was deleted.
    fn is_done(&self, results: &Results) -> bool {
        results.of(&self.cell).is_some() && self.folder.join("report.json").exists()
    }

    /// Whether both begin with the same training.
    fn trains_with(&self, other: &Self) -> bool {
        other.folder != self.folder && other.recipe.trains_as(&self.recipe)
    }
}

pub(super) fn run(args: &SweepArgs, out: &Output) -> Result<(), CliError> {
    let text = std::fs::read_to_string(&args.sweep).map_err(|error| CliError::io(&args.sweep, &error))?;
    let sweep = Sweep::parse(&args.sweep.display().to_string(), &text)?;
    let planned: Vec<Planned> = sweep
        .cells()
        .into_iter()
        .map(|cell| plan(args, &sweep, cell))
        .collect::<Result<_, _>>()?;
    if args.dry_run {
        let folders: Vec<_> = planned.iter().map(|one| one.cell.folder()).collect();
        let text = || folders.iter().map(|folder| format!("{}\n", folder.display())).collect();
        return Ok(out.result(&json!({ "runs": folders }), text)?);
    }
    // What was run with other recipes is no result of this sweep: found before hours are spent.
    for one in planned.iter().filter(|one| one.has_begun()) {
        Folder::open(&one.folder, Some(&one.recipe))?;
    }
    std::fs::create_dir_all(&args.folder).map_err(|error| CliError::io(&args.folder, &error))?;
    let results = Mutex::new(Results::open(&args.folder.join("results.jsonl"))?);
    let interrupted = interruption()?;
    let failures = run_all(args, &planned, &results, &interrupted, out)?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let cells: Vec<Cell> = planned.iter().map(|one| one.cell.clone()).collect();
    time_again(&planned, &mut results, &interrupted)?;
    if interrupted.load(Ordering::Relaxed) {
        return Err(CliError::interrupted("interrupted; the same command goes on"));
    }
    let trains = |cell: &Cell| {
        planned
            .iter()
            .any(|one| one.cell == *cell && one.recipe.train.is_some())
    };
    let rows = results.rows(&cells, trains);
    let verdicts: Vec<Verdict> = sweep.checks().iter().flat_map(|check| check.verdicts(&rows)).collect();
    write_summary(&args.folder, &rows, &verdicts)?;
    out.result(
        &json!({ "folder": args.folder, "rows": rows, "checks": verdicts, "failures": failures }),
        || summary(&rows, &verdicts, false),
    )?;
    let broken = verdicts.iter().filter(|verdict| !verdict.holds).count();
    match (failures.as_slice(), broken) {
        ([], 0) => Ok(()),
        ([], broken) => Err(CliError::check(format!(
            "{broken} of {} checks do not hold",
            verdicts.len()
        ))),
        (failures, _) => Err(CliError::check(format!("some runs failed:\n{}", failures.join("\n")))),
    }
}

/// The recipe of a cell: its base, the flags of all, its method's keys, its place in the grid.
fn plan(args: &SweepArgs, sweep: &Sweep, cell: Cell) -> Result<Planned, CliError> {
    let beside = |name: &str| {
        let file = args.sweep.parent().unwrap_or(Path::new("")).join(name);
        if file.exists() {
            file.display().to_string()
        } else {
            name.to_owned()
        }
    };
    let base = sweep.base(&cell).map(|name| layer(&beside(name))).transpose()?;
    let flag = |key: &str, value: &Option<PathBuf>| {
        let value = value.as_ref()?;
        Some(Layer::set(&format!(
            "{key}={}",
            toml::Value::from(value.display().to_string())
        )))
    };
    let flags = [
        flag("model", &args.model),
        flag("data.train", &args.train),
        flag("data.test", &args.test),
    ];
    let settings = args.settings.iter().map(|setting| Layer::set(setting));
    let layers: Vec<Layer> = base
        .into_iter()
        .chain(flags.into_iter().flatten())
        .chain(sweep.settings(&cell))
        .chain(settings)
        .collect();
    Ok(Planned {
        folder: args.folder.join(cell.folder()),
        recipe: parse(&layers)?,
        cell,
        layers,
    })
}

/// Runs what is not done yet; what failed, and why.
fn run_all(
    args: &SweepArgs,
    planned: &[Planned],
    results: &Mutex<Results>,
    interrupted: &AtomicBool,
    out: &Output,
) -> Result<Vec<String>, CliError> {
    let open: Vec<&Planned> = planned.iter().filter(|one| !one.is_done(&locked(results))).collect();
    if open.len() < planned.len() && !out.quiet {
        eprintln!("{} of {} runs are done", planned.len() - open.len(), planned.len());
    }
    let finished = AtomicUsize::new(planned.len() - open.len());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from).min(open.len().max(1));
    let queue = Mutex::new(Queue {
        open,
        begun: Vec::new(),
    });
    let failures = Mutex::new(Vec::new());
    let work = || -> Result<(), CliError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads((cores / jobs).max(1));
        let pool = pool.build().map_err(CliError::check)?;
        while !interrupted.load(Ordering::Relaxed) {
            let one = match locked(&queue).next() {
                Next::Run(one) => one,
                Next::Wait => {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
                Next::Nothing => return Ok(()),
            };
            let name = one.cell.folder().display().to_string();
            let ended = pool.install(|| run_cell(one, planned, interrupted, out));
            locked(&queue).begun.retain(|other| other.folder != one.folder);
            match ended {
                Ok(outcome) => {
                    let accuracy = outcome.report.sparse.accuracy.map_or_else(|| "done".into(), percent);
                    locked(results).add(outcome)?;
                    let finished = finished.fetch_add(1, Ordering::Relaxed) + 1;
                    if !out.quiet {
                        eprintln!("[{finished}/{}] {name}: {accuracy}", planned.len());
                    }
                }
                Err(error) if error.code == super::error::INTERRUPTED => return Ok(()),
                Err(error) => {
                    out.warn(&format!("{name}: {}", error.message));
                    locked(&failures).push(format!("{name}: {}", error.message));
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<(), CliError> {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        ended
            .into_iter()
            .try_for_each(|end| end.unwrap_or_else(|_| Err(CliError::check("a run ended in a panic"))))
    })?;
    Ok(locked(&failures).clone())
}

/// What a panic elsewhere has left is whole: it is changed in single steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is still to be run, and what is being run.
struct Queue<'p> {
    open: Vec<&'p Planned>,
    begun: Vec<&'p Planned>,
}

enum Next<'p> {
    Run(&'p Planned),
    /// Others train what is left.
    Wait,
    Nothing,
}

impl<'p> Queue<'p> {
    fn next(&mut self) -> Next<'p> {
        let trains = |other: &&Planned, one: &Planned| other.trains_with(one) && !Folder::has_trained(&other.folder);
        let free = |one: &&Planned| !self.begun.iter().any(|other| trains(other, one));
        match self.open.iter().position(free) {
            Some(index) => {
                let one = self.open.remove(index);
                self.begun.push(one);
                Next::Run(one)
            }
            None if self.open.is_empty() => Next::Nothing,
            None => Next::Wait,
        }
    }
}

fn run_cell(one: &Planned, planned: &[Planned], interrupted: &AtomicBool, out: &Output) -> Result<Outcome, CliError> {
    let start = Instant::now();
    let quiet = Output { quiet: true, ..*out };
    let fresh = !one.has_begun();
    let prepared = if fresh {
        let mut prepared = Prepared::begin(&one.folder, one.recipe.clone(), &one.layers, None, &quiet)?;
        let trained = planned
            .iter()
            .filter(|other| other.trains_with(one) && other.has_begun());
        for other in trained {
            if prepared.take_training(&other.folder)? {
                break;
            }
        }
        prepared
    } else {
        Prepared::resume(&one.folder, Some(&one.recipe), &quiet)?
    };
    let report = prepared.run(&mut (), interrupted)?;
    Ok(Outcome {
        method: one.cell.method.clone(),
        sparsity: one.cell.sparsity,
        seed: one.cell.seed,
        seconds: fresh.then(|| start.elapsed().as_secs_f64()),
        report,
    })
}

fn read(one: &Planned, name: &str) -> Result<ArenaBuf, CliError> {
    let path = one.folder.join(name);
    let bytes = std::fs::read(&path).map_err(|error| CliError::io(&path, &error))?;
    Ok(ArenaBuf::copy_of(&bytes))
}

fn parsed<'b>(one: &Planned, buffer: &'b ArenaBuf) -> Result<File<'b>, CliError> {
    File::read(buffer.as_ref(), &Limits::HOST).map_err(|error| CliError::unreadable(&one.folder, error))
}

/// Measures the times of all results anew, one after another: runs share the machine, and their times with it.
fn time_again(planned: &[Planned], results: &mut Results, interrupted: &AtomicBool) -> Result<(), CliError> {
    let options = BenchOptions {
        runs: 20,
        time: Duration::from_millis(100),
        batch: 1,
    };
    for one in planned.iter().filter(|_| !interrupted.load(Ordering::Relaxed)) {
        let Some(mut outcome) = results.of(&one.cell).filter(|_| one.is_done(results)).cloned() else {
            continue;
        };
        let buffers = [read(one, "dense.sct")?, read(one, "model.sct")?];
        let [dense, sparse] = &buffers;
        let models = [parsed(one, dense)?, parsed(one, sparse)?];
        let times = measure(&[&models[0], &models[1]], &Engine::default(), &options).map_err(CliError::check)?;
        let medians: Vec<f64> = times.iter().map(|time| time.total.median_us).collect();
        if let &[dense, sparse] = medians.as_slice() {
            outcome.report.dense.median_us = dense;
            outcome.report.sparse.median_us = sparse;
        }
        results.set(outcome);
    }
    Ok(results.write()?)
}

/// Writes the table and a chart for each cost.
fn write_summary(folder: &Path, rows: &[Row], verdicts: &[Verdict]) -> Result<(), CliError> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        write_file(&path, text.as_bytes(), Overwrite::Replace).map_err(|error| CliError::io(&path, &error))
    };
    write("table.md", summary(rows, verdicts, true))?;
    for cost in Cost::ALL {
        let on_front = front(rows, cost);
        let mut series: Vec<Series> = Vec::new();
        for (row, marked) in rows.iter().zip(on_front) {
            let Some(Spread { mean, .. }) = row.accuracy else {
                continue;
            };
            let point = (cost.of(row), mean);
            match series.iter_mut().find(|one| one.name == row.method) {
                Some(one) => {
                    one.points.push(point);
                    one.marked.push(marked);
                }
                None => series.push(Series {
                    name: row.method.clone(),
                    points: vec![point],
                    marked: vec![marked],
                }),
            }
        }
        let axes = Axes {
            title: "Accuracy and what it costs; filled: the Pareto front",
            x: cost.name(),
            y: "accuracy",
            log_x: true,
        };
        write(
            &format!("pareto-{}.svg", cost.name().to_lowercase()),
            draw(axes, &series),
        )?;
    }
    Ok(())
}

/// The rows and verdicts as text, or as Markdown.
fn summary(rows: &[Row], verdicts: &[Verdict], as_markdown: bool) -> String {
    let fronts = Cost::ALL.map(|cost| front(rows, cost));
    let header = [
        "method", "sparsity", "accuracy", "zeros", "bytes", "MACs", "us", "run s", "Pareto",
    ];
    let body = rows.iter().enumerate().map(|(index, row)| {
        let accuracy = row.accuracy.map_or_else(
            || "not measured".into(),
            |Spread { mean, deviation, count }| match count {
                1 => format!("{:.2} %", 100.0 * mean),
                _ => format!("{:.2} ± {:.2} % (n {count})", 100.0 * mean, 100.0 * deviation),
            },
        );
        let on = Cost::ALL.iter().zip(&fronts).filter(|(_, on)| on[index]);
        vec![
            row.method.clone(),
            row.sparsity.map_or_else(String::new, percent),
            accuracy,
            percent(row.zeros),
            thousands(row.bytes as u64),
            thousands(row.macs as u64),
            format!("{:.1}", row.median_us),
            row.seconds.map_or_else(String::new, |seconds| format!("{seconds:.0}")),
            on.map(|(cost, _)| cost.name()).collect::<Vec<_>>().join(", "),
        ]
    });
    let checked = verdicts.iter().map(|verdict| {
        vec![
            verdict.claim.clone(),
            verdict.sparsity.map_or_else(String::new, percent),
            verdict
                .difference
                .map_or_else(|| "not measured".into(), |d| format!("{:+.2} pp", 100.0 * d)),
            format!("{:+.2} pp", 100.0 * verdict.wanted),
            if verdict.holds {
                "holds".into()
            } else {
                "DOES NOT HOLD".to_owned()
            },
        ]
    });
    let claims = ["claim", "sparsity", "difference", "wanted", ""];
    let print = |header: &[&str], rows| {
        if as_markdown {
            markdown(header, 1, rows)
        } else {
            table(header, 1, rows)
        }
    };
    let text = print(&header, body.collect::<Vec<_>>());
    if verdicts.is_empty() {
        return text;
    }
    text + "\n" + &print(&claims, checked.collect())
}
