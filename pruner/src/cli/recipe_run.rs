//! `secateur prune --run`: a recipe, from its first phase to its report.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use indicatif::ProgressBar;
use secateur_format::graph::Graph;
use serde_json::json;

use super::error::CliError;
use super::interrupt::interruption;
use super::model::{Opened, fit, network_or_file};
use super::output::{Output, percent, table, thousands};
use crate::collapse::candidates;
use crate::data::{self, Dataset, Preprocess, npy};
use crate::digest::Digests;
use crate::layer::layers;
use crate::recipe::run::{Folder, Inputs, Observer, Report, Runner, finish};
use crate::recipe::{Layer, Recipe, complaint};
use crate::source::{self, Model};
use crate::structured::{Removal, Size};
use crate::train::{Progress, Subset, Take, cut, zoo};

/// A run that can begin, or go on.
pub(super) struct Prepared {
    folder: Folder,
    recipe: Recipe,
    model: Model,
    inputs: Inputs,
    digests: Digests,
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
        check_complete(&recipe, layers)?;
        let mut model = open(&recipe, out)?;
        check_rules(&recipe, layers, &model.graph)?;
        let (mut inputs, digests) = inputs(&recipe, &model, out)?;
        if let Some(preprocess) = preprocess {
            inputs.preprocess = preprocess;
        }
        if let Some(data) = &inputs.train {
            let checked = recipe.check_steps(data.len());
            checked.map_err(|(path, problem)| complaint(layers, &path, &problem))?;
        }
        // Whether there are layers and channels to remove is known before anything is trained.
        if let Some(collapse) = &recipe.prune.collapse {
            candidates(&model.graph, collapse, &recipe.rules())?;
        }
        let calibration = inputs.calibration(&recipe);
        let removed = |options| Removal::new(&model.graph, &options, calibration.as_ref());
        // Of a network with fewer layers, other channels go.
        let channels = recipe.channels().filter(|_| recipe.prune.collapse.is_none());
        channels.map(removed).transpose()?;
        model.preprocess = Some(inputs.preprocess.clone());
        let (folder, model) = Folder::create(path, &recipe, &model)?;
        folder.keep_inputs(&digests)?;
        Ok(Self {
            folder,
            recipe,
            model,
            inputs,
            digests,
        })
    }

    /// The run of a folder, if its recipe is the one that is asked for.
    pub(super) fn resume(path: &Path, asked: Option<&Recipe>, out: &Output) -> Result<Self, CliError> {
        let (folder, recipe, model) = Folder::open(path, asked)?;
        let (mut inputs, digests) = inputs(&recipe, &model, out)?;
        folder.keep_inputs(&digests)?;
        // As it was when the run began.
        inputs.preprocess = model.preprocess.clone().unwrap_or_default();
        Ok(Self {
            folder,
            recipe,
            model,
            inputs,
            digests,
        })
    }

    /// Begins with the network that another run has trained; whether it has.
    pub(super) fn take_training(&mut self, from: &Path) -> Result<bool, CliError> {
        Ok(self.folder.take_training(from, &self.digests)?)
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
        let outcome = runner.run()?;
        Ok(finish(recipe, inputs, &self.folder, &self.model, outcome)?)
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

/// Refuses a recipe that cannot be run.
pub(super) fn check_complete(recipe: &Recipe, of: &[Layer]) -> Result<(), CliError> {
    let checked = recipe.check_complete();
    Ok(checked.map_err(|(key, problem)| complaint(of, &key, &problem))?)
}

/// Refuses rules that match no layer.
pub(super) fn check_rules(recipe: &Recipe, of: &[Layer], graph: &Graph) -> Result<(), CliError> {
    let shapes = graph.shapes().map_err(CliError::check)?;
    let names: Vec<String> = layers(graph, &shapes).into_iter().map(|layer| layer.name).collect();
    let checked = recipe.check_layers(&names);
    Ok(checked.map_err(|(key, problem)| complaint(of, &key, &problem))?)
}

/// The model of the recipe.
fn open(recipe: &Recipe, out: &Output) -> Result<Model, CliError> {
    let samples = || match &recipe.data.train {
        Some(path) => Ok(fit(&data::load(path)?.dataset)),
        None => Err(CliError::usage(
            "a network by name needs data.train, which says how large its inputs are",
        )),
    };
    let name = recipe.model.as_deref().unwrap_or_default();
    network_or_file(name, recipe.init, recipe.seed, samples, out)
}

/// Reads the data. Preprocessing is that of the model, if it has one, else that of the data.
fn inputs(recipe: &Recipe, model: &Model, out: &Output) -> Result<(Inputs, Digests), CliError> {
    let mut digests = Digests::default();
    let mut preprocess = None;
    let mut load = |path: Option<&PathBuf>| -> Result<Option<Dataset>, CliError> {
        let Some(path) = path else { return Ok(None) };
        let loaded = data::load(path)?;
        digests.samples(&path.display().to_string(), &loaded.dataset);
        preprocess = preprocess.take().or(loaded.preprocess);
        Ok(Some(loaded.dataset))
    };
    let needed = recipe.data.train.as_ref().filter(|_| recipe.needs_samples());
    let train = load(needed)?;
    let validation = load(recipe.data.validation.as_ref())?;
    let test = load(recipe.data.test.as_ref())?;
    let train = train.map(|train| cut_classes(recipe, train)).transpose()?;
    let subset = match (&recipe.data.subset, &train) {
        (Some(subset), Some(train)) => Some(choose(subset, train, recipe.seed, &mut digests)?),
        _ => None,
    };
    let mut open = |path: &Path| -> Result<Graph, CliError> {
        let model = Opened::new(path, out)?.source;
        let name = path.display().to_string();
        digests.model(&name, &model).map_err(CliError::check)?;
        Ok(model.graph)
    };
    let teacher = recipe.distill.as_ref().and_then(|distill| distill.teacher.as_deref());
    let teacher = teacher.map(&mut open).transpose()?;
    // A network by name is no file, and a run goes on without the file that it has copied.
    let file = |name: &&str| zoo::find(name).is_none() && Path::new(name).exists();
    if let Some(original) = recipe.model.as_deref().filter(file) {
        match source::untrained(Path::new(original))? {
            Some(model) => digests.model(original, &model).map_err(CliError::check)?,
            None => drop(open(Path::new(original))?),
        }
    }
    let inputs = Inputs {
        preprocess: preprocess.or_else(|| model.preprocess.clone()).unwrap_or_default(),
        train,
        subset,
        validation,
        test,
        teacher,
    };
    Ok((inputs, digests))
}

/// What is left of the samples.
fn cut_classes(recipe: &Recipe, whole: Dataset) -> Result<Dataset, CliError> {
    if recipe.data.shares.is_empty() {
        return Ok(whole);
    }
    let left = cut(&whole, &recipe.data.shares, recipe.seed)?;
    whole.select(&left).map_err(CliError::usage)
}

/// The samples of a subset.
fn choose(subset: &Subset, of: &Dataset, seed: u64, digests: &mut Digests) -> Result<Vec<usize>, CliError> {
    let Some(path) = subset.scores.as_ref().filter(|_| subset.take != Take::Random) else {
        return Ok(subset.choose(of, None, seed)?);
    };
    let (_, scores) = npy::read_f32(path)?;
    digests.scores(&path.display().to_string(), &scores);
    Ok(subset.choose(of, Some(&scores), seed)?)
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
    let mut rows = vec![vec!["zeros".into(), percent(0.0), percent(report.sparsity)]];
    if let Some(removed) = &report.structured {
        let row = |what: &str, size: &dyn Fn(&Size) -> u64| {
            let sizes = [&removed.before, &removed.after].map(|of| thousands(size(of)));
            std::iter::once(what.to_owned()).chain(sizes).collect::<Vec<_>>()
        };
        rows.push(row("parameters", &|size| size.parameters));
        rows.push(row("multiplications", &|size| size.multiplications));
    }
    rows.push(vec![
        "accuracy".into(),
        accuracy(dense.accuracy),
        accuracy(sparse.accuracy),
    ]);
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
    let agrees = match report.prediction_differences {
        Some(0) => "the file classifies every test sample as the training graph does\n".to_owned(),
        Some(count) => format!("the file classifies {count} test samples differently from the training graph\n"),
        None => "accuracy was not measured: give data.test\n".to_owned(),
    };
    format!(
        "{}\n{agrees}the result is in {}\n",
        table(&["", "dense", "sparse"], 1, rows),
        folder.display()
    )
}
