//! `secateur kernels`

use secateur_runtime::kernel::ALL;
use serde_json::json;

use super::error::CliError;
use super::output::{Output, table};

pub(super) fn run(out: &Output) -> Result<(), CliError> {
    let lower = |name: &dyn std::fmt::Debug| format!("{name:?}").to_lowercase();
    let kernels: Vec<_> = ALL
        .iter()
        .map(|k| {
            (
                k.name,
                lower(&k.problem()),
                lower(&k.layout),
                k.values.name(),
                lower(&k.isa),
            )
        })
        .collect();
    let json = json!({
        "kernels": kernels
            .iter()
            .map(|(name, problem, layout, values, isa)| {
                json!({"name": name, "problem": problem, "encoding": layout, "values": values, "isa": isa})
            })
            .collect::<Vec<_>>()
    });
    out.result(&json, || {
        let rows = kernels.iter().map(|(name, problem, layout, values, isa)| {
            [*name, problem, layout, values, isa].map(str::to_owned).to_vec()
        });
        table(
            &["kernel, the preferred first", "problem", "encoding", "values", "isa"],
            5,
            rows,
        )
    })?;
    Ok(())
}
