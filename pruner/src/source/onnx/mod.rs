//! ONNX models, opset 13 and later.
//!
//! The batch, the first dimension of every computed value, is dropped. Nodes that the outputs do
//! not depend on are dropped too, and constants are computed at import: exporters write pads and
//! shapes as chains of small integer operators.

mod array;
mod call;
mod cleanup;
mod fold;
mod graph;
mod ops;
mod schema;
mod tensor;
#[cfg(test)]
mod tests;

use super::error::{Fault, shown};
use prost::Message;
use schema::ModelProto;
use secateur_format::graph::Graph;

/// The oldest opset; before it, `Squeeze` and others had other inputs.
const OLDEST_OPSET: i64 = 13;

/// Reads the content of an ONNX file.
pub(super) fn import(bytes: Vec<u8>) -> Result<Graph, Fault> {
    let size = bytes.len();
    // `Bytes` lets the decoder share the weights with the file's content.
    let model = ModelProto::decode(prost::bytes::Bytes::from(bytes)).map_err(|error| {
        Fault::unreadable(
            format!("not a sound ONNX file ({error})"),
            "export the model again, or copy the file again",
        )
    })?;
    check_opset(&model)?;
    let graph = model.graph.ok_or_else(|| {
        Fault::unreadable(
            "the file holds no graph",
            "check that it is an ONNX model, and export it again",
        )
    })?;
    graph::build(&graph, size)
}

fn check_opset(model: &ModelProto) -> Result<(), Fault> {
    let default = model.opset_import.iter().find(|opset| is_default_domain(&opset.domain));
    match default {
        Some(opset) if opset.version >= OLDEST_OPSET => Ok(()),
        Some(opset) => Err(Fault::unsupported(
            format!(
                "the model uses opset {}, and opsets before {OLDEST_OPSET} are not supported",
                opset.version
            ),
            "export it with a later opset, or use onnx.version_converter",
        )),
        None => {
            let domains: Vec<String> = model
                .opset_import
                .iter()
                .take(8)
                .map(|opset| shown(&opset.domain))
                .collect();
            let problem = format!("the file names no version of the standard operators, only {domains:?}");
            Err(Fault::unreadable(
                problem,
                "check that it is an ONNX model, and export it again",
            ))
        }
    }
}

/// Whether a domain is that of the standard operators.
fn is_default_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}
