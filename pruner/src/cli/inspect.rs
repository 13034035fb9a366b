//! `secateur inspect`

use secateur_format::graph::NodeDef;
use secateur_format::plan::planner::{PlanOptions, plan};
use secateur_format::{Model, Shape};
use serde_json::{Value, json};

use super::args::InspectArgs;
use super::error::CliError;
use super::groups::{groups_json, groups_text};
use super::model::{Opened, plan_options};
use super::output::{Output, percent, table, thousands};
use crate::lower::lower;
use crate::structured::Coupling;

/// A node, as it is shown.
struct Row<'g> {
    node: &'g NodeDef,
    inputs: Vec<&'g str>,
    shape: Shape,
    weights: Option<Weights>,
}

/// The weights of a linear or convolution.
struct Weights {
    count: usize,
    zeros: usize,
    /// Encoding, value type and bytes, where the model is a file of ours.
    stored: Option<(String, &'static str, u64)>,
}

pub(super) fn run(args: &InspectArgs, out: &Output) -> Result<(), CliError> {
    let path = &args.model.model;
    let opened = Opened::new(path, out)?;
    let invalid = |error| CliError::unreadable(path, error);
    let graph = &opened.source.graph;
    let shapes = graph.shapes().map_err(invalid)?;
    let model = opened.sct()?;
    // A file carries its own plan; another form is planned as it would be converted.
    let (planned, options) = match &model {
        Some(model) => (graph.clone(), plan_options(model)),
        None => (lower(graph).map_err(invalid)?, PlanOptions::default()),
    };
    let plan = plan(&planned, &options).map_err(invalid)?;
    let arena = model
        .as_ref()
        .map_or(plan.arena_bytes, |model| model.plan().arena_bytes());
    let info: Vec<(&str, &str)> = model.iter().flat_map(Model::info).collect();
    let file_bytes = std::fs::metadata(path)
        .ok()
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len());
    let parameters: usize = graph.tensors.iter().map(|t| t.data.len()).sum();
    let rows: Vec<Row<'_>> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(i, node)| Row {
            node,
            inputs: node.inputs.iter().map(|&id| graph.name(id)).collect(),
            shape: shapes[graph.inputs.len() + i],
            weights: weights(&opened, model.as_ref(), node),
        })
        .collect();
    let coupling = Coupling::new(graph).map_err(invalid)?;
    let value = |name: &str, shape: Shape| json!({"name": name, "shape": shape.dims()});
    let outputs = || {
        graph
            .outputs
            .iter()
            .map(|&id| (graph.name(id), shapes[usize::from(id.0)]))
    };
    let json = json!({
        "name": opened.source.name,
        "file_bytes": file_bytes,
        "parameters": parameters,
        "arena_bytes": arena,
        "arena_lower_bound_bytes": plan.lower_bound,
        "inputs": graph.inputs.iter().map(|i| value(&i.name, i.shape)).collect::<Vec<_>>(),
        "outputs": outputs().map(|(name, shape)| value(name, shape)).collect::<Vec<_>>(),
        "preprocess": opened.source.preprocess.as_ref().map(|p| json!({"scale": p.scale, "mean": p.mean, "std": p.std})),
        "info": info.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Vec<_>>(),
        "nodes": rows.iter().map(row_json).collect::<Vec<_>>(),
        "groups": groups_json(graph, &coupling),
    });
    out.result(&json, || {
        let mut text = format!("{}: {} parameters", opened.source.name, thousands(parameters as u64));
        text += &file_bytes.map_or(String::new(), |bytes| format!(", {} bytes", thousands(bytes)));
        text += "\n";
        for input in &graph.inputs {
            text += &format!("input   {} {}\n", input.name, input.shape);
        }
        for (name, shape) in outputs() {
            text += &format!("output  {name} {shape}\n");
        }
        if let Some(p) = &opened.source.preprocess {
            let list = |list: &[f32]| list.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
            text += &format!("prepare scale {}", p.scale);
            text += &if p.mean.is_empty() {
                String::new()
            } else {
                format!(", mean {}", list(&p.mean))
            };
            text += &if p.std.is_empty() {
                String::new()
            } else {
                format!(", std {}", list(&p.std))
            };
            text += "\n";
        }
        for (key, value) in &info {
            text += &format!("{key:7} {value}\n");
        }
        let (arena, bound) = (thousands(arena), thousands(plan.lower_bound));
        text += &format!("arena   {arena} bytes (no plan can do with less than {bound})\n\n");
        let header = [
            "node",
            "operator",
            "inputs",
            "output",
            "stored as",
            "weights",
            "zeros",
            "bytes",
        ];
        text += &table(&header, 5, rows.iter().map(row_cells));
        text + &if args.groups {
            groups_text(graph, &coupling)
        } else {
            String::new()
        }
    })?;
    Ok(())
}

fn weights(opened: &Opened, model: Option<&Model<'_>>, node: &NodeDef) -> Option<Weights> {
    let id = node.op.weight()?;
    let tensor = opened.source.graph.tensor(id)?;
    let stored = model.and_then(|model| model.tensor(id)).map(|(desc, _)| {
        (
            desc.encoding.to_string(),
            desc.values.name(),
            desc.payload_len().unwrap_or(0),
        )
    });
    let zeros = tensor.data.iter().filter(|&&w| w == 0.0).count();
    Some(Weights {
        count: tensor.data.len(),
        zeros,
        stored,
    })
}

fn row_json(row: &Row<'_>) -> Value {
    let weights = row.weights.as_ref();
    let stored = weights.and_then(|w| w.stored.as_ref());
    json!({
        "name": row.node.name,
        "op": row.node.op.name(),
        "inputs": row.inputs,
        "shape": row.shape.dims(),
        "weights": weights.map(|w| w.count),
        "zeros": weights.map(|w| w.zeros),
        "encoding": stored.map(|(encoding, ..)| encoding),
        "values": stored.map(|(_, values, _)| values),
        "bytes": stored.map(|(.., bytes)| bytes),
    })
}

fn row_cells(row: &Row<'_>) -> Vec<String> {
    let weights = row.weights.as_ref();
    let stored = weights.and_then(|w| w.stored.as_ref());
    vec![
        row.node.name.clone(),
        row.node.op.name().to_owned(),
        row.inputs.join(", "),
        row.shape.to_string(),
        stored.map_or(String::new(), |(encoding, values, _)| format!("{encoding} {values}")),
        weights.map_or(String::new(), |w| thousands(w.count as u64)),
        weights.map_or(String::new(), |w| percent(w.zeros as f64 / w.count.max(1) as f64)),
        stored.map_or(String::new(), |(.., bytes)| thousands(*bytes)),
    ]
}
