//! `secateur kernels`

use secateur_runtime::kernel::{ALL, Kernel};
use serde_json::json;

use super::error::CliError;
use super::output::{Output, table};
use crate::engine::isa_name;

pub(super) fn run(out: &Output) -> Result<(), CliError> {
    let lower = |name: &dyn std::fmt::Debug| format!("{name:?}").to_lowercase();
    let json = json!({
        "kernels": ALL.iter().map(|k| json!({
            "name": k.name,
            "problem": lower(&k.problem()),
            "encoding": lower(&k.layout),
            "values": k.values.name(),
            "isa": isa_name(k.isa),
            "available": k.isa.available(),
        })).collect::<Vec<_>>()
    });
    out.result(&json, || {
        let cells = |k: &Kernel| {
            let available = if k.isa.available() {
                "available"
            } else {
                "not on this CPU"
            };
            let (problem, layout) = (lower(&k.problem()), lower(&k.layout));
            vec![
                k.name.to_owned(),
                problem,
                layout,
                k.values.name().to_owned(),
                isa_name(k.isa),
                available.to_owned(),
            ]
        };
        let header = [
            "kernel, the preferred first",
            "problem",
            "encoding",
            "values",
            "isa",
            "",
        ];
        table(&header, 6, ALL.iter().map(cells))
    })?;
    Ok(())
}
