//! What recipes say about methods that prune while a network trains.

use super::check::Wrong;
use super::{Kind, Recipe};
use crate::criterion::Criterion;

impl Recipe {
    /// Finds what the chosen method cannot do; the path of a key, and what is wrong with it.
    pub(super) fn check_dynamic(&self) -> Result<(), Wrong> {
        let wrong = |path: &str, problem: String| Err((path.to_owned(), problem));
        let method = match (&self.schedule.method, self.schedule.kind) {
            (None, Kind::Dynamic) => {
                return wrong(
                    "schedule.method",
                    "is missing: kind = \"dynamic\" needs a method; `secateur recipe list` shows them".into(),
                );
            }
            (Some(_), kind) if kind != Kind::Dynamic => {
                return wrong("schedule.method", "is for schedule.kind = \"dynamic\"".into());
            }
            (None, _) => return Ok(()),
            (Some(chosen), _) => chosen.method(),
        };
        let (name, pattern) = (method.name, self.prune.pattern);
        if !method.patterns.allow(pattern.0) {
            let allowed = method.patterns.text();
            return wrong(
                "prune.pattern",
                format!("{name} cannot keep to {pattern}: its patterns are {allowed}"),
            );
        }
        if !method.scopes.contains(&self.prune.scope) {
            let names = method.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>();
            let problem = format!(
                "{name} shares out the sparsity by {}: give one of them",
                names.join(", ")
            );
            return wrong("prune.scope", problem);
        }
        if self.prune.criterion != Criterion::default() {
            return wrong(
                "prune.criterion",
                format!("{name} chooses the weights by its own rule: leave it out"),
            );
        }
        Ok(())
    }
}
