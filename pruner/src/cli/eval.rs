//! `secateur eval`

use secateur_runtime::Model;
use serde_json::json;

use super::args::EvalArgs;
use super::error::CliError;
use super::model::{Opened, dense_options};
use super::output::{Output, percent, table};
use crate::data::{self, Dataset, Preprocess};
use crate::engine::Engine;
use crate::eval::{Accuracy, accuracy};

pub(super) fn run(args: &EvalArgs, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model.model, out)?;
    let loaded = data::load(&args.data)?;
    let preprocess = opened.preprocess(args.preprocess.get(), loaded.preprocess)?;
    let runnable = opened.runnable(&dense_options())?;
    let model = runnable.model(&args.model.model)?;
    let accuracy = evaluate(&model, &args.engine.get()?, &loaded.dataset, &preprocess, "eval", out)?;

    let names = loaded.dataset.class_names();
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let fraction = |class: usize| accuracy.correct[class] as f64 / accuracy.count[class].max(1) as f64;
    let json = json!({
        "accuracy": accuracy.fraction(),
        "correct": accuracy.total_correct(),
        "count": accuracy.total(),
        "per_class": (0..accuracy.count.len()).map(|class| json!({
            "class": class,
            "name": name(class),
            "count": accuracy.count[class],
            "correct": accuracy.correct[class],
            "accuracy": (accuracy.count[class] > 0).then(|| fraction(class)),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let rows = (0..accuracy.count.len()).map(|class| {
            let counts = [accuracy.correct[class], accuracy.count[class]].map(|n| n.to_string());
            let [correct, count] = counts;
            vec![name(class), correct, count, percent(fraction(class))]
        });
        let classes = table(&["class", "correct", "of", "accuracy"], 1, rows);
        let (correct, total) = (accuracy.total_correct(), accuracy.total());
        format!(
            "{classes}\naccuracy {} ({correct} of {total})\n",
            percent(accuracy.fraction())
        )
    })?;
    Ok(())
}

/// Accuracy, with a progress bar.
pub(super) fn evaluate(
    model: &Model<'_>,
    engine: &Engine,
    dataset: &Dataset,
    preprocess: &Preprocess,
    what: &'static str,
    out: &Output,
) -> Result<Accuracy, CliError> {
    let bar = out.progress(dataset.len(), what);
    let result = accuracy(model, engine, dataset, preprocess, || bar.inc(1));
    bar.finish_and_clear();
    Ok(result?)
}
