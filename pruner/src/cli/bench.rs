//! `secateur bench`

use std::time::Duration;

use secateur_format::encoding::MatrixDesc;
use serde_json::{Value, json};

use super::args::BenchArgs;
use super::error::CliError;
use super::model::{Opened, dense_options, read};
use super::output::{Output, table};
use crate::bench::{BenchOptions, Timing, measure};

pub(super) fn run(args: &BenchArgs, out: &Output) -> Result<(), CliError> {
    if !(0.0..=3600.0).contains(&args.seconds) {
        return Err(CliError::usage("--seconds must be between 0 and 3600"));
    }
    let path = &args.model.model;
    let opened = Opened::new(path, out)?;
    let runnable = opened.runnable(&dense_options())?;
    let model = runnable.model(path)?;
    let (dense_bytes, values) = opened.dense()?;
    let dense = read(dense_bytes.as_ref(), path)?;
    let options = BenchOptions {
        runs: args.runs,
        time: Duration::from_secs_f64(args.seconds),
    };
    let measured = measure(&[&model, &dense], args.kernels.get(), &options);
    let measured = measured.map_err(|e| CliError::unreadable(path, e))?;
    let [this, twin] = measured.as_slice() else {
        return Ok(());
    };

    let name = |id| model.name(id).map_or_else(|| format!("value{}", id.0), str::to_owned);
    let nodes: Vec<Node<'_>> = model
        .nodes()
        .zip(this.nodes.iter().zip(&twin.nodes))
        .map(|(node, (this, dense))| Node {
            name: name(node.output),
            op: node.op.name(),
            weights: node.op.weight().and_then(|id| Some(model.tensor(id)?.0)),
            this,
            dense,
        })
        .collect();
    let speedup = ratio(&twin.total, &this.total);
    let json = json!({
        "median_us": this.total.median_us,
        "p10_us": this.total.p10_us,
        "p90_us": this.total.p90_us,
        "dense_median_us": twin.total.median_us,
        "dense_p10_us": twin.total.p10_us,
        "dense_p90_us": twin.total.p90_us,
        "dense_values": values.name(),
        "speedup": speedup,
        "runs": this.runs,
        "layers": nodes.iter().map(Node::json).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let header = [
            "node",
            "operator",
            "weights",
            "median us",
            "spread",
            "dense us",
            "speedup",
        ];
        let layers = table(&header, 3, nodes.iter().map(Node::cells));
        let line = |what: &str, t: &Timing| {
            let Timing {
                median_us,
                p10_us,
                p90_us,
            } = t;
            format!("{what} median {median_us:.1} us (a tenth below {p10_us:.1}, a tenth above {p90_us:.1})\n")
        };
        let lines = line("this model:", &this.total) + &line(&format!("dense {values}:"), &twin.total);
        format!(
            "{layers}\n{lines}speedup {speedup:.2} over {} runs, one thread, alternating\n",
            this.runs
        )
    })?;
    Ok(())
}

fn ratio(a: &Timing, b: &Timing) -> f64 {
    if b.median_us > 0.0 {
        a.median_us / b.median_us
    } else {
        0.0
    }
}

/// A node's times, beside those of its dense twin.
struct Node<'t> {
    name: String,
    op: &'static str,
    weights: Option<MatrixDesc>,
    this: &'t Timing,
    dense: &'t Timing,
}

impl Node<'_> {
    fn json(&self) -> Value {
        json!({
            "node": self.name,
            "op": self.op,
            "encoding": self.weights.map(|desc| desc.encoding.to_string()),
            "values": self.weights.map(|desc| desc.values.name()),
            "median_us": self.this.median_us,
            "p10_us": self.this.p10_us,
            "p90_us": self.this.p90_us,
            "dense_median_us": self.dense.median_us,
            "speedup": ratio(self.dense, self.this),
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.op.to_owned(),
            self.weights
                .map_or(String::new(), |desc| format!("{} {}", desc.encoding, desc.values)),
            format!("{:.1}", self.this.median_us),
            format!("{:.1}-{:.1}", self.this.p10_us, self.this.p90_us),
            format!("{:.1}", self.dense.median_us),
            format!("{:.2}", ratio(self.dense, self.this)),
        ]
    }
}
