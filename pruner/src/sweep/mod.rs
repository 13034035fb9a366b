//! Sweeps: methods × sparsities × seeds, each cell a run with a folder of its own, compared in one table.
//! `docs/sweeps.md` explains the file.

mod check;
mod pareto;
mod results;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

pub use check::{Check, Verdict};
pub use pareto::{Cost, front};
pub use results::{DENSE, Outcome, Results, Row, Spread};

use crate::recipe::Layer;
use crate::source::nearest::suggestion;

/// Why a sweep cannot be begun.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The file is no sweep.
    #[error("{place}: {problem}")]
    Text {
        /// The file, or the key.
        place: String,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// A line of the results cannot be read or written.
    #[error("{}: {problem}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
}

/// What is compared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What all methods begin with: a recipe beside the sweep's file, or a preset.
    recipe: Option<String>,
    /// A run of each method for each of them.
    #[serde(default = "one_seed")]
    seeds: Vec<u64>,
    /// The sparsities of methods that name none.
    #[serde(default)]
    sparsities: Vec<f64>,
    /// The methods.
    #[serde(rename = "method")]
    methods: Vec<Method>,
    /// What must come out.
    #[serde(default, rename = "check")]
    checks: Vec<Check>,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

/// A way to prune.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Method {
    name: String,
    /// In place of the sweep's.
    recipe: Option<String>,
    /// In place of the sweep's; none for methods that find their own.
    sparsities: Option<Vec<f64>>,
    /// Keys of the recipe.
    #[serde(default)]
    set: toml::Table,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Its method.
    pub method: String,
    /// The sparsity asked for; `None` if the method finds or fixes it.
    pub sparsity: Option<f64>,
    /// Its seed.
    pub seed: u64,
}

impl Cell {
    /// Its folder, within that of the sweep.
    pub fn folder(&self) -> PathBuf {
        let run = match self.sparsity {
            Some(sparsity) => format!("{sparsity}-seed{}", self.seed),
            None => format!("seed{}", self.seed),
        };
        Path::new("runs").join(&self.method).join(run)
    }
}

impl Sweep {
    /// Reads a sweep's text; `name` is the file's, for errors.
    ///
    /// # Errors
    /// A [`SweepError::Text`].
    pub fn parse(name: &str, text: &str) -> Result<Self, SweepError> {
        let wrong = |place: String, problem: String| Err(SweepError::Text { place, problem });
        let sweep: Self = match toml::from_str(text) {
            Ok(sweep) => sweep,
            // The message shows line, column and the known keys.
            Err(error) => return wrong(name.to_owned(), error.to_string()),
        };
        if sweep.methods.is_empty() || sweep.seeds.is_empty() {
            return wrong(
                name.to_owned(),
                "a sweep needs at least one [[method]] and one seed".into(),
            );
        }
        let repeated = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_by(f64::total_cmp);
            values.windows(2).any(|pair| pair[0] == pair[1])
        };
        let seeds: BTreeSet<u64> = sweep.seeds.iter().copied().collect();
        if seeds.len() < sweep.seeds.len() {
            return wrong(name.to_owned(), "a seed is given twice".into());
        }
        for (index, method) in sweep.methods.iter().enumerate() {
            let place = format!("{name}: method `{}`", method.name.escape_debug());
            let plain = |c: char| c.is_alphanumeric() || "-_+:. ".contains(c);
            if method.name.is_empty() || method.name.starts_with('.') || !method.name.chars().all(plain) {
                let problem = "names become folders: use letters, digits, and - _ + : . within";
                return wrong(place, problem.into());
            }
            if method.name == DENSE || sweep.methods[..index].iter().any(|other| other.name == method.name) {
                return wrong(place, "this name is taken; give another".into());
            }
            if let Some(wrong_one) = sweep.sparsities(method).iter().find(|s| !(0.0..1.0).contains(*s)) {
                let problem = format!("sparsity {wrong_one} is not from 0 to below 1");
                return wrong(place, problem);
            }
            if repeated(sweep.sparsities(method)) {
                return wrong(place, "a sparsity is given twice".into());
            }
        }
        let names = || sweep.methods.iter().map(|method| method.name.as_str()).chain([DENSE]);
        for check in &sweep.checks {
            let place = || format!("{name}: check `{}`", check.claim);
            if check.needs_seeds() && sweep.seeds.len() < 2 {
                return wrong(place(), "standard errors need at least two seeds".into());
            }
            for method in check.methods() {
                if names().all(|name| name != method) {
                    let near = suggestion(method, names());
                    return wrong(place(), format!("there is no method `{method}`{near}"));
                }
            }
        }
        Ok(sweep)
    }

    fn sparsities<'s>(&'s self, method: &'s Method) -> &'s [f64] {
        method.sparsities.as_deref().unwrap_or(&self.sparsities)
    }

    /// All runs: seed by seed, so that an interrupted sweep has compared all methods.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &seed in &self.seeds {
            for method in &self.methods {
                let sparsities = self.sparsities(method);
                let own = sparsities.iter().map(|&sparsity| Some(sparsity));
                let own: Vec<_> = if sparsities.is_empty() {
                    vec![None]
                } else {
                    own.collect()
                };
                cells.extend(own.into_iter().map(|sparsity| Cell {
                    method: method.name.clone(),
                    sparsity,
                    seed,
                }));
            }
        }
        cells
    }

    /// The recipe that a cell begins with, if any: a preset's name, or a path beside the sweep's file.
    pub fn base(&self, cell: &Cell) -> Option<&str> {
        let method = self.methods.iter().find(|method| method.name == cell.method)?;
        method.recipe.as_deref().or(self.recipe.as_deref())
    }

    /// What a cell's recipe says in place of its base.
    pub fn settings(&self, cell: &Cell) -> Vec<Layer> {
        let method = self.methods.iter().find(|method| method.name == cell.method);
        let own = method.map(|method| {
            let text = toml::to_string(&method.set).unwrap_or_default();
            Layer::flag(&format!("method `{}`", method.name), &text)
        });
        let sparsity = cell.sparsity.map(|sparsity| format!("prune.sparsity={sparsity}"));
        let grid = [sparsity, Some(format!("seed={}", cell.seed))];
        let grid = grid.iter().flatten().map(|setting| Layer::set(setting));
        own.into_iter().chain(grid).collect()
    }

    /// What must come out.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

#[cfg(test)]
mod tests;
