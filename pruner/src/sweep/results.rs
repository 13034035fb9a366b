//! Results: a line for each cell, and their means.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Cell, SweepError};
use crate::recipe::run::Report;
use crate::save::{Overwrite, write_file};

/// The name of the network before pruning, in tables and checks.
pub const DENSE: &str = "dense";

/// What a cell has brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The method.
    pub method: String,
    /// The sparsity asked for.
    pub sparsity: Option<f64>,
    /// The seed.
    pub seed: u64,
    /// How long the run took, in seconds; `None` if it was continued.
    pub seconds: Option<f64>,
    /// Of the run; its time is measured again when nothing else runs.
    pub report: Report,
}

impl Outcome {
    /// Whether it is of that cell.
    pub fn is_of(&self, cell: &Cell) -> bool {
        (&self.method, self.sparsity, self.seed) == (&cell.method, cell.sparsity, cell.seed)
    }
}

/// The results of a sweep, in a file of JSON lines.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    outcomes: Vec<Outcome>,
}

impl Results {
    /// Reads what there is.
    ///
    /// # Errors
    /// A [`SweepError::Results`].
    pub fn open(path: &Path) -> Result<Self, SweepError> {
        let failed = |problem: String| SweepError::Results {
            path: path.into(),
            problem,
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        let line = |(index, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| failed(format!("line {}: {error}", index + 1)))
        };
        Ok(Self {
            path: path.into(),
            outcomes: text.lines().enumerate().map(line).collect::<Result<_, _>>()?,
        })
    }

    /// Adds a result, and writes all.
    ///
    /// # Errors
    /// A [`SweepError::Results`].
    pub fn add(&mut self, outcome: Outcome) -> Result<(), SweepError> {
        self.set(outcome);
        self.write()
    }

    /// Adds a result, in place of an earlier one of its cell.
    pub fn set(&mut self, outcome: Outcome) {
        let same = |o: &Outcome| (&o.method, o.sparsity, o.seed) == (&outcome.method, outcome.sparsity, outcome.seed);
        match self.outcomes.iter().position(same) {
            Some(index) => self.outcomes[index] = outcome,
            None => self.outcomes.push(outcome),
        }
    }

    /// Writes all.
    ///
    /// # Errors
    /// A [`SweepError::Results`].
    pub fn write(&self) -> Result<(), SweepError> {
        let lines = self
            .outcomes
            .iter()
            .map(|o| serde_json::to_string(o).map(|line| line + "\n"));
        let lines = lines.collect::<Result<String, _>>();
        let written = lines
            .map_err(std::io::Error::other)
            .and_then(|lines| write_file(&self.path, lines.as_bytes(), Overwrite::Replace));
        written.map_err(|error| SweepError::Results {
            path: self.path.clone(),
            problem: error.to_string(),
        })
    }

    /// The result of a cell.
    pub fn of(&self, cell: &Cell) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.is_of(cell))
    }

    /// A row for the dense network and each method and sparsity of `cells`, over their seeds. Dense are the networks that
    /// were `trained` before pruning, each that differs once; if none was, all that were pruned.
    pub fn rows(&self, cells: &[Cell], trained: impl Fn(&Cell) -> bool) -> Vec<Row> {
        let mut rows: Vec<(Cell, Vec<&Outcome>)> = Vec::new();
        let of = |trained: &dyn Fn(&Cell) -> bool| -> Vec<&Outcome> {
            let found = cells
                .iter()
                .filter(|cell| trained(cell))
                .filter_map(|cell| self.of(cell));
            let mut seen = Vec::new();
            let differs = |outcome: &&Outcome| {
                let network = (outcome.seed, outcome.report.dense.accuracy);
                let new = !seen.contains(&network);
                seen.push(network);
                new
            };
            found.filter(differs).collect()
        };
        let mut dense = of(&trained);
        if dense.is_empty() {
            dense = of(&|_| true);
        }
        for (cell, outcome) in cells.iter().filter_map(|cell| Some((cell, self.of(cell)?))) {
            let same = |(c, _): &&mut (Cell, _)| c.method == cell.method && c.sparsity == cell.sparsity;
            match rows.iter_mut().find(same) {
                Some((_, outcomes)) => outcomes.push(outcome),
                None => rows.push((cell.clone(), vec![outcome])),
            }
        }
        let dense = Row::of(DENSE, None, &dense, |report| (&report.dense, 0.0));
        let pruned = rows
            .iter()
            .map(|(cell, outcomes)| Row::of(&cell.method, cell.sparsity, outcomes, |r| (&r.sparse, r.sparsity)));
        dense.into_iter().chain(pruned.flatten()).collect()
    }
}

/// Mean and standard deviation over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with n − 1; 0 for a single value.
    pub deviation: f64,
    /// Values.
    pub count: usize,
}

impl Spread {
    /// Of values; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            deviation: (squares / (count.max(2) - 1) as f64).sqrt(),
            count,
        })
    }

    /// The standard error of the mean.
    pub fn error(self) -> f64 {
        self.deviation / (self.count as f64).sqrt()
    }
}

/// A method at a sparsity.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// The sparsity asked for.
    pub sparsity: Option<f64>,
    /// The accuracy, over seeds; `None` if no test data was given.
    pub accuracy: Option<Spread>,
    /// Means over seeds: fraction of zeros,
    pub zeros: f64,
    /// bytes of the .sct file,
    pub bytes: f64,
    /// multiplications by weights that are not zero, of a sample,
    pub macs: f64,
    /// median time of a sample in microseconds,
    pub median_us: f64,
    /// time of the run in seconds.
    pub seconds: Option<f64>,
}

impl Row {
    fn of(
        method: &str,
        sparsity: Option<f64>,
        outcomes: &[&Outcome],
        side: impl Fn(&Report) -> (&crate::recipe::run::Variant, f64),
    ) -> Option<Self> {
        let mean = |value: &dyn Fn(&Outcome) -> f64| {
            Spread::of(&outcomes.iter().map(|o| value(o)).collect::<Vec<_>>()).map(|spread| spread.mean)
        };
        let accuracies: Vec<f64> = outcomes.iter().filter_map(|o| side(&o.report).0.accuracy).collect();
        let seconds: Vec<f64> = outcomes.iter().filter_map(|o| o.seconds).collect();
        Some(Self {
            method: method.to_owned(),
            sparsity,
            accuracy: Spread::of(&accuracies),
            zeros: mean(&|o| side(&o.report).1)?,
            bytes: mean(&|o| side(&o.report).0.bytes as f64)?,
            macs: mean(&|o| side(&o.report).0.macs as f64)?,
            median_us: mean(&|o| side(&o.report).0.median_us)?,
            seconds: Spread::of(&seconds)
                .filter(|_| method != DENSE)
                .map(|spread| spread.mean),
        })
    }
}
