//! `secateur convert`, and the writing that `prune` shares.

use std::path::Path;

use secateur_format::container::writer::Preprocess;
use secateur_format::graph::Graph;
use serde_json::{Value, json};

use super::args::{ConvertArgs, WriteArgs};
use super::error::CliError;
use super::model::Opened;
use super::output::{Output, percent, table, thousands};
use crate::data;
use crate::emit::{Choice, EmitOptions, Emitted, Overwrite, TOLERANCE, emit, write_file};

pub(super) fn run(args: &ConvertArgs, out: &Output) -> Result<(), CliError> {
    check_output(&args.write)?;
    let opened = Opened::new(&args.model.model, out)?;
    let preprocess = opened.preprocess(args.write.preprocess.get(), None);
    let emitted = write(&opened.source.graph, &args.write, &preprocess, Vec::new())?;
    let json = report_json(&args.write.output, &emitted);
    out.result(&json, || report_text(&args.write.output, &emitted))?;
    Ok(())
}

/// Refuses early what would fail after long work.
pub(super) fn check_output(args: &WriteArgs) -> Result<(), CliError> {
    if args.output.exists() && !args.force {
        return Err(CliError::usage(format!(
            "{} exists: give another name, or --force",
            args.output.display()
        )));
    }
    Ok(())
}

/// Emits the graph and writes the file.
pub(super) fn write(
    graph: &Graph,
    args: &WriteArgs,
    preprocess: &data::Preprocess,
    info: Vec<(String, String)>,
) -> Result<Emitted, CliError> {
    let tool = (
        "generator".to_owned(),
        concat!("secateur ", env!("CARGO_PKG_VERSION")).to_owned(),
    );
    let stored = Preprocess {
        scale: preprocess.scale,
        mean: preprocess.mean.clone(),
        std: preprocess.std.clone(),
    };
    let options = EmitOptions {
        encoding: args.encoding,
        values: args.values.get(),
        plan: args.plan(),
        strip: args.strip,
        preprocess: Some(stored).filter(|_| !preprocess.is_identity()),
        info: std::iter::once(tool).chain(info).collect(),
    };
    let emitted = emit(graph, &options)?;
    let overwrite = if args.force {
        Overwrite::Replace
    } else {
        Overwrite::Keep
    };
    write_file(&args.output, &emitted.bytes, overwrite).map_err(|e| CliError::io(&args.output, &e))?;
    Ok(emitted)
}

pub(super) fn layer_json(choice: &Choice) -> Value {
    json!({
        "node": choice.node,
        "op": choice.op,
        "rows": choice.shape.0,
        "cols": choice.shape.1,
        "nonzeros": choice.nonzeros,
        "sparsity": choice.sparsity(),
        "encoding": choice.chosen.desc.encoding.to_string(),
        "bytes": choice.chosen.bytes,
        "dense_bytes": choice.dense_bytes(),
        "reason": choice.reason,
    })
}

/// The fields that `prune` and `convert` share.
pub(super) fn report_json(path: &Path, emitted: &Emitted) -> Value {
    let (nonzeros, weights) = totals(emitted);
    json!({
        "output": path,
        "bytes": emitted.bytes.len(),
        "dense_bytes": emitted.dense_bytes,
        "ratio": emitted.dense_bytes as f64 / emitted.bytes.len() as f64,
        "sparsity": 1.0 - nonzeros as f64 / weights.max(1) as f64,
        "arena_bytes": emitted.arena_bytes,
        "arena_lower_bound_bytes": emitted.arena_lower_bound,
        "check_error": emitted.check.error,
        "check_lowering_error": emitted.check.lowering_error,
        "check_tolerance": TOLERANCE,
        "layers": emitted.choices.iter().map(layer_json).collect::<Vec<_>>(),
    })
}

fn totals(emitted: &Emitted) -> (u64, u64) {
    emitted
        .choices
        .iter()
        .fold((0, 0), |(n, w), c| (n + c.nonzeros, w + c.weights()))
}

pub(super) fn report_text(path: &Path, emitted: &Emitted) -> String {
    let rows = emitted.choices.iter().map(|c| {
        vec![
            c.node.clone(),
            format!("{}x{}", c.shape.0, c.shape.1),
            c.chosen.desc.encoding.to_string(),
            percent(c.sparsity()),
            thousands(c.chosen.bytes),
            thousands(c.dense_bytes()),
        ]
    });
    let layers = table(&["layer", "matrix", "encoding", "zeros", "bytes", "dense"], 3, rows);
    let (nonzeros, weights) = totals(emitted);
    format!(
        "{layers}\n{}: {} bytes, 1/{:.2} of {} dense; {} of the weights are zero\n\
         arena {} bytes (no plan can do with less than {})\n\
         read back and run: within {:.1e} of the dense reference, relative to the largest output\n",
        path.display(),
        thousands(emitted.bytes.len() as u64),
        emitted.dense_bytes as f64 / emitted.bytes.len() as f64,
        thousands(emitted.dense_bytes),
        percent(1.0 - nonzeros as f64 / weights.max(1) as f64),
        thousands(emitted.arena_bytes),
        thousands(emitted.arena_lower_bound),
        emitted.check.error,
    )
}
