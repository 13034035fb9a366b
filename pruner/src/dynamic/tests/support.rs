//! Runs of recipes on a small network.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::dynamic::{Method, Patterns};
pub(super) use crate::recipe::run::tests::model;
use crate::recipe::run::{Folder, Inputs, Observer, Outcome, RunError, Runner, tests};
use crate::recipe::{Layer, Recipe, parse};
use crate::train::Progress;

/// Steps of an epoch, and of a training.
pub(super) const PER_EPOCH: u64 = 6;
pub(super) const STEPS: u64 = 6 * PER_EPOCH;

fn inputs() -> Inputs {
    let inputs = tests::inputs();
    Inputs {
        test: inputs.train.clone(),
        ..inputs
    }
}

/// A recipe for a method, which does often what it does now and then.
pub(super) fn recipe(method: &Method, more: &str) -> Recipe {
    let every = method.settings.iter().any(|setting| setting.name == "every");
    let every = if every { ", every = 4" } else { "" };
    let pattern = match method.patterns {
        Patterns::Nm => "pattern = '2:4'",
        _ => "sparsity = 0.8",
    };
    let (name, scope) = (method.name, method.scopes[0].name());
    let text = format!(
        "model = 'm'\nseed = 5\n[prune]\n{pattern}\nscope = '{scope}'\n[schedule]\nkind = 'dynamic'\n\
         method = {{ name = '{name}'{every} }}\n[retrain]\nepochs = 6\nbatch = 10\noptimizer = 'sgd'\nrate = 0.1\n{more}"
    );
    parse(&[Layer::file("r.toml", text)]).unwrap()
}

/// Interrupts a run after some of its steps.
struct Stops<'a> {
    stops: &'a [u64],
    interrupted: &'a AtomicBool,
}

impl Observer for Stops<'_> {
    fn step(&mut self, progress: &Progress, _: f64) {
        self.interrupted
            .store(self.stops.contains(&progress.step), Ordering::Relaxed);
    }
}

/// Runs a recipe on so many threads, interrupted and continued after some of its steps.
pub(super) fn run(recipe: &Recipe, threads: usize, stops: &[u64]) -> Outcome {
    let (place, inputs, interrupted) = (tempfile::tempdir().unwrap(), inputs(), AtomicBool::new(false));
    let mut observer = Stops {
        stops,
        interrupted: &interrupted,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    drop(Folder::create(place.path(), recipe, &model()).unwrap());
    loop {
        interrupted.store(false, Ordering::Relaxed);
        let (mut folder, recipe, model) = Folder::open(place.path(), None).unwrap();
        let runner = Runner::new(&recipe, &inputs, &mut folder, &model.graph, &mut observer, &interrupted);
        match pool.install(|| runner.run()) {
            Ok(outcome) => return outcome,
            Err(RunError::Interrupted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
