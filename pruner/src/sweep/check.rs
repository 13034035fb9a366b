//! Claims that a sweep puts to the test.

use serde::{Deserialize, Serialize};

use super::{Row, Spread};
use crate::recipe::Points;

/// One method is better than another, in mean accuracy over the seeds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What is claimed, in words.
    pub claim: String,
    /// The method that must be better,
    better: String,
    /// than this one; `dense` is the network before pruning.
    than: String,
    /// Where; by default wherever both were run.
    #[serde(default)]
    sparsities: Vec<f64>,
    /// By at least so much.
    margin: Option<Points>,
    /// By more than so many standard errors of the difference.
    standard_errors: Option<f64>,
    /// Or worse by at most so much.
    within: Option<Points>,
}

/// Whether a claim holds, at one sparsity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The claim.
    pub claim: String,
    /// The sparsity of the method that must be better.
    pub sparsity: Option<f64>,
    /// Its mean accuracy less the other's; `None` if one was not measured.
    pub difference: Option<f64>,
    /// What the difference must reach.
    pub wanted: f64,
    /// Whether it does.
    pub holds: bool,
}

impl Check {
    /// The methods it is of.
    pub(super) fn methods(&self) -> [&str; 2] {
        [&self.better, &self.than]
    }

    /// Whether it is about the spread over seeds.
    pub(super) fn needs_seeds(&self) -> bool {
        self.standard_errors.is_some()
    }

    /// Sparsity by sparsity. Where the methods share none, there is one that does not hold.
    pub fn verdicts(&self, rows: &[Row]) -> Vec<Verdict> {
        let better = rows.iter().filter(|row| row.method == self.better);
        let others = || rows.iter().filter(|row| row.method == self.than);
        let mut verdicts = Vec::new();
        for (row, other) in better.flat_map(|row| others().map(move |other| (row, other))) {
            let together = match (row.sparsity, other.sparsity) {
                (Some(own), Some(other)) => own == other,
                _ => true,
            };
            let sparsity = row.sparsity.or(other.sparsity);
            let asked = self.sparsities.is_empty() || sparsity.is_none_or(|s| self.sparsities.contains(&s));
            if together && asked {
                verdicts.push(self.verdict(row, other));
            }
        }
        if verdicts.is_empty() {
            verdicts.push(Verdict {
                claim: self.claim.clone(),
                sparsity: None,
                difference: None,
                wanted: 0.0,
                holds: false,
            });
        }
        verdicts
    }

    fn verdict(&self, row: &Row, other: &Row) -> Verdict {
        let both = row.accuracy.zip(other.accuracy);
        let difference = both.map(|(own, other)| own.mean - other.mean);
        let error = both.map_or(0.0, |(own, other): (Spread, Spread)| own.error().hypot(other.error()));
        let least = [
            self.margin.map(Points::fraction),
            self.standard_errors.map(|times| times * error),
            self.within.map(|points| -points.fraction()),
        ];
        let wanted = least.into_iter().flatten().reduce(f64::max).unwrap_or(0.0);
        // Differences of fractions are not exact.
        let reached = difference.is_some_and(|difference| difference >= wanted - 1e-12);
        // More than so many errors: none, where there are none.
        let holds =
            reached && (self.standard_errors.is_none() || difference.is_some_and(|difference| difference > 0.0));
        Verdict {
            claim: self.claim.clone(),
            sparsity: row.sparsity.or(other.sparsity),
            difference,
            wanted,
            holds,
        }
    }
}
