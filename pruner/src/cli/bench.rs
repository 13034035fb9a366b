//! `secateur bench`

use std::time::Duration;

use serde_json::json;

use super::args::BenchArgs;
use super::error::CliError;
use super::model::{Opened, read};
use super::output::{Output, table};
use crate::bench::{BenchOptions, measure};

pub(super) fn run(args: &BenchArgs, out: &Output) -> Result<(), CliError> {
    if !(0.0..=3600.0).contains(&args.seconds) {
        return Err(CliError::usage("--seconds must be between 0 and 3600"));
    }
    let opened = Opened::new(&args.model.model, out)?;
    let runnable = opened.runnable()?;
    let model = runnable.model()?;
    let dense_bytes = opened.dense()?;
    let dense = read(&dense_bytes)?;
    let options = BenchOptions {
        runs: args.runs,
        time: Duration::from_secs_f64(args.seconds),
    };
    let kernels = args.kernels.get();
    let unsupported = |e| CliError::unreadable(&args.model.model, e);
    let measured = measure(&[&model, &dense], kernels, &options).map_err(unsupported)?;
    let [sparse, dense_times] = measured.as_slice() else {
        return Ok(());
    };

    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let speedup = ratio(dense_times.total.median_us, sparse.total.median_us);
    let name = |id| model.name(id).map_or_else(|| format!("value{}", id.0), str::to_owned);
    let nodes: Vec<_> = model
        .nodes()
        .zip(sparse.nodes.iter().zip(&dense_times.nodes))
        .map(|(node, (sparse, dense))| {
            let desc = node.op.weight().and_then(|id| Some(model.tensor(id)?.0));
            let encoding = desc.map_or(String::new(), |desc| format!("{} {}", desc.encoding, desc.values));
            (name(node.output), node.op.name(), encoding, sparse, dense)
        })
        .collect();
    let json = json!({
        "median_us": sparse.total.median_us,
        "p10_us": sparse.total.p10_us,
        "p90_us": sparse.total.p90_us,
        "dense_median_us": dense_times.total.median_us,
        "dense_p10_us": dense_times.total.p10_us,
        "dense_p90_us": dense_times.total.p90_us,
        "speedup": speedup,
        "runs": sparse.runs,
        "layers": nodes.iter().map(|(name, op, encoding, sparse, dense)| json!({
            "node": name, "op": op, "encoding": encoding,
            "median_us": sparse.median_us, "dense_median_us": dense.median_us,
            "speedup": ratio(dense.median_us, sparse.median_us),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let us = |t: f64| format!("{t:.1}");
        let rows = nodes.iter().map(|(name, op, encoding, sparse, dense)| {
            let speedup = format!("{:.2}", ratio(dense.median_us, sparse.median_us));
            vec![
                name.clone(),
                (*op).into(),
                encoding.clone(),
                us(sparse.median_us),
                us(dense.median_us),
                speedup,
            ]
        });
        let header = ["node", "operator", "weights", "median us", "dense us", "speedup"];
        let line = |what: &str, t: &crate::bench::Timing| {
            format!(
                "{what} median {:.1} us (a tenth below {:.1}, a tenth above {:.1})\n",
                t.median_us, t.p10_us, t.p90_us
            )
        };
        let layers = table(&header, 3, rows);
        let (this, dense) = (
            line("this model:", &sparse.total),
            line("dense:     ", &dense_times.total),
        );
        format!(
            "{layers}\n{this}{dense}speedup {speedup:.2} over {} runs, one thread, alternating\n",
            sparse.runs
        )
    })?;
    Ok(())
}
