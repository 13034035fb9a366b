//! `--assert 'speedup>=3'`

use std::fmt;
use std::str::FromStr;

/// What can be asserted, with what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Speedup,
    LatencyMs,
    P90Ms,
    Bytes,
    ArenaBytes,
}

const METRICS: [(&str, Metric); 5] = [
    ("speedup", Metric::Speedup),
    ("latency_ms", Metric::LatencyMs),
    ("p90_ms", Metric::P90Ms),
    ("bytes", Metric::Bytes),
    ("arena_bytes", Metric::ArenaBytes),
];

type Comparison = fn(f64, f64) -> bool;

/// Longer ones first: `>` starts `>=`.
const COMPARISONS: [(&str, Comparison); 4] = [
    (">=", |a, b| a >= b),
    ("<=", |a, b| a <= b),
    (">", |a, b| a > b),
    ("<", |a, b| a < b),
];

/// The numbers that assertions are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) speedup: f64,
    pub(super) median_us: f64,
    pub(super) p90_us: f64,
    pub(super) bytes: usize,
    pub(super) arena_bytes: u32,
}

/// A condition on a result.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Assertion {
    text: String,
    metric: Metric,
    holds: Comparison,
    bound: f64,
}

impl Assertion {
    /// What the assertion is about.
    pub(super) fn found(&self, numbers: &Numbers) -> f64 {
        match self.metric {
            Metric::Speedup => numbers.speedup,
            Metric::LatencyMs => numbers.median_us / 1e3,
            Metric::P90Ms => numbers.p90_us / 1e3,
            Metric::Bytes => numbers.bytes as f64,
            Metric::ArenaBytes => f64::from(numbers.arena_bytes),
        }
    }

    pub(super) fn holds(&self, numbers: &Numbers) -> bool {
        (self.holds)(self.found(numbers), self.bound)
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Assertion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            let metrics = METRICS.map(|(name, _)| name).join(", ");
            format!("`{text}` is no assertion: use one of {metrics}, then one of >=, <=, >, <, then a number")
        };
        let parts = COMPARISONS.iter().find_map(|(symbol, holds)| {
            let (metric, bound) = text.split_once(symbol)?;
            Some((metric.trim(), *holds, bound.trim()))
        });
        let (metric, holds, bound) = parts.ok_or_else(usage)?;
        let (_, metric) = METRICS
            .into_iter()
            .find(|(name, _)| *name == metric)
            .ok_or_else(usage)?;
        let bound = bound
            .parse()
            .ok()
            .filter(|bound: &f64| bound.is_finite())
            .ok_or_else(usage)?;
        Ok(Self {
            text: text.to_owned(),
            metric,
            holds,
            bound,
        })
    }
}
