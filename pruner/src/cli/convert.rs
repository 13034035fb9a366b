//! `secateur convert`, and the writing that `prune` shares.

use std::io;
use std::path::Path;

use secateur_format::container::writer::{Preprocess, Tuning};
use secateur_format::graph::Graph;
use secateur_runtime::ArenaBuf;
use secateur_runtime::prepared::Choice::Measure;
use secateur_runtime::prepared::{Options, Prepared};
use serde_json::{Value, json};

use super::args::{ConvertArgs, WriteArgs};
use super::error::CliError;
use super::model::{Opened, read};
use super::output::{Output, percent, table, thousands};
use crate::data;
use crate::emit::{Choice, EmitError, EmitOptions, Emitted, EncodingChoice, TOLERANCE, emit, write};
use crate::lower::lower;
use crate::recipe::Export;
use crate::save::{Overwrite, write_file};

pub(super) fn run(args: &ConvertArgs, out: &Output) -> Result<(), CliError> {
    let output = args.write.output()?;
    check_output(output, args.write.force)?;
    let opened = Opened::new(&args.model.model, out)?;
    let preprocess = opened.preprocess(args.write.preprocess.get(), None)?;
    let export = args.write.export();
    let emitted = make(&opened.source.graph, &args.write, &export, &preprocess, Vec::new(), out)?;
    save(output, args.write.force, &emitted.bytes)?;
    let json = report_json(output, &emitted);
    out.result(&json, || report_text(output, &emitted))?;
    Ok(())
}

/// Refuses early what would fail after long work.
pub(super) fn check_output(path: &Path, force: bool) -> Result<(), CliError> {
    if path.is_dir() || path.to_string_lossy().ends_with(std::path::is_separator) {
        return Err(CliError::usage(format!(
            "{} is a folder: name a file in it",
            path.display()
        )));
    }
    if path.is_file() && !force {
        return Err(CliError::usage(format!(
            "{} exists: give another name, or --force",
            path.display()
        )));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(CliError::io(
            folder,
            &io::Error::new(io::ErrorKind::NotFound, "no such folder: make it first"),
        )),
        _ => Ok(()),
    }
}

/// Emits the graph; `args` only say where to, for which arena, and whether it is tuned.
pub(super) fn make(
    graph: &Graph,
    args: &WriteArgs,
    export: &Export,
    preprocess: &data::Preprocess,
    info: Vec<(String, String)>,
    out: &Output,
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
    let mut options = EmitOptions {
        preprocess: Some(stored).filter(|_| !preprocess.is_identity()),
        info: std::iter::once(tool).chain(info).collect(),
        ..export.options()
    };
    options.plan.align = args.align;
    if args.tune {
        options.tuning = Some(tune(graph, &options, args.output()?)?);
    }
    let emitted = emit(graph, &options)?;
    check_family(options.encoding, &emitted, out)?;
    Ok(emitted)
}

/// What is fastest for each layer of the file that `options` make, on this machine.
fn tune(graph: &Graph, options: &EmitOptions, path: &Path) -> Result<Tuning, CliError> {
    let written = write(&lower(graph).map_err(EmitError::from)?, options)?;
    let bytes = ArenaBuf::copy_of(&written.bytes);
    let model = read(bytes.as_ref(), path)?;
    let measured = Options {
        choice: Measure,
        ..Options::default()
    };
    let prepared = Prepared::new(&model, &measured).map_err(|e| CliError::unreadable(path, e))?;
    Ok(prepared.tuning())
}

/// An encoding that was asked for and not used is no detail.
fn check_family(asked: EncodingChoice, emitted: &Emitted, out: &Output) -> Result<(), CliError> {
    let EncodingChoice::Only(family) = asked else {
        return Ok(());
    };
    let others = || {
        emitted
            .choices
            .iter()
            .filter(|choice| !family.contains(choice.chosen.desc.encoding))
    };
    if !emitted.choices.is_empty() && others().count() == emitted.choices.len() {
        let first = &emitted.choices[0];
        let (node, reason) = (&first.node, &first.reason);
        return Err(CliError::usage(format!(
            "no layer can be stored as {family} (`{node}`: {reason}); see `explain --all`"
        )));
    }
    others().for_each(|choice| out.warn(&format!("{}: {}", choice.node, choice.reason)));
    Ok(())
}

/// Writes a checked file.
pub(super) fn save(path: &Path, force: bool, bytes: &[u8]) -> Result<(), CliError> {
    let overwrite = if force { Overwrite::Replace } else { Overwrite::Keep };
    write_file(path, bytes, overwrite).map_err(|e| CliError::io(path, &e))
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
        "values": choice.chosen.desc.values.name(),
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
