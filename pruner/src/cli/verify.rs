//! `secateur verify`

use std::path::Path;

use secateur_format::encoding::{MatrixDesc, Quantized};
use secateur_format::graph::Graph;
use secateur_runtime::Model;
use serde_json::json;

use super::args::VerifyArgs;
use super::error::CliError;
use super::model::Opened;
use super::output::Output;
use crate::emit::{TOLERANCE, check};
use crate::lower::lower;
use crate::source::sct;

pub(super) fn run(args: &VerifyArgs, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model, out)?;
    if !opened.is_sct() {
        return Err(CliError::usage(format!("{} is not a .sct file", args.model.display())));
    }
    let runnable = opened.runnable()?;
    let model = runnable.model()?;
    let graph = sct::graph(&model).map_err(|e| CliError::unreadable(&args.model, e))?;
    let bytes = std::fs::read(&args.model).map_err(|e| CliError::io(&args.model, &e))?;
    let check = check(&graph, &graph, &bytes)?;
    let against = match &args.against {
        Some(path) => Some(compare(&model, &graph, path, out)?),
        None => None,
    };
    let json = json!({
        "valid": true,
        "error": check.error,
        "tolerance": TOLERANCE,
        "weights_pruned": against.as_ref().map(|found| found.pruned),
        "weights_equal": against.as_ref().map(|found| found.equal),
    });
    out.result(&json, || {
        let mut text = format!(
            "{}: valid; all kernels within {:.1e} of the dense reference, relative to the largest output\n",
            args.model.display(),
            check.error
        );
        if let (Some(found), Some(path)) = (&against, &args.against) {
            text += &format!(
                "every stored weight is that of {}: {} equal, {} pruned\n",
                path.display(),
                found.equal,
                found.pruned
            );
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

/// Checks that every weight is zero or, after rounding to its value type, that of the source.
fn compare(model: &Model<'_>, graph: &Graph, path: &Path, out: &Output) -> Result<Found, CliError> {
    let source = Opened::new(path, out)?;
    let source = lower(&source.source.graph).map_err(|e| CliError::unreadable(path, e))?;
    let differs = |what: String| CliError::check(format!("the file was not made from {}: {what}", path.display()));
    if source.nodes.len() != graph.nodes.len() || source.tensors.len() != graph.tensors.len() {
        return Err(differs(format!(
            "{} nodes, not {}",
            graph.nodes.len(),
            source.nodes.len()
        )));
    }
    let mut found = Found { equal: 0, pruned: 0 };
    for (node, original) in graph.nodes.iter().zip(&source.nodes) {
        if node.op != original.op || node.inputs != original.inputs {
            return Err(differs(format!(
                "node `{}` is another operator than `{}`",
                node.name, original.name
            )));
        }
    }
    for (i, (tensor, original)) in graph.tensors.iter().zip(&source.tensors).enumerate() {
        let id = secateur_format::TensorId(i as u16);
        let Some((MatrixDesc { values, .. }, _)) = model.tensor(id) else {
            continue;
        };
        let rounded = Quantized::new(&original.data, original.cols, values)
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
