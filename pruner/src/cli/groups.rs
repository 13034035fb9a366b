//! Coupled channels, as `inspect` shows them.

use secateur_format::graph::Graph;
use serde_json::{Value, json};

use crate::structured::{Axis, Coupling, Group, Slices};

/// What a constant's axis holds, and the constant's name.
fn member<'g>(graph: &'g Graph, slices: &Slices) -> (&'static str, &'g str) {
    let tensor = graph.tensor(slices.tensor);
    let what = match (slices.axis, tensor.map(|tensor| tensor.rows)) {
        (Axis::Rows, _) => "rows",
        (Axis::Cols, Some(1)) => "entries",
        (Axis::Cols, _) => "columns",
    };
    (what, tensor.map_or("", |tensor| tensor.name.as_str()))
}

pub(super) fn groups_json(graph: &Graph, coupling: &Coupling) -> Value {
    let group = |group: &Group| {
        let members = coupling.members(group).map(|(slices, count)| {
            let (what, tensor) = member(graph, slices);
            json!({"node": graph.nodes[slices.node].name, "tensor": tensor, "what": what, "count": count})
        });
        json!({
            "name": group.name,
            "channels": group.channels.len() * group.width,
            "width": group.width,
            "layers": group.layers,
            "ties": group.ties,
            "pins": group.pins,
            "members": members.collect::<Vec<_>>(),
        })
    };
    coupling.groups.iter().map(group).collect()
}

/// A paragraph per group.
pub(super) fn groups_text(graph: &Graph, coupling: &Coupling) -> String {
    let mut text = String::new();
    for group in &coupling.groups {
        let whole = match group.width {
            1 => String::new(),
            width => format!(", {width} at a time"),
        };
        text += &format!(
            "\n{}: {} channels{whole}\n",
            group.name,
            group.channels.len() * group.width
        );
        for pin in &group.pins {
            text += &format!("  stays: {pin}\n");
        }
        for tie in &group.ties {
            text += &format!("  coupled: {tie}\n");
        }
        let members = coupling.members(group).filter(|_| group.pins.is_empty());
        let members = members.map(|(slices, count)| {
            let (what, tensor) = member(graph, slices);
            format!("{count} {what} of {tensor}")
        });
        let members: Vec<String> = members.collect();
        if !members.is_empty() {
            text += &format!("  with each: {}\n", members.join(", "));
        }
    }
    text
}
