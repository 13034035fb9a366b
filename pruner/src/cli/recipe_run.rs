//! `secateur prune --run`: a recipe, from its first phase to its report.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use indicatif::ProgressBar;
use secateur_format::Shape;
use secateur_format::graph::Graph;
use serde_json::json;

use super::error::CliError;
use super::interrupt::interruption;
use super::model::Opened;
use super::output::{Output, percent, table, thousands};
use crate::data::{self, Preprocess};
use crate::layer::layers;
use crate::recipe::run::{Folder, Inputs, Observer, Report, Runner, finish};
use crate::recipe::{Layer, Recipe, complaint};
use crate::source::Model;
use crate::train::{Progress, zoo};

/// A run that can begin, or go on.
pub(super) struct Prepared {
    folder: Folder,
    recipe: Recipe,
    model: Model,
    inputs: Inputs,
}

impl Prepared {
    /// A recipe, made of `layers`, in a new folder.
    pub(super) fn begin(
        path: &Path,
        recipe: Recipe,
        layers: &[Layer],
        preprocess: Option<Preprocess>,
        out: &Output,
    ) -> Result<Self, CliError> {
        recipe
            .check_complete()
            .map_err(|(key, problem)| complaint(layers, &key, &problem))?;
        let mut model = open(&recipe, out)?;
        check_rules(&recipe, layers, &model.graph)?;
        let mut inputs = inputs(&recipe, &model, out)?;
        if let Some(preprocess) = preprocess {
            inputs.preprocess = preprocess;
        }
        model.preprocess = Some(inputs.preprocess.clone());
        let (folder, model) = Folder::create(path, &recipe, &model)?;
        Ok(Self {
            folder,
            recipe,
            model,
            inputs,
        })
    }

    /// The run of a folder, if its recipe is the one that is asked for.
    pub(super) fn resume(path: &Path, asked: Option<&Recipe>, out: &Output) -> Result<Self, CliError> {
        let (folder, recipe, model) = Folder::open(path, asked)?;
        let mut inputs = inputs(&recipe, &model, out)?;
        // As it was when the run began.
        inputs.preprocess = model.preprocess.clone().unwrap_or_default();
        Ok(Self {
            folder,
            recipe,
            model,
            inputs,
        })
    }

    /// Begins with the network that another run has trained; whether it has.
    pub(super) fn take_training(&mut self, from: &Path) -> Result<bool, CliError> {
        Ok(self.folder.take_training(from)?)
    }

    /// Runs what is left, and writes the result.
    pub(super) fn run(mut self, observer: &mut dyn Observer, interrupted: &AtomicBool) -> Result<Report, CliError> {
        let (recipe, inputs) = (&self.recipe, &self.inputs);
        let runner = Runner::new(
            recipe,
            inputs,
            &mut self.folder,
            &self.model.graph,
            observer,
            interrupted,
        );
        let (dense, state) = runner.run()?;
        Ok(finish(recipe, inputs, &self.folder, &self.model, &dense, state)?)
    }
}

/// Runs what is left of a run, for a person to watch.
pub(super) fn show(path: &Path, prepared: Prepared, out: &Output) -> Result<(), CliError> {
    let interrupted = interruption()?;
    let mut show = Show {
        bar: ProgressBar::hidden(),
        out,
    };
    let report = prepared.run(&mut show, &interrupted)?;
    show.bar.finish_and_clear();
    out.result(&json!({ "folder": path, "report": report }), || text(path, &report))?;
    Ok(())
}

/// Refuses rules that match no layer.
pub(super) fn check_rules(recipe: &Recipe, of: &[Layer], graph: &Graph) -> Result<(), CliError> {
    let shapes = graph.shapes().map_err(CliError::check)?;
    let names: Vec<String> = layers(graph, &shapes).into_iter().map(|layer| layer.name).collect();
    let checked = recipe.check_layers(&names);
    Ok(checked.map_err(|(key, problem)| complaint(of, &key, &problem))?)
}

/// The model of the recipe: a network by name, or a file.
fn open(recipe: &Recipe, out: &Output) -> Result<Model, CliError> {
    let name = recipe.model.as_deref().unwrap_or_default();
    let path = Path::new(name);
    if path.exists() {
        let mut model = Opened::new(path, out)?.source;
        if let Some(init) = recipe.init {
            init.apply(&mut model.graph, recipe.seed);
        }
        return Ok(model);
    }
    let unknown = || {
        let names: Vec<&str> = zoo::names().map(|(name, _)| name).collect();
        let near = zoo::near(name);
        CliError::usage(format!(
            "`{name}` is neither a file nor a network{near}; the networks are {}",
            names.join(", ")
        ))
    };
    if zoo::names().all(|(known, _)| known != name) {
        return Err(unknown());
    }
    let Some(path) = &recipe.data.train else {
        return Err(CliError::usage(
            "a network by name needs data.train, which says how large its inputs are",
        ));
    };
    let dataset = data::load(path)?.dataset;
    let highest = dataset
        .labels()
        .unwrap_or_default()
        .iter()
        .max()
        .map_or(1, |&label| label + 1);
    let classes = highest.max(dataset.class_names().len() as u32);
    let dims: Vec<u32> = dataset.sample_shape().iter().map(|&dim| dim as u32).collect();
    let misfit = |error| CliError::usage(format!("{name} does not fit samples of shape {dims:?}: {error}"));
    let input = Shape::new(&dims).map_err(misfit)?;
    let graph = zoo::build(name, input, classes, recipe.init.unwrap_or_default(), recipe.seed).ok_or_else(unknown)?;
    Ok(Model {
        name: name.to_owned(),
        graph: graph.map_err(misfit)?,
        preprocess: None,
        unused: Vec::new(),
    })
}

/// Reads the data. Preprocessing is that of the model, if it has one, else that of the data.
fn inputs(recipe: &Recipe, model: &Model, out: &Output) -> Result<Inputs, CliError> {
    let load = |path: &Option<PathBuf>| path.as_deref().map(data::load).transpose();
    let needed = recipe.data.train.clone().filter(|_| recipe.needs_samples());
    let [train, validation, test] = [load(&needed)?, load(&recipe.data.validation)?, load(&recipe.data.test)?];
    let described = [&train, &validation, &test]
        .into_iter()
        .flatten()
        .find_map(|loaded| loaded.preprocess.clone());
    let teacher = recipe.distill.as_ref().and_then(|distill| distill.teacher.as_deref());
    let teacher = teacher.map(|path| Opened::new(path, out)).transpose()?;
    Ok(Inputs {
        preprocess: described.or_else(|| model.preprocess.clone()).unwrap_or_default(),
        train: train.map(|loaded| loaded.dataset),
        validation: validation.map(|loaded| loaded.dataset),
        test: test.map(|loaded| loaded.dataset),
        teacher: teacher.map(|teacher| teacher.source.graph),
    })
}

/// Progress on stderr: a bar where that is a terminal, and a line per epoch and pruning.
struct Show<'a> {
    bar: ProgressBar,
    out: &'a Output,
}

impl Observer for Show<'_> {
    fn begin(&mut self, phase: &str, samples: u64, done: u64) {
        self.bar.finish_and_clear();
        self.bar = self.out.progress(samples as usize, "");
        self.bar.set_prefix(phase.to_owned());
        self.bar.set_position(done);
    }

    fn step(&mut self, progress: &Progress, sparsity: f64) {
        self.bar.inc(progress.samples as u64);
        if progress.epoch.seen > 0 {
            let (phase, loss) = (self.bar.prefix(), progress.epoch.mean_loss());
            self.bar
                .set_message(format!("{phase}: loss {loss:.4}, {} zeros", percent(sparsity)));
        }
    }

    fn line(&mut self, text: &str) {
        if !self.out.quiet {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }
}

fn text(folder: &Path, report: &Report) -> String {
    let (dense, sparse) = (&report.dense, &report.sparse);
    let accuracy = |accuracy: Option<f64>| accuracy.map_or_else(|| "not measured".to_owned(), percent);
    let mut rows = vec![
        vec!["zeros".into(), percent(0.0), percent(report.sparsity)],
        vec!["accuracy".into(), accuracy(dense.accuracy), accuracy(sparse.accuracy)],
    ];
    for (class, &count) in sparse.count.iter().enumerate().filter(|(_, count)| **count > 0) {
        let name = report.class_names.get(class).cloned();
        let share = |correct: &[usize]| percent(correct[class] as f64 / count as f64);
        rows.push(vec![
            format!("  {}", name.unwrap_or_else(|| format!("class {class}"))),
            share(&dense.correct),
            share(&sparse.correct),
        ]);
    }
    let bytes = |bytes: usize| thousands(bytes as u64);
    rows.push(vec!["file bytes".into(), bytes(dense.bytes), bytes(sparse.bytes)]);
    rows.push(vec![
        "median us".into(),
        format!("{:.1}", dense.median_us),
        format!("{:.1}", sparse.median_us),
    ]);
    let agrees = match report.runtime_agrees {
        Some(true) => "the file classifies as the training graph does, to the image\n",
        Some(false) => "the file classifies some images differently from the training graph\n",
        None => "accuracy was not measured: give data.test\n",
    };
    format!(
        "{}\n{agrees}the result is in {}\n",
        table(&["", "dense", "sparse"], 1, rows),
        folder.display()
    )
}
