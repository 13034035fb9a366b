//! `secateur explain`

use secateur_format::encoding::{Quantized, ValueType};
use secateur_format::{Op, TensorId};
use serde_json::json;

use super::args::ExplainArgs;
use super::convert::layer_json;
use super::error::CliError;
use super::model::Opened;
use super::output::{Output, percent, table, thousands};
use crate::emit::{Candidate, Choice, EncodingChoice, choose};
use crate::lower::lower;

/// Candidates shown per layer unless all are asked for.
const SHOWN: usize = 5;

pub(super) fn run(args: &ExplainArgs, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model.model, out)?;
    let invalid = |error: &dyn std::fmt::Display| CliError::unreadable(&args.model.model, error);
    let runnable = if opened.is_sct() {
        Some(opened.runnable()?)
    } else {
        None
    };
    let file = runnable.as_ref().map(|runnable| runnable.model()).transpose()?;
    let graph = lower(&opened.source.graph).map_err(|e| invalid(&e))?;
    let mut choices = Vec::new();
    for node in &graph.nodes {
        let Some((id, tensor)) = node.op.weight().and_then(|id| Some((id, graph.tensor(id)?))) else {
            continue;
        };
        let stored = file.as_ref().and_then(|model| Some(model.tensor(id)?.0));
        let values = stored.map_or(ValueType::F32, |desc| desc.values);
        let quantized = Quantized::new(&tensor.data, tensor.cols, values).map_err(|e| invalid(&e))?;
        let best = choose(&node.name, &node.op, &quantized, EncodingChoice::Auto);
        choices.push(
            match stored.and_then(|desc| {
                Some(Candidate {
                    desc,
                    bytes: desc.payload_len()?,
                })
            }) {
                Some(stored) => as_stored(best, stored),
                None => best,
            },
        );
    }
    let kernels: Vec<&'static str> = choices
        .iter()
        .zip(matrix_nodes(&graph))
        .map(|(c, op)| kernel_name(c, &op))
        .collect();
    let json = json!({
        "layers": choices.iter().zip(&kernels).map(|(choice, kernel)| {
            let mut layer = layer_json(choice);
            layer["kernel"] = json!(kernel);
            layer["candidates"] = choice.candidates.iter().map(|c| json!({
                "encoding": c.desc.encoding.to_string(), "bytes": c.bytes, "stored": c.desc.stored,
            })).collect();
            layer
        }).collect::<Vec<_>>(),
    });
    let shown = if args.all { usize::MAX } else { SHOWN };
    out.result(&json, || {
        let layers = choices
            .iter()
            .zip(kernels)
            .map(|(choice, kernel)| layer_text(choice, kernel, shown));
        layers.collect::<Vec<_>>().join("\n")
    })?;
    Ok(())
}

/// What a file stores, beside what would be chosen now.
fn as_stored(best: Choice, stored: Candidate) -> Choice {
    let reason = if best.chosen.desc.encoding == stored.desc.encoding {
        best.reason.clone()
    } else {
        format!(
            "as the file was written; {} would take {} bytes",
            best.chosen.desc.encoding, best.chosen.bytes
        )
    };
    Choice {
        chosen: stored,
        reason,
        ..best
    }
}

fn matrix_nodes(graph: &secateur_format::graph::Graph) -> impl Iterator<Item = Op> {
    graph
        .nodes
        .iter()
        .map(|node| node.op)
        .filter(|op| op.weight().is_some_and(|TensorId(_)| true))
}

/// The kernel that runs the layer, given the memory it wants.
fn kernel_name(choice: &Choice, op: &Op) -> &'static str {
    use secateur_runtime::kernel::{ALL, Problem, select};
    let problem = if matches!(op, Op::Linear(_)) {
        Problem::Spmv
    } else {
        Problem::Spmm
    };
    let desc = choice.chosen.desc;
    select(ALL, problem, desc.encoding, desc.values).map_or("none", |kernel| kernel.name)
}

fn layer_text(choice: &Choice, kernel: &str, shown: usize) -> String {
    let (rows, cols) = choice.shape;
    let mut text = format!(
        "{} ({}), {rows}x{cols}: {} of {} weights, {} zeros\n  stored as {} in {} bytes, run by {kernel}\n  {}\n",
        choice.node,
        choice.op,
        thousands(choice.nonzeros),
        thousands(choice.weights()),
        percent(choice.sparsity()),
        choice.chosen.desc.encoding,
        thousands(choice.chosen.bytes),
        choice.reason,
    );
    let dense = choice.dense_bytes().max(1) as f64;
    let rows = choice.candidates.iter().take(shown).map(|c| {
        let mark = if c.desc.encoding == choice.chosen.desc.encoding {
            "*"
        } else {
            ""
        };
        vec![
            format!("  {}{mark}", c.desc.encoding),
            thousands(c.bytes),
            format!("{:.2}", c.bytes as f64 / dense),
            format!("{:.1}", 8.0 * c.bytes as f64 / choice.nonzeros.max(1) as f64),
        ]
    });
    text += &table(&["  candidate", "bytes", "of dense", "bits/nnz"], 1, rows);
    if choice.candidates.len() > shown {
        text += &format!("  and {} more (--all)\n", choice.candidates.len() - shown);
    }
    text
}
