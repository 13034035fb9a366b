//! `secateur inspect`

use secateur_format::Model;
use secateur_format::plan::planner::{PlanOptions, Scratch, plan};
use serde_json::json;

use super::args::ModelArg;
use super::error::CliError;
use super::model::Opened;
use super::output::{Output, percent, table, thousands};
use crate::layer::layers;
use crate::lower::lower;

pub(super) fn run(args: &ModelArg, out: &Output) -> Result<(), CliError> {
    let opened = Opened::new(&args.model, out)?;
    let invalid = |error| CliError::unreadable(&args.model, error);
    let graph = &opened.source.graph;
    let shapes = graph.shapes().map_err(invalid)?;
    let lowered = lower(graph).map_err(invalid)?;
    // A file carries its own plan; another form is planned as it would be converted.
    let runnable = if opened.is_sct() {
        Some(opened.runnable()?)
    } else {
        None
    };
    let model = runnable.as_ref().map(|file| file.model()).transpose()?;
    let plan = plan(&lowered, &model.as_ref().map_or(PlanOptions::default(), options_of)).map_err(invalid)?;
    let arena = model
        .as_ref()
        .map_or(plan.arena_bytes, |model| model.plan().arena_bytes());
    let file_bytes = std::fs::metadata(&args.model)
        .ok()
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len());

    let layers = layers(graph, &shapes);
    let zeros = |tensor: secateur_format::TensorId| {
        graph
            .tensor(tensor)
            .map_or(0, |t| t.data.iter().filter(|&&w| w == 0.0).count())
    };
    let parameters: usize = graph.tensors.iter().map(|t| t.data.len()).sum();
    let nodes: Vec<_> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            let layer = layers.iter().find(|layer| layer.name == node.name);
            let shape = shapes[graph.inputs.len() + i];
            let inputs: Vec<&str> = node.inputs.iter().map(|&id| graph.name(id)).collect();
            (node, shape, inputs, layer)
        })
        .collect();
    let json = json!({
        "name": opened.source.name,
        "file_bytes": file_bytes,
        "parameters": parameters,
        "arena_bytes": arena,
        "arena_lower_bound_bytes": plan.lower_bound,
        "inputs": graph.inputs.iter().map(|i| json!({"name": i.name, "shape": i.shape.dims()})).collect::<Vec<_>>(),
        "outputs": graph.outputs.iter().map(|&id| json!({
            "name": graph.name(id), "shape": shapes[usize::from(id.0)].dims()
        })).collect::<Vec<_>>(),
        "preprocess": opened.source.preprocess.as_ref().map(|p| json!({"scale": p.scale, "mean": p.mean, "std": p.std})),
        "nodes": nodes.iter().map(|(node, shape, inputs, layer)| json!({
            "name": node.name, "op": node.op.name(), "inputs": inputs, "shape": shape.dims(),
            "weights": layer.map(|l| l.weights()), "zeros": layer.map(|l| zeros(l.tensor)),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let mut text = format!("{}: {} parameters", opened.source.name, thousands(parameters as u64));
        if let Some(bytes) = file_bytes {
            text += &format!(", {} bytes", thousands(bytes));
        }
        text += "\n";
        for input in &graph.inputs {
            text += &format!("input   {} {}\n", input.name, input.shape);
        }
        for &id in &graph.outputs {
            text += &format!("output  {} {}\n", graph.name(id), shapes[usize::from(id.0)]);
        }
        if let Some(p) = &opened.source.preprocess {
            text += &format!("inputs are (x * {} - {:?}) / {:?}\n", p.scale, p.mean, p.std);
        }
        let lower = plan.lower_bound;
        text += &format!(
            "arena   {} bytes (no plan can do with less than {})\n\n",
            thousands(arena),
            thousands(lower)
        );
        let rows = nodes.iter().map(|(node, shape, inputs, layer)| {
            let weights = layer.map_or(String::new(), |l| thousands(l.weights() as u64));
            let sparsity = layer.map_or(String::new(), |l| percent(zeros(l.tensor) as f64 / l.weights() as f64));
            vec![
                node.name.clone(),
                node.op.name().into(),
                inputs.join(", "),
                shape.to_string(),
                weights,
                sparsity,
            ]
        });
        text + &table(&["node", "operator", "inputs", "output", "weights", "zeros"], 4, rows)
    })?;
    Ok(())
}

/// The options that a file's plan was made with, as far as its lower bound depends on them.
fn options_of(model: &Model<'_>) -> PlanOptions {
    let packed = (0..model.node_count()).any(|node| model.plan().scratch(node).bytes() > 0);
    let scratch = if packed { Scratch::Packed } else { Scratch::None };
    PlanOptions {
        scratch,
        align: model.plan().align(),
    }
}
