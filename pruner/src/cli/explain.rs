//! `secateur explain`

use secateur_format::encoding::Quantized;
use secateur_runtime::{ArenaBuf, Session};
use serde_json::json;

use super::args::ExplainArgs;
use super::convert::layer_json;
use super::error::CliError;
use super::model::Opened;
use super::output::{Output, percent, table, thousands};
use crate::emit::{Candidate, Choice, EmitOptions, EncodingChoice, choose};
use crate::source::sct;

/// Candidates shown per layer unless all are asked for.
const SHOWN: usize = 5;

pub(super) fn run(args: &ExplainArgs, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model.model, out)?;
    let invalid = |error: &dyn std::fmt::Display| CliError::unreadable(&args.model.model, error);
    // Another form than .sct is explained as `convert` would store it.
    let runnable = opened.runnable(&EmitOptions::default())?;
    let model = runnable.model(&args.model.model)?;
    let mut arena = ArenaBuf::for_model(&model);
    let session = Session::new(&model, arena.as_mut()).map_err(|e| invalid(&e))?;
    let graph = sct::graph(&model).map_err(|e| invalid(&e))?;
    let mut layers = Vec::new();
    for (node, def) in model.nodes().zip(&graph.nodes) {
        let Some((id, tensor)) = def.op.weight().and_then(|id| Some((id, graph.tensor(id)?))) else {
            continue;
        };
        let Some((desc, _)) = model.tensor(id) else { continue };
        let quantized = Quantized::new(&tensor.data, tensor.cols, desc.values).map_err(|e| invalid(&e))?;
        let best = choose(&def.name, &def.op, &quantized, EncodingChoice::Auto);
        let stored = Candidate {
            desc,
            bytes: desc.payload_len().unwrap_or(0),
        };
        layers.push((
            as_stored(best, stored),
            session.kernel(&node).map_or("none", |kernel| kernel.name),
        ));
    }
    let json = json!({
        "layers": layers.iter().map(|(choice, kernel)| {
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
        let texts = layers.iter().map(|(choice, kernel)| layer_text(choice, kernel, shown));
        texts.collect::<Vec<_>>().join("\n")
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
