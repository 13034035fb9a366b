//! A node's line: its time, beside that of its dense twin and what the machine could do.

use secateur_format::encoding::{MatrixDesc, decode};
use secateur_format::{Node, TensorId};
use secateur_runtime::Model;
use serde_json::{Value, json};

use super::ratio;
use crate::bench::{Ceiling, Measured, NodeMeasured, Timing};

pub(super) const HEADER: [&str; 10] = [
    "node",
    "operator",
    "weights",
    "kernel",
    "median us",
    "spread",
    "of peak",
    "of memory",
    "dense us",
    "speedup",
];

/// A node of the model and of its dense twin.
pub(super) struct BenchLayer {
    name: String,
    op: &'static str,
    weights: Option<MatrixDesc>,
    work: Option<Work>,
    this: NodeMeasured,
    dense: Timing,
}

/// What a node with weights does in a run.
#[derive(Clone, Copy)]
struct Work {
    /// Operations with weights that are not zero.
    flops: f64,
    /// Weights, input and output, each once a sample.
    bytes: f64,
}

pub(super) fn layers(
    model: &Model<'_>,
    dense: &Model<'_>,
    this: &Measured,
    twin: &Measured,
    batch: usize,
) -> Vec<BenchLayer> {
    // The twin is lowered as the model is: nodes correspond.
    debug_assert_eq!(model.node_count(), dense.node_count());
    let times = this.nodes.iter().zip(&twin.nodes);
    let nodes = model.nodes().zip(times);
    nodes
        .map(|(node, (this, twin))| {
            let name = model.name(node.output);
            BenchLayer {
                name: name.map_or_else(|| format!("value{}", node.output.0), str::to_owned),
                op: node.op.name(),
                weights: node.op.weight().and_then(|id| Some(model.tensor(id)?.0)),
                work: node.op.weight().and_then(|id| work(model, &node, id, this, batch)),
                this: this.clone(),
                dense: twin.timing,
            }
        })
        .collect()
}

fn work(model: &Model<'_>, node: &Node<'_>, weight: TensorId, measured: &NodeMeasured, batch: usize) -> Option<Work> {
    let (desc, matrix) = model.tensor(weight)?;
    let nonzeros = decode(&matrix, &desc).iter().filter(|&&w| w != 0.0).count();
    let output = model.shape(node.output).elems();
    let input = model.shape(node.inputs().next()?).elems();
    let columns = output / (desc.rows as usize).max(1);
    let weights = measured.repacked_bytes.unwrap_or(desc.payload_len()? as usize);
    Some(Work {
        flops: (2 * nonzeros * columns * batch) as f64,
        bytes: ((weights + 4 * (input + output)) * batch) as f64,
    })
}

impl BenchLayer {
    /// Fractions of the machine's rates of arithmetic and of memory.
    fn fractions(&self, ceiling: &Ceiling) -> (Option<f64>, Option<f64>) {
        let seconds = self.this.timing.median_us / 1e6;
        let Some(work) = self.work.filter(|_| seconds > 0.0) else {
            return (None, None);
        };
        let of_peak = ceiling.flops.map(|flops| work.flops / seconds / flops);
        (of_peak, Some(work.bytes / seconds / ceiling.bandwidth))
    }

    pub(super) fn json(&self, ceiling: &Ceiling) -> Value {
        let (peak, bandwidth) = self.fractions(ceiling);
        let timing = &self.this.timing;
        json!({
            "node": self.name,
            "op": self.op,
            "encoding": self.weights.map(|desc| desc.encoding.to_string()),
            "values": self.weights.map(|desc| desc.values.name()),
            "kernel": self.this.kernel,
            "fused": self.this.fused,
            "median_us": timing.median_us,
            "p10_us": timing.p10_us,
            "p90_us": timing.p90_us,
            "dense_median_us": self.dense.median_us,
            "speedup": ratio(&self.dense, timing),
            "repacked_bytes": self.this.repacked_bytes,
            "peak_fraction": peak,
            "bandwidth_fraction": bandwidth,
        })
    }

    pub(super) fn cells(&self, ceiling: &Ceiling) -> Vec<String> {
        let (peak, bandwidth) = self.fractions(ceiling);
        let fraction = |f: Option<f64>| f.map_or(String::new(), |f| format!("{:.0} %", 100.0 * f));
        let timing = &self.this.timing;
        let weights = self.weights.map(|desc| format!("{} {}", desc.encoding, desc.values));
        let kernel = match self.this.fused {
            true => Some("fused into the one before"),
            false => self.this.kernel,
        };
        vec![
            self.name.clone(),
            self.op.to_owned(),
            weights.unwrap_or_default(),
            kernel.unwrap_or_default().to_owned(),
            format!("{:.1}", timing.median_us),
            format!("{:.1}-{:.1}", timing.p10_us, timing.p90_us),
            fraction(peak),
            fraction(bandwidth),
            format!("{:.1}", self.dense.median_us),
            format!("{:.2}", ratio(&self.dense, timing)),
        ]
    }
}
