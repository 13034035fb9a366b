//! Machine files: what calibration has measured, as JSON.

use std::collections::BTreeMap;

use secateur_runtime::prepared::{Costs, Machine};
use serde::{Deserialize, Serialize};

/// What a machine file holds.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MachineFile {
    /// The CPU, in words.
    machine: String,
    /// Bytes of the first-level cache that panels may count on; as on this machine if it is not said.
    l1_bytes: Option<f64>,
    /// Nanoseconds per unit of each term of a prediction, by kernel.
    kernels: BTreeMap<String, Costs>,
}

/// The text of a machine file.
///
/// # Errors
/// None for a machine whose costs are numbers.
pub fn to_json(machine: &Machine) -> Result<String, serde_json::Error> {
    let file = MachineFile {
        machine: machine.name.clone(),
        l1_bytes: Some(machine.l1_bytes),
        kernels: machine.kernels.iter().cloned().collect(),
    };
    Ok(serde_json::to_string_pretty(&file)? + "\n")
}

/// The machine that a file describes. Kernels that this build does not have do no harm.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn from_json(text: &str) -> Result<Machine, String> {
    let file: MachineFile = serde_json::from_str(text).map_err(|e| format!("not a machine file: {e}"))?;
    let wrong = file
        .kernels
        .iter()
        .find(|(_, costs)| costs.iter().any(|cost| *cost < 0.0));
    match wrong {
        Some((name, _)) => Err(format!("a cost of `{name}` is negative")),
        None if file.l1_bytes.is_some_and(|bytes| bytes < 1.0) => Err("`l1_bytes` is less than 1".to_owned()),
        None => Ok(Machine {
            name: file.machine,
            l1_bytes: file.l1_bytes.unwrap_or_else(|| Machine::here().l1_bytes),
            kernels: file.kernels.into_iter().collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_survives_its_file() {
        let machine = Machine {
            name: "a \"fast\" one".to_owned(),
            l1_bytes: 30_000.0,
            kernels: vec![("k".to_owned(), [0.25, 0.0, 3.0, 0.5, 0.4, 0.1, 0.02, 0.7, 0.3, 2.0])],
        };
        assert_eq!(from_json(&to_json(&machine).unwrap()), Ok(machine));
        for text in [
            "",
            "[]",
            "{\"machine\": \"m\"}",
            "{\"machine\": \"m\", \"kernels\": {\"k\": [1]}}",
            "{\"machine\": \"m\", \"l1_bytes\": 0, \"kernels\": {}}",
            "{\"machine\": \"m\", \"kernels\": {\"k\": [1, 1, 1, 1, 1, 1, 1, 1, 1, -1]}}",
        ] {
            assert!(from_json(text).is_err(), "{text}");
        }
    }
}
