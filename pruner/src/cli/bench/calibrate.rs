//! `secateur bench --calibrate`

use std::path::Path;

use secateur_runtime::kernel::Run;
use secateur_runtime::prepared::{Machine, Options, cpu_name};
use serde_json::json;

use super::super::convert::{check_output, save};
use super::super::error::CliError;
use super::super::output::Output;
use crate::machine::to_json;

/// Measures the kernels of `options`, and writes the machine file.
pub(super) fn run(path: &Path, force: bool, options: &Options, out: &Output) -> Result<(), CliError> {
    check_output(path, force)?;
    let panels = options
        .kernels
        .iter()
        .filter(|kernel| matches!(kernel.run, Run::Panel(_)) && kernel.isa.available());
    let bar = out.progress(panels.count(), "calibrate");
    let machine = Machine::calibrate(&cpu_name(), options, |_| bar.inc(1));
    bar.finish_and_clear();
    let text = to_json(&machine).map_err(|e| CliError::unreadable(path, e))?;
    save(path, force, text.as_bytes())?;
    let kernels: Vec<&String> = machine.kernels.iter().map(|(name, _)| name).collect();
    let json = json!({"output": path, "machine": machine.name, "kernels": kernels});
    out.result(&json, || {
        let path = path.display();
        format!(
            "{path}: {} kernels measured on {}; use it with --machine {path}\n",
            kernels.len(),
            machine.name
        )
    })?;
    Ok(())
}
