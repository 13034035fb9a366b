//! `secateur prune`

use secateur_format::graph::Graph;
use secateur_runtime::ArenaBuf;
use serde_json::json;

use super::args::PruneArgs;
use super::convert::{check_output, report_json, report_text, write};
use super::error::CliError;
use super::eval::evaluate;
use super::model::{Opened, read};
use super::output::{Output, percent};
use crate::data;
use crate::eval::Accuracy;
use crate::prune::{PruneOptions, PruneReport, prune};

pub(super) fn run(args: &PruneArgs, out: &Output) -> Result<(), CliError> {
    check_output(&args.write)?;
    let opened = Opened::new(&args.model.model, out)?;
    let data = args.data.as_deref().map(data::load).transpose()?;
    let described = data.as_ref().and_then(|loaded| loaded.preprocess.clone());
    let preprocess = opened.preprocess(args.write.preprocess.get(), described);
    let options = PruneOptions {
        sparsity: args.sparsity,
        pattern: args.pattern,
        criterion: args.criterion,
        scope: args.scope,
        fallback: args.fallback,
        rules: args.rules(),
        seed: args.seed,
    };
    let mut graph: Graph = opened.source.graph.clone();
    let report = prune(&mut graph, &options)?;
    for layer in &report.layers {
        if let Some(note) = &layer.note {
            out.warn(&format!("{}: {note}", layer.name));
        }
    }
    let before = match &data {
        Some(loaded) => {
            let dense = opened.runnable()?;
            Some(evaluate(
                &dense.model()?,
                secateur_runtime::kernel::ALL,
                &loaded.dataset,
                &preprocess,
                "before",
                out,
            )?)
        }
        None => None,
    };
    let emitted = write(&graph, &args.write, &preprocess, info(&options))?;
    let after = match &data {
        Some(loaded) => {
            let bytes = ArenaBuf::copy_of(&emitted.bytes);
            let model = read(&bytes)?;
            Some(evaluate(
                &model,
                secateur_runtime::kernel::ALL,
                &loaded.dataset,
                &preprocess,
                "after",
                out,
            )?)
        }
        None => None,
    };

    let mut json = report_json(&args.write.output, &emitted);
    json["pruning"] = json!(report);
    json["accuracy_before"] = json!(before.as_ref().map(Accuracy::fraction));
    json["accuracy_after"] = json!(after.as_ref().map(Accuracy::fraction));
    out.result(&json, || {
        let text = report_text(&args.write.output, &emitted);
        text + &summary(&options, &report) + &accuracy_text(before.as_ref(), after.as_ref())
    })?;
    Ok(())
}

/// How the model was pruned, for the file.
fn info(options: &PruneOptions) -> Vec<(String, String)> {
    let sparsity = options.pattern.fixed_sparsity().or(options.sparsity).unwrap_or(0.0);
    let text = format!(
        "{} {} {:?} sparsity {sparsity}",
        options.criterion, options.pattern, options.scope
    );
    vec![("pruning".to_owned(), text.to_lowercase())]
}

fn summary(options: &PruneOptions, report: &PruneReport) -> String {
    format!(
        "pruned by {}, {}: {} of the linear and convolution weights, {} of all parameters\n",
        options.criterion,
        options.pattern,
        percent(report.sparsity),
        percent(report.model_sparsity),
    )
}

fn accuracy_text(before: Option<&Accuracy>, after: Option<&Accuracy>) -> String {
    let (Some(before), Some(after)) = (before, after) else {
        return "accuracy was not measured: give --data\n".to_owned();
    };
    format!(
        "accuracy {} before, {} after ({} and {} of {})\n",
        percent(before.fraction()),
        percent(after.fraction()),
        before.total_correct(),
        after.total_correct(),
        after.total(),
    )
}
