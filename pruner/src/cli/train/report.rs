//! What a training has brought.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::{Output, percent, table};
use crate::train::{Evaluation, NodeTime};

pub(super) struct Report<'a> {
    pub(super) folder: &'a Path,
    pub(super) metrics: &'a [Value],
    pub(super) evaluation: Option<&'a Evaluation>,
    pub(super) names: &'a [String],
    pub(super) sparsity: f64,
    pub(super) seconds: f64,
    /// Samples per second.
    pub(super) rate: f64,
    pub(super) bytes: u64,
    pub(super) times: Option<&'a [NodeTime]>,
}

impl Report<'_> {
    pub(super) fn print(&self, out: &Output) -> Result<(), CliError> {
        let json = json!({
            "folder": self.folder,
            "epochs": self.metrics,
            "test": self.evaluation.map(|test| json!({
                "accuracy": test.accuracy.fraction(),
                "correct": test.accuracy.total_correct(),
                "count": test.accuracy.total(),
                "loss": test.loss,
                "per_class": self.classes().collect::<Vec<_>>(),
            })),
            "sparsity": self.sparsity,
            "seconds": self.seconds,
            "images_per_second": self.rate,
            "batch_bytes": self.bytes,
            "nodes": self.times.map(|times| times.iter().map(time_json).collect::<Vec<_>>()),
        });
        Ok(out.result(&json, || self.text())?)
    }

    /// Each class with its name, samples and those that are correct.
    fn classes(&self) -> impl Iterator<Item = Value> {
        let accuracy = self.evaluation.map(|test| &test.accuracy);
        let classes = accuracy
            .into_iter()
            .flat_map(|accuracy| accuracy.count.iter().zip(&accuracy.correct));
        classes.enumerate().map(|(class, (&count, &correct))| {
            let name = self.names.get(class).cloned().unwrap_or_else(|| class.to_string());
            let accuracy = (count > 0).then(|| correct as f64 / count as f64);
            json!({ "class": class, "name": name, "count": count, "correct": correct, "accuracy": accuracy })
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(test) = self.evaluation {
            let rows = self.classes().map(|class| {
                let accuracy = class["accuracy"].as_f64().map_or_else(String::new, percent);
                let name = class["name"].as_str().unwrap_or_default().to_owned();
                vec![name, class["correct"].to_string(), class["count"].to_string(), accuracy]
            });
            text += &table(&["class", "correct", "of", "accuracy"], 1, rows);
            let (correct, total) = (test.accuracy.total_correct(), test.accuracy.total());
            text += &format!(
                "\naccuracy {:.2} % ({correct} of {total})\n",
                100.0 * test.accuracy.fraction()
            );
        }
        if let Some(times) = self.times {
            text += &profile(times);
        }
        text += &format!(
            "{:.1} s, {:.0} images/s, {:.0} MB for batches; the model is in {}\n",
            self.seconds,
            self.rate,
            self.bytes as f64 / 1e6,
            self.folder.display()
        );
        text
    }
}

fn time_json(time: &NodeTime) -> Value {
    json!({
        "name": time.name,
        "op": time.op,
        "forward_ms": 1e3 * time.forward.as_secs_f64(),
        "backward_ms": 1e3 * time.backward.as_secs_f64(),
        "multiplications": time.multiplications,
    })
}

/// The time of each node, and of each operator, summed over threads.
fn profile(times: &[NodeTime]) -> String {
    let total: f64 = times
        .iter()
        .map(|time| (time.forward + time.backward).as_secs_f64())
        .sum();
    let row = |name: String, op: &str, all: &[&NodeTime]| {
        let forward: f64 = all.iter().map(|time| time.forward.as_secs_f64()).sum();
        let backward: f64 = all.iter().map(|time| time.backward.as_secs_f64()).sum();
        let flops = 2.0 * all.iter().map(|time| time.multiplications as f64).sum::<f64>();
        let speed = |flops: f64, seconds: f64| match flops {
            0.0 => String::new(),
            flops => format!("{:.0}", flops / seconds / 1e9),
        };
        vec![
            name,
            op.to_owned(),
            format!("{:.0}", 1e3 * forward),
            speed(flops, forward),
            format!("{:.0}", 1e3 * backward),
            speed(2.0 * flops, backward),
            percent((forward + backward) / total),
        ]
    };
    let mut ops: Vec<&str> = times.iter().map(|time| time.op).collect();
    ops.sort_unstable();
    ops.dedup();
    let nodes = times.iter().map(|time| row(time.name.clone(), time.op, &[time]));
    let sums = ops.into_iter().map(|op| {
        let all: Vec<&NodeTime> = times.iter().filter(|time| time.op == op).collect();
        row("all".to_owned(), op, &all)
    });
    let header = [
        "node",
        "operator",
        "forward ms",
        "GFLOP/s",
        "backward ms",
        "GFLOP/s",
        "share",
    ];
    format!("\ntime, summed over threads\n{}", table(&header, 2, nodes.chain(sums)))
}
