//! Golden files: the writer's bytes do not change by accident, and readers in
//! other languages have something to compare with. `SECATEUR_BLESS=1` rewrites
//! them. Beside each file a JSON document says what it holds; it is made from
//! what went into the writer, not from what the reader returns.

use std::fs;
use std::path::PathBuf;

use secateur_format::op::{Conv2d, Linear, Pool, PoolKind};
use secateur_format::plan::planner::PlanOptions;
use secateur_format::{Activation, Limits, Model, Op, ValueId};
use serde_json::{Value, json};

use crate::change::Parts;
use crate::forge::{File, walk};
use crate::samples::{self, Sample};

/// Small enough to be read in a hex editor.
const MOST_BYTES: usize = 4 << 10;

fn activation(a: Activation) -> Value {
    match a {
        Activation::LeakyRelu(slope) => json!({ "kind": a.name(), "slope": slope }),
        _ => json!({ "kind": a.name() }),
    }
}

fn attributes(op: &Op) -> Value {
    let id = |bias: Option<secateur_format::TensorId>| bias.map(|b| b.0);
    match op {
        Op::Conv2d(c) => {
            let Conv2d {
                weight,
                bias,
                out_channels,
                groups,
                kernel,
                stride,
                dilation,
                pads,
                activation: a,
            } = c;
            json!({ "weight": weight.0, "bias": id(*bias), "out_channels": out_channels, "groups": groups,
                "kernel": kernel, "stride": stride, "dilation": dilation, "pads": pads, "activation": activation(*a) })
        }
        Op::Linear(Linear {
            weight,
            bias,
            out_features,
            activation: a,
        }) => {
            json!({ "weight": weight.0, "bias": id(*bias), "out_features": out_features, "activation": activation(*a) })
        }
        Op::Activation(a) | Op::Add(a) => json!({ "activation": activation(*a) }),
        Op::Concat { axis } | Op::Softmax { axis } => json!({ "axis": axis }),
        Op::Pool(Pool {
            kind,
            kernel,
            stride,
            pads,
        }) => {
            let kind = match kind {
                PoolKind::Max => "max",
                PoolKind::Average => "average",
                PoolKind::AverageWithPadding => "average_with_padding",
            };
            json!({ "pool": kind, "kernel": kernel, "stride": stride, "pads": pads })
        }
        Op::Reshape(shape) => json!({ "shape": shape.dims() }),
        Op::Pad { before, after, value } => json!({ "before": before, "after": after, "value": value }),
        Op::Slice { start, end, step } => json!({ "start": start, "end": end, "step": step }),
        _ => json!({}),
    }
}

fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Activation(_) => "activation",
        Op::Pool(_) => "pool",
        op => op.name(),
    }
}

/// What a reader must find in the sample's file.
fn content(sample: &Sample) -> Value {
    let (graph, layout) = (&sample.graph, sample.layout());
    let plan = layout.plan();
    let kept = !sample.extras.strip;
    let values: Vec<Value> = graph
        .shapes()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(id, shape)| {
            let name = kept.then(|| graph.name(ValueId(id as u16)));
            json!({ "shape": shape.dims(), "name": name, "offset": plan.values[id].0, "last_use": plan.values[id].1 })
        })
        .collect();
    let nodes: Vec<Value> = graph
        .nodes
        .iter()
        .zip(&plan.scratch)
        .map(|(node, scratch)| {
            let inputs: Vec<u16> = node.inputs.iter().map(|id| id.0).collect();
            json!({ "op": op_name(&node.op), "inputs": inputs, "attributes": attributes(&node.op), "scratch": scratch })
        })
        .collect();
    let tensors: Vec<Value> = sample
        .descs()
        .iter()
        .zip(sample.quantized())
        .map(|(desc, quantized)| {
            json!({ "encoding": desc.encoding.to_string(), "values": desc.values.name(), "rows": desc.rows,
            "cols": desc.cols, "stored": desc.stored, "weights": quantized.to_f32() })
        })
        .collect();
    let preprocess = sample.extras.preprocess.as_ref().filter(|_| kept);
    json!({
        "inputs": graph.inputs.len(),
        "outputs": graph.outputs.iter().map(|id| id.0).collect::<Vec<_>>(),
        "values": values,
        "nodes": nodes,
        "tensors": tensors,
        "arena_bytes": plan.arena_bytes,
        "align": plan.align,
        "preprocess": preprocess.map(|p| json!({ "scale": p.scale, "mean": p.mean, "std": p.std })),
        "tuning": sample.extras.tuning.as_ref().filter(|_| kept).map(|tuning| json!({
            "machine": tuning.machine,
            "nodes": tuning.nodes.iter()
                .map(|t| json!({ "node": t.node, "vectors": t.vectors, "window": t.window, "kernel": t.kernel }))
                .collect::<Vec<_>>(),
        })),
        "info": if kept { sample.extras.info.as_slice() } else { &[] },
    })
}

/// One line per value, node and tensor: readable differences.
fn to_text(content: &Value) -> String {
    let fields = content.as_object().unwrap().iter().map(|(key, value)| match value {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let lines: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
            format!("  {}: [\n{}\n  ]", json!(key), lines.join(",\n"))
        }
        _ => format!("  {}: {value}", json!(key)),
    });
    format!("{{\n{}\n}}\n", fields.collect::<Vec<_>>().join(",\n"))
}

/// A file as a later minor version may write it, and what this version finds in it.
fn later() -> (File, Value) {
    let mut sample = samples::corners();
    sample.options = PlanOptions {
        align: 16,
        ..PlanOptions::default()
    };
    let mut parts = Parts::of(&sample);
    (parts.minor, parts.optional) = (7, 0x8000_0001);
    parts.sections.push((200, 1, b"later".to_vec()));
    parts.sections.push((u32::MAX, 1, Vec::new()));
    (parts.file(), content(&sample))
}

#[test]
fn golden_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("SECATEUR_BLESS").is_some();
    let samples = samples::all().into_iter();
    let written = samples.map(|(name, sample)| (name, (sample.file(), content(&sample))));
    for (name, (file, content)) in written.chain([("later".into(), later())]) {
        assert!(file.bytes().len() <= MOST_BYTES, "{name}: {} bytes", file.bytes().len());
        walk(&Model::read(file.bytes(), &Limits::HOST).unwrap());
        for (extension, bytes) in [("sct", file.bytes()), ("json", to_text(&content).as_bytes())] {
            let path = folder.join(&name).with_extension(extension);
            if bless {
                fs::write(&path, bytes).unwrap();
            }
            let golden = fs::read(&path).unwrap_or_default();
            let hint = "if that is meant: SECATEUR_BLESS=1 cargo test -p secateur-format";
            assert!(
                golden == bytes,
                "{} differs from what is written now; {hint}",
                path.display()
            );
        }
    }
}
