//! `secateur explain`

mod layer;

use secateur_format::encoding::Quantized;
use secateur_runtime::ArenaBuf;
use secateur_runtime::prepared::Threads;
use serde_json::json;

use super::args::ExplainArgs;
use super::error::CliError;
use super::model::{Opened, read};
use super::output::Output;
use crate::advice::{Caches, Effort, advise};
use crate::emit::{Candidate, Choice, EncodingChoice, choose};
use crate::engine::Engine;
use crate::source::sct;

use layer::ExplainedLayer;

/// Candidates shown per layer unless all are asked for.
const SHOWN: usize = 5;

pub(super) fn run(args: &ExplainArgs, out: &Output) -> Result<(), CliError> {
    let path = &args.model.model;
    let options = args.options()?;
    let opened = Opened::new(path, out)?;
    let invalid = |error: &dyn std::fmt::Display| CliError::unreadable(path, error);
    // Another form than .sct is explained as `convert` would store it.
    let made = match opened.sct()? {
        Some(_) => None,
        None => Some(opened.unchecked(&opened.source.graph, EncodingChoice::Auto)?),
    };
    let bytes = made.as_ref().map_or_else(|| opened.bytes(), ArenaBuf::as_ref);
    let model = read(bytes, path)?;
    let mut arena = ArenaBuf::for_model(&model);
    let session = Engine::Prepared(options.clone()).session(&model, arena.as_mut());
    let session = session.map_err(|e| invalid(&e))?;
    let graph = sct::graph(&model).map_err(|e| invalid(&e))?;
    let effort = if args.measure { Effort::All } else { Effort::Chosen };
    let mut threads = Threads::new(options.threads);
    let caches = Caches::of_this_machine();
    let bar = out.progress(graph.nodes.len(), "explain");
    let mut layers = Vec::new();
    for (node, def) in model.nodes().zip(&graph.nodes) {
        bar.inc(1);
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
        layers.push(ExplainedLayer {
            choice: as_stored(best, stored),
            kernel: session.kernel(&node).map_or("none", |kernel| kernel.name),
            advice: advise(&model, &node, &options, effort, &mut threads).map_err(|e| invalid(&e))?,
            caches,
        });
    }
    bar.finish_and_clear();
    let json = json!({"layers": layers.iter().map(ExplainedLayer::json).collect::<Vec<_>>()});
    let shown = if args.all { usize::MAX } else { SHOWN };
    out.result(&json, || {
        let texts = layers.iter().map(|layer| layer.text(shown));
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
