//! `secateur bench`

mod assertion;
mod calibrate;
mod layer;
mod synthetic;

use std::time::Duration;

use serde_json::{Value, json};

use super::args::BenchArgs;
use super::error::CliError;
use super::model::{Opened, read};
use super::output::{Output, percent, table, thousands};
use crate::bench::{BenchOptions, Ceiling, Measured, Timing, measure};
use crate::emit::{EncodingChoice, Family};
use crate::engine::{Engine, isa_name};

pub(super) use assertion::Assertion;
use assertion::Numbers;
use layer::BenchLayer;
pub(super) use synthetic::SyntheticArgs;

pub(super) fn run(args: &BenchArgs, out: &Output) -> Result<(), CliError> {
    if !(0.0..=3600.0).contains(&args.seconds) {
        return Err(CliError::usage("--seconds must be between 0 and 3600"));
    }
    let path = match (&args.model, &args.calibrate) {
        (_, Some(output)) => return calibrate::run(output, args.force, &args.options()?, out),
        (Some(model), None) => model,
        (None, None) => return Err(CliError::usage("name a model, or --calibrate")),
    };
    let engine = args.engine()?;
    let opened = Opened::new(path, out)?;
    let graph = &opened.source.graph;
    let pruned = args.synthetic.prune(graph, out)?;
    let dense_only = EncodingChoice::Only(Family::Dense);
    let dense_bytes = opened.unchecked(graph, dense_only)?;
    let own = match &pruned {
        Some(pruned) => Some(opened.unchecked(pruned, EncodingChoice::Auto)?),
        None => None,
    };
    // A model that is no `.sct` file has dense weights: it is its own twin.
    let bytes = match (&own, opened.bytes()) {
        (Some(own), _) => own.as_ref(),
        (None, []) => dense_bytes.as_ref(),
        (None, file) => file,
    };
    let (model, dense) = (read(bytes, path)?, read(dense_bytes.as_ref(), path)?);
    let options = BenchOptions {
        runs: args.runs,
        time: Duration::from_secs_f64(args.seconds),
        batch: args.batch,
    };
    let ceiling = Ceiling::measure(&engine);
    let measured = measure(&[&model, &dense], &engine, &options);
    let measured = measured.map_err(|e| CliError::unreadable(path, e))?;
    let [this, twin] = measured.as_slice() else {
        return Ok(());
    };
    let result = BenchResult {
        engine: &engine,
        batch: args.batch,
        this,
        twin,
        dense_values: opened.values()?.name(),
        ceiling,
        layers: layer::layers(&model, &dense, this, twin, args.batch),
        numbers: Numbers {
            speedup: ratio(&twin.total, &this.total),
            median_us: this.total.median_us,
            p90_us: this.total.p90_us,
            bytes: bytes.len(),
            arena_bytes: model.plan().arena_bytes(),
        },
        dense_bytes: dense_bytes.as_ref().len(),
    };
    let mut json = result.json();
    json["assertions"] = args
        .assertions
        .iter()
        .map(|assertion| {
            let (found, holds) = (assertion.found(&result.numbers), assertion.holds(&result.numbers));
            json!({"assertion": assertion.to_string(), "found": found, "holds": holds})
        })
        .collect();
    out.result(&json, || result.text())?;
    check(&args.assertions, &result.numbers)
}

/// The result was printed: whoever looks for the reason has the numbers.
fn check(assertions: &[Assertion], numbers: &Numbers) -> Result<(), CliError> {
    let failed = assertions.iter().filter(|assertion| !assertion.holds(numbers));
    let failed: Vec<String> = failed
        .map(|assertion| format!("`{assertion}` does not hold: found {:.3}", assertion.found(numbers)))
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(CliError::check(failed.join("; "))),
    }
}

/// How much faster `b` is than `a`.
fn ratio(a: &Timing, b: &Timing) -> f64 {
    if b.median_us > 0.0 {
        a.median_us / b.median_us
    } else {
        0.0
    }
}

/// All that is reported.
struct BenchResult<'r> {
    engine: &'r Engine,
    batch: usize,
    this: &'r Measured,
    twin: &'r Measured,
    dense_values: &'static str,
    ceiling: Ceiling,
    layers: Vec<BenchLayer>,
    numbers: Numbers,
    dense_bytes: usize,
}

impl BenchResult<'_> {
    /// The best instruction set that may run.
    fn isa(&self) -> String {
        let best = self.engine.kernels().iter().find(|kernel| kernel.isa.available());
        best.map_or_else(String::new, |kernel| isa_name(kernel.isa))
    }

    fn prepared(&self) -> bool {
        matches!(self.engine, Engine::Prepared(_))
    }

    fn repacked_bytes(&self) -> usize {
        self.this.nodes.iter().filter_map(|node| node.repacked_bytes).sum()
    }

    fn samples_per_second(&self) -> f64 {
        1e6 * self.batch as f64 / self.this.total.median_us.max(1e-3)
    }

    fn json(&self) -> Value {
        let (this, twin) = (&self.this.total, &self.twin.total);
        json!({
            "median_us": this.median_us,
            "p10_us": this.p10_us,
            "p90_us": this.p90_us,
            "dense_median_us": twin.median_us,
            "dense_p10_us": twin.p10_us,
            "dense_p90_us": twin.p90_us,
            "dense_values": self.dense_values,
            "speedup": self.numbers.speedup,
            "runs": self.this.runs,
            "batch": self.batch,
            "samples_per_second": self.samples_per_second(),
            "threads": self.engine.threads(),
            "isa": self.isa(),
            "prepared": self.prepared(),
            "prepare_us": self.this.prepare_us,
            "bytes": self.numbers.bytes,
            "dense_bytes": self.dense_bytes,
            "arena_bytes": self.numbers.arena_bytes,
            "repacked_bytes": self.repacked_bytes(),
            "peak_gflops": self.ceiling.flops.map(|flops| flops / 1e9),
            "peak_gbytes_per_second": self.ceiling.bandwidth / 1e9,
            "layers": self.layers.iter().map(|layer| layer.json(&self.ceiling)).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let rows = self.layers.iter().map(|layer| layer.cells(&self.ceiling));
        let layers = table(&layer::HEADER, 4, rows);
        let line = |what: &str, t: &Timing| {
            let Timing {
                median_us,
                p10_us,
                p90_us,
            } = t;
            format!("{what} median {median_us:.1} us (a tenth below {p10_us:.1}, a tenth above {p90_us:.1})\n")
        };
        let times =
            line("this model:", &self.this.total) + &line(&format!("dense {}:", self.dense_values), &self.twin.total);
        let peak = match self.ceiling.flops {
            Some(flops) => format!("peak {:.1} GFLOP/s", flops / 1e9),
            None => "peak unknown".to_owned(),
        };
        let weights = match self.prepared() {
            true => format!(
                "{} bytes of weights repacked in {:.1} ms",
                thousands(self.repacked_bytes() as u64),
                self.this.prepare_us / 1e3
            ),
            false => "weights as the file stores them".to_owned(),
        };
        let batch = match self.batch {
            1 => "one sample a run".to_owned(),
            batch => format!(
                "{batch} samples a run, one after another: {:.0} a second",
                self.samples_per_second()
            ),
        };
        format!(
            "{layers}\n{times}speedup {:.2} over {} runs of each, alternating; {batch}\n\
             {} thread(s), {}, {weights}; {peak}, {:.1} GB/s; file {} bytes, {} of dense\n",
            self.numbers.speedup,
            self.this.runs,
            self.engine.threads(),
            self.isa(),
            self.ceiling.bandwidth / 1e9,
            thousands(self.numbers.bytes as u64),
            percent(self.numbers.bytes as f64 / self.dense_bytes.max(1) as f64),
        )
    }
}
