//! What is told of a layer.

use serde_json::{Value, json};

use super::super::convert::layer_json;
use super::super::output::{percent, table, thousands};
use crate::advice::{Advice, Caches, Layout, Outlook, Way};
use crate::emit::Choice;

/// A layer: how it is stored, and how it runs.
pub(super) struct ExplainedLayer {
    pub(super) choice: Choice,
    pub(super) kernel: &'static str,
    pub(super) advice: Advice,
    pub(super) caches: Caches,
}

impl ExplainedLayer {
    pub(super) fn json(&self) -> Value {
        let mut layer = layer_json(&self.choice);
        layer["kernel"] = json!(self.kernel);
        let candidates = self.choice.candidates.iter();
        layer["candidates"] = candidates
            .map(|c| json!({"encoding": c.desc.encoding.to_string(), "bytes": c.bytes, "stored": c.desc.stored}))
            .collect();
        layer["ways"] = self.advice.ways.iter().map(|way| self.way_json(way)).collect();
        layer["margin"] = json!(self.advice.margin());
        layer["speedup"] = json!(self.advice.speedup());
        layer["outlooks"] = self.advice.outlooks.iter().map(outlook_json).collect();
        layer
    }

    fn way_json(&self, way: &Way) -> Value {
        let (tiling, encoding) = match way.layout {
            Layout::Repacked(tiling) => (Some(tiling), None),
            Layout::Encoded(encoding) => (None, Some(encoding.to_string())),
        };
        json!({
            "kernel": way.kernel.name,
            "encoding": encoding,
            "vectors": tiling.map(|tiling| tiling.vectors),
            "window": tiling.map(|tiling| tiling.window),
            "bytes": way.bytes,
            "level": self.caches.level(way.bytes),
            "predicted_us": way.predicted_us,
            "measured_us": way.measured_us,
        })
    }

    pub(super) fn text(&self, shown: usize) -> String {
        let mut text = self.storage(shown);
        if !self.advice.ways.is_empty() {
            text += &self.ways(shown);
        }
        [self.verdict(), self.faster(), self.change()]
            .into_iter()
            .flatten()
            .for_each(|line| text += &format!("  {line}\n"));
        text
    }

    /// How it is stored, and why.
    fn storage(&self, shown: usize) -> String {
        let choice = &self.choice;
        let (rows, cols) = choice.shape;
        let mut text = format!(
            "{} ({}), {rows}x{cols}: {} of {} weights, {} zeros\n  stored as {} in {} bytes, run by {}\n  {}\n",
            choice.node,
            choice.op,
            thousands(choice.nonzeros),
            thousands(choice.weights()),
            percent(choice.sparsity()),
            choice.chosen.desc.encoding,
            thousands(choice.chosen.bytes),
            self.kernel,
            choice.reason,
        );
        let dense = choice.dense_bytes().max(1) as f64;
        let rows = choice.candidates.iter().take(shown).map(|c| {
            let mark = if c.desc.encoding == choice.chosen.desc.encoding {
                "*"
            } else {
                ""
            };
            vec![
                format!("  {}{mark}", c.desc.encoding),
                thousands(c.bytes),
                format!("{:.2}", c.bytes as f64 / dense),
                format!("{:.1}", 8.0 * c.bytes as f64 / choice.nonzeros.max(1) as f64),
            ]
        });
        text += &table(&["  candidate", "bytes", "of dense", "bits/nnz"], 1, rows);
        text + &more(choice.candidates.len(), shown)
    }

    /// The ways to run it.
    fn ways(&self, shown: usize) -> String {
        let time = |us: Option<f64>| us.map_or(String::new(), |us| format!("{us:.1}"));
        let rows = self.advice.ways.iter().take(shown).enumerate().map(|(i, way)| {
            let layout = match way.layout {
                Layout::Repacked(tiling) => format!("{} x {}", tiling.vectors, tiling.window),
                Layout::Encoded(encoding) => encoding.to_string(),
            };
            vec![
                format!("  {}{}", way.kernel.name, if i == 0 { "*" } else { "" }),
                layout,
                self.caches.level(way.bytes).to_owned(),
                thousands(way.bytes),
                time(way.predicted_us),
                time(way.measured_us),
            ]
        });
        let header = [
            "  kernel",
            "vectors x window",
            "fits",
            "bytes",
            "predicted us",
            "measured us",
        ];
        table(&header, 3, rows) + &more(self.advice.ways.len(), shown)
    }

    /// How clear the choice is.
    fn verdict(&self) -> Option<String> {
        let advice = &self.advice;
        let margin = advice
            .margin()
            .map(|margin| format!("predicted {margin:.2}x as fast as the next kernel"));
        let dense = advice.chosen()?.dense;
        let speedup = advice.speedup().filter(|_| !dense);
        let speedup = speedup.map(|speedup| format!("measured {speedup:.2}x as fast as dense"));
        let parts: Vec<String> = margin.into_iter().chain(speedup).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// What would have been the better choice.
    fn faster(&self) -> Option<String> {
        let (faster, chosen) = (self.advice.faster()?, self.advice.chosen()?);
        let ratio = chosen.measured_us? / faster.measured_us?;
        let name = faster.kernel.name;
        (ratio >= 1.05).then(|| {
            format!("measured, {name} is {ratio:.2}x as fast as the one chosen (see `bench --tune` and `--calibrate`)")
        })
    }

    /// What other weights would do.
    fn change(&self) -> Option<String> {
        let first = self.advice.outlooks.first()?;
        let told = self.advice.outlooks.iter().map(|outlook| {
            let from = match outlook.break_even {
                Some(sparsity) => format!("breaks even at {:.0} %", 100.0 * sparsity),
                None => "never breaks even".to_owned(),
            };
            format!("{} would give {:.2}x ({from})", outlook.pattern, outlook.speedup)
        });
        let told: Vec<String> = told.collect();
        Some(format!("predicted at {}: {}", percent(first.sparsity), told.join(", ")))
    }
}

fn more(count: usize, shown: usize) -> String {
    match count.checked_sub(shown) {
        Some(hidden) if hidden > 0 => format!("  and {hidden} more (--all)\n"),
        _ => String::new(),
    }
}

fn outlook_json(outlook: &Outlook) -> Value {
    json!({
        "pattern": outlook.pattern.to_string(),
        "sparsity": outlook.sparsity,
        "speedup": outlook.speedup,
        "break_even": outlook.break_even,
    })
}
