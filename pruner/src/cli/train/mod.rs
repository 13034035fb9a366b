//! `secateur train`

mod args;
mod report;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::json;

pub(super) use args::TrainArgs;

use super::error::CliError;
use super::interrupt::interruption;
use super::model::{Opened, fit, network_or_file};
use super::output::{Output, percent};
use crate::data::{self, Dataset, Preprocess};
use crate::digest::Digests;
use crate::source::Model;
use crate::train::{
    Ending, Evaluation, Hooks, Plan, Progress, Run, Samples, Setup, State, Sums, TrainError, Trainer, evaluate,
};

pub(super) fn run(args: &TrainArgs, out: &Output) -> Result<(), CliError> {
    let Job {
        mut run,
        folder,
        setup,
        mut model,
        mut state,
    } = match &args.resume {
        Some(folder) => Job::resumed(folder)?,
        None => Job::begun(args, out)?,
    };
    let data = data::load(&setup.data)?.dataset;
    let test = setup
        .test
        .as_deref()
        .map(data::load)
        .transpose()?
        .map(|loaded| loaded.dataset);
    let teacher = setup
        .teacher
        .as_deref()
        .map(|path| Opened::new(path, out))
        .transpose()?;
    let mut digests = Digests::default();
    digests.samples(&setup.data.display().to_string(), &data);
    if let (Some(path), Some(test)) = (&setup.test, &test) {
        digests.samples(&path.display().to_string(), test);
    }
    if let (Some(path), Some(teacher)) = (&setup.teacher, &teacher) {
        let name = path.display().to_string();
        digests.model(&name, &teacher.source).map_err(CliError::check)?;
    }
    run.keep_inputs(&digests)?;
    let samples = |dataset| Samples {
        dataset,
        preprocess: &setup.preprocess,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads())
        .build()
        .map_err(CliError::check)?;

    let teacher = teacher.as_ref().map(|teacher| &teacher.source.graph);
    let mut trainer = Trainer::new(state.graph(), samples(&data), teacher, setup.plan.clone())?;
    let steps = setup.plan.steps(data.len());
    run.keep_epochs(state.position().step / setup.plan.steps_per_epoch(data.len()));
    if !out.quiet {
        eprintln!(
            "{}: {} samples, {} steps of {} from step {}, {} threads, {:.0} MB for batches",
            model.name,
            data.len(),
            steps,
            setup.plan.batch,
            state.position().step,
            args.threads(),
            trainer.bytes() as f64 / 1e6,
        );
    }
    let bar = out.progress(data.len() * setup.plan.epochs as usize, "train");
    bar.set_position(state.position().step * setup.plan.batch as u64);
    let mut watch = Watch {
        run: &mut run,
        test: test.as_ref().map(samples),
        plan: &setup.plan,
        bar: &bar,
        quiet: out.quiet,
        interrupted: interruption()?,
        start: Instant::now(),
        seen: 0,
        last: None,
    };
    let ending = pool.install(|| trainer.train(&mut state, &mut watch))?;
    bar.finish_and_clear();
    let (seconds, seen, last) = (watch.start.elapsed().as_secs_f64(), watch.seen, watch.last.take());
    if ending == Ending::Stopped {
        run.save(&state)?;
        return Err(CliError::interrupted(format!(
            "interrupted after step {} of {steps}; go on with `secateur train --resume {}`",
            state.position().step,
            folder.display()
        )));
    }
    let evaluation = match (last, &test) {
        (None, Some(test)) => Some(pool.install(|| evaluate(state.graph(), &samples(test), setup.plan.loss))?),
        (last, _) => last,
    };
    let times = args.profile.then(|| trainer.take_times(state.graph()));
    let sparsity = state.sparsity();
    model.graph = state.into_graph();
    run.write_model(&model)?;
    let report = report::Report {
        folder: &folder,
        metrics: run.metrics(),
        evaluation: evaluation.as_ref(),
        names: test.as_ref().map_or(&[], Dataset::class_names),
        sparsity,
        seconds,
        rate: seen as f64 / seconds,
        bytes: trainer.bytes(),
        times: times.as_deref(),
    };
    report.print(out)
}

/// A run that is about to go on.
struct Job {
    run: Run,
    folder: PathBuf,
    setup: Setup,
    model: Model,
    state: State,
}

impl Job {
    fn resumed(folder: &Path) -> Result<Self, CliError> {
        let (run, setup, model, state) = Run::open(folder)?;
        Ok(Self {
            run,
            folder: folder.into(),
            setup,
            model,
            state,
        })
    }

    fn begun(args: &TrainArgs, out: &Output) -> Result<Self, CliError> {
        let (Some(name), Some(data), Some(folder)) = (&args.model, &args.data, &args.out) else {
            return Err(CliError::usage("give a model, --data and --out, or --resume"));
        };
        let loaded = data::load(data)?;
        let mut model = network_or_file(name, args.init, args.seed(), || Ok(fit(&loaded.dataset)), out)?;
        let described = loaded.preprocess.or_else(|| model.preprocess.clone());
        let preprocess = args.preprocess.get().or(described).unwrap_or_else(|| {
            if loaded.dataset.inputs().iter().any(|x| x.abs() > 16.0) {
                out.warn("inputs are large and no preprocessing is given: try --scale 0.00392156862745098 for bytes");
            }
            Preprocess::default()
        });
        model.preprocess = Some(preprocess.clone());
        let setup = Setup {
            data: data.clone(),
            test: args.test.clone(),
            preprocess,
            teacher: args.teacher.clone(),
            plan: args.plan(loaded.dataset.len())?,
        };
        let (run, model) = Run::create(folder, &setup, &model)?;
        let state = State::new(model.graph.clone()).map_err(TrainError::from)?;
        Ok(Self {
            run,
            folder: folder.clone(),
            setup,
            model,
            state,
        })
    }
}

/// Shows and keeps how a training goes.
struct Watch<'a> {
    run: &'a mut Run,
    test: Option<Samples<'a>>,
    plan: &'a Plan,
    bar: &'a ProgressBar,
    quiet: bool,
    interrupted: Arc<AtomicBool>,
    start: Instant,
    /// Samples.
    seen: u64,
    /// The last accuracy.
    last: Option<Evaluation>,
}

impl Hooks for Watch<'_> {
    fn after_step(&mut self, _: &State, progress: &Progress) -> ControlFlow<()> {
        self.seen += progress.samples as u64;
        self.bar.inc(progress.samples as u64);
        if progress.epoch.seen > 0 {
            self.bar.set_message(format!("loss {:.4}", progress.epoch.mean_loss()));
        }
        // What is finished is not interrupted.
        if self.interrupted.load(Ordering::Relaxed) && progress.step < progress.steps {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn after_epoch(&mut self, state: &State, epoch: u64, seen: Sums) -> Result<(), TrainError> {
        self.last = match &self.test {
            Some(test) => Some(evaluate(state.graph(), test, self.plan.loss)?),
            None => None,
        };
        let test = self.last.as_ref();
        let line = json!({
            "epoch": epoch,
            "loss": seen.mean_loss(),
            "accuracy": seen.accuracy(),
            "test_loss": test.map(|test| test.loss),
            "test_accuracy": test.map(|test| test.accuracy.fraction()),
            "sparsity": state.sparsity(),
        });
        self.run.finish_epoch(line, state)?;
        if !self.quiet {
            let tested = test.map(|test| format!(", test {}", percent(test.accuracy.fraction())));
            let text = format!(
                "epoch {epoch} of {}: loss {:.4}, accuracy {}{}, {:.0} images/s",
                self.plan.epochs,
                seen.mean_loss(),
                percent(seen.accuracy()),
                tested.unwrap_or_default(),
                self.seen as f64 / self.start.elapsed().as_secs_f64(),
            );
            self.bar.suspend(|| eprintln!("{text}"));
        }
        Ok(())
    }
}
