//! `secateur verify`

use std::path::Path;

use secateur_format::encoding::Quantized;
use secateur_format::graph::Graph;
use secateur_format::{Model, TensorId};
use serde_json::json;

use super::args::VerifyArgs;
use super::error::{CHECK, CliError};
use super::model::Opened;
use super::output::Output;
use crate::emit::{Check, CheckError, TOLERANCE, check};
use crate::lower::lower;

pub(super) fn run(args: &VerifyArgs, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model, out)?;
    let Some(model) = opened.sct()? else {
        return Err(CliError::usage(format!("{} is not a .sct file", args.model.display())));
    };
    let graph = &opened.source.graph;
    let result = check(graph, graph, opened.bytes());
    let (found, checked) = match (result, &args.against) {
        (Ok(checked), Some(path)) => (compare(&model, graph, path, out).map(Some), Some(checked)),
        (Ok(checked), None) => (Ok(None), Some(checked)),
        (Err(error @ CheckError::Differs { .. }), _) => (Err(error.into()), None),
        (Err(error), _) => return Err(CliError::unreadable(&args.model, error)),
    };
    match found {
        Ok(found) => report(args, out, checked, found.as_ref(), None),
        Err(error) if error.code == CHECK => {
            report(args, out, checked, None, Some(&error.message))?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn report(
    args: &VerifyArgs,
    out: &Output,
    checked: Option<Check>,
    found: Option<&Found>,
    failure: Option<&str>,
) -> Result<(), CliError> {
    let json = json!({
        "valid": failure.is_none(),
        "failure": failure,
        "error": checked.map(|check| check.error),
        "tolerance": TOLERANCE,
        "weights_pruned": found.map(|found| found.pruned),
        "weights_equal": found.map(|found| found.equal),
    });
    out.result(&json, || {
        let (Some(check), None) = (checked, failure) else {
            return String::new();
        };
        let path = args.model.display();
        let mut text = format!(
            "{path}: valid; every kernel list within {:.1e} of the dense reference, relative to the largest output\n",
            check.error
        );
        if let (Some(found), Some(path)) = (found, &args.against) {
            let (path, equal, pruned) = (path.display(), found.equal, found.pruned);
            text += &format!("every stored weight is that of {path}: {equal} equal, {pruned} pruned\n");
        }
        text
    })?;
    Ok(())
}

/// How the weights of a file relate to those of its source.
struct Found {
    equal: u64,
    pruned: u64,
}

/// Checks that the file has the graph of its source, and that every weight is
/// zero or, after rounding to its value type, that of the source.
fn compare(model: &Model<'_>, graph: &Graph, path: &Path, out: &Output) -> Result<Found, CliError> {
    let source = Opened::new(path, out)?;
    let source = match source.sct()? {
        Some(_) => source.source.graph,
        None => lower(&source.source.graph).map_err(|e| CliError::unreadable(path, e))?,
    };
    let differs = |what: String| CliError::check(format!("the file was not made from {}: {what}", path.display()));
    if source.nodes.len() != graph.nodes.len() {
        return Err(differs(format!(
            "{} nodes, not {}",
            graph.nodes.len(),
            source.nodes.len()
        )));
    }
    let shapes = |graph: &Graph| graph.inputs.iter().map(|input| input.shape).collect::<Vec<_>>();
    if shapes(&source) != shapes(graph) || source.outputs != graph.outputs {
        return Err(differs("other inputs or outputs".to_owned()));
    }
    for (node, original) in graph.nodes.iter().zip(&source.nodes) {
        if node.op != original.op || node.inputs != original.inputs {
            return Err(differs(format!(
                "node `{}` is another operator than `{}`",
                node.name, original.name
            )));
        }
    }
    // Equal operators have equal constants by number; their sizes follow from inputs and operators.
    let mut found = Found { equal: 0, pruned: 0 };
    for (i, (tensor, original)) in graph.tensors.iter().zip(&source.tensors).enumerate() {
        let Some((desc, _)) = model.tensor(TensorId(i as u16)) else {
            continue;
        };
        if (tensor.rows, tensor.cols) != (original.rows, original.cols) {
            return Err(differs(format!("`{}` has another shape", tensor.name)));
        }
        let rounded = Quantized::new(&original.data, original.cols, desc.values)
            .map_err(|e| differs(format!("`{}`: {e}", original.name)))?
            .to_f32();
        for (at, (&w, &expected)) in tensor.data.iter().zip(&rounded).enumerate() {
            if w == expected {
                found.equal += 1;
            } else if w == 0.0 {
                found.pruned += 1;
            } else {
                return Err(differs(format!(
                    "`{}` element {at} is {w}, not {expected}",
                    tensor.name
                )));
            }
        }
    }
    Ok(found)
}
