//! Optimal Brain Surgeon, row by row: OBC or ExactOBS (Frantar and Alistarh 2022, arXiv 2208.11580).
//!
//! Removing the columns `B` of a row `w` costs `½ w_B (H⁻¹[B,B])⁻¹ w_Bᵀ` when all other weights make up for it as well
//! as they can. Greedily, the cheapest unit goes first. Which units of which rows go is then decided over
//! all rows. Time is O(rows · K³): for layers of up to some 2000 inputs.

use nalgebra::{Cholesky, DMatrix, Dyn};
use rayon::prelude::*;

use super::problem::cholesky;
use super::{Problem, Removal, Singular, Solution, least_squares};
use crate::mask::Pattern;

pub(super) fn solve(problem: &Problem, removal: Removal) -> Result<Solution, Singular> {
    prune(&problem.damped(), removal)
}

/// Prunes the weights of a damped problem.
pub(super) fn prune(damped: &Problem, removal: Removal) -> Result<Solution, Singular> {
    let inverse = cholesky(damped.gram.clone())?.inverse();
    let (rows, cols) = damped.weights.shape();
    let (r, c) = removal.pattern.extents();
    let (r, c) = (usize::from(r), usize::from(c));
    let strip = |strip: usize| {
        let weights = damped.weights.rows(strip * r, r).into_owned();
        Surgeon::new(weights, inverse.clone(), removal).trace()
    };
    let traces: Vec<Vec<Step>> = (0..rows / r).into_par_iter().map(strip).collect::<Result<_, _>>()?;
    let taken = match removal.pattern {
        Pattern::Nm { .. } => traces.iter().map(Vec::len).collect(),
        _ => cheapest(&traces, removal.units),
    };
    let mut mask = vec![true; rows * cols];
    let width = if matches!(removal.pattern, Pattern::Nm { .. }) {
        1
    } else {
        c
    };
    for (strip, (trace, taken)) in traces.iter().zip(taken).enumerate() {
        for step in &trace[..taken] {
            let rows = (strip * r..).take(r);
            rows.for_each(|row| mask[row * cols + step.first..][..width].fill(false));
        }
    }
    // The weights of each step are the best that its mask allows, so those of the last need no record of the others.
    least_squares::fit(damped, mask)
}

/// The removal of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// Its first column.
    pub(super) first: usize,
    /// What it costs.
    pub(super) loss: f64,
}

/// How many steps of each trace are taken: `units` in all, always the cheapest of those that come next.
fn cheapest(traces: &[Vec<Step>], units: usize) -> Vec<usize> {
    let mut taken = vec![0; traces.len()];
    for _ in 0..units {
        let next = traces.iter().zip(&taken).map(|(trace, &taken)| trace.get(taken));
        let next = next.enumerate().filter_map(|(strip, step)| Some((step?.loss, strip)));
        let Some((_, strip)) = next.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))) else {
            break;
        };
        taken[strip] += 1;
    }
    taken
}

/// Rows that lose their columns together, in the course of it.
pub(super) struct Surgeon {
    /// `[r, K]`.
    weights: DMatrix<f64>,
    /// Of the Gram matrix of the columns that are left; zero elsewhere.
    inverse: DMatrix<f64>,
    /// Columns of a unit.
    width: usize,
    /// By unit.
    left: Vec<bool>,
    /// Most steps.
    steps: usize,
    /// Units of a group, and how many each may still lose.
    group: usize,
    allowed: Vec<usize>,
}

impl Surgeon {
    pub(super) fn new(weights: DMatrix<f64>, inverse: DMatrix<f64>, removal: Removal) -> Self {
        let cols = weights.ncols();
        let (width, group, losable) = match removal.pattern {
            Pattern::Nm { n, m } => (1, usize::from(m), usize::from(m - n)),
            pattern => (usize::from(pattern.extents().1), cols, cols),
        };
        let groups = cols.div_ceil(group);
        let steps = match removal.pattern {
            Pattern::Nm { .. } => groups * losable,
            _ => removal.units.min(cols / width),
        };
        Self {
            weights,
            inverse,
            width,
            left: vec![true; cols / width],
            steps,
            group,
            allowed: vec![losable; groups],
        }
    }

    /// Removes units, the cheapest of those that are left first.
    pub(super) fn trace(mut self) -> Result<Vec<Step>, Singular> {
        let mut trace = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            let mut best: Option<Step> = None;
            for unit in (0..self.left.len()).filter(|&unit| self.left[unit] && self.allowed[unit / self.group] > 0) {
                let loss = self.loss(unit)?;
                if best.is_none_or(|best| loss < best.loss) {
                    let first = unit * self.width;
                    best = Some(Step { first, loss });
                }
            }
            let Some(step) = best else { break };
            self.remove(step.first / self.width)?;
            trace.push(step);
        }
        Ok(trace)
    }

    /// What the removal of a unit costs.
    fn loss(&self, unit: usize) -> Result<f64, Singular> {
        let first = unit * self.width;
        if self.width == 1 {
            return Ok(0.5 * self.weights.column(first).norm_squared() / self.inverse[(first, first)]);
        }
        let own = self.weights.columns(first, self.width).transpose();
        Ok(0.5 * own.dot(&self.block(first)?.solve(&own)))
    }

    /// The factors of the block of the inverse that belongs to the columns of a unit.
    fn block(&self, first: usize) -> Result<Cholesky<f64, Dyn>, Singular> {
        let block = self.inverse.view((first, first), (self.width, self.width));
        cholesky(block.into_owned())
    }

    /// Removes a unit, lets the others make up for it, and takes its columns out of the inverse.
    fn remove(&mut self, unit: usize) -> Result<(), Singular> {
        let (first, width) = (unit * self.width, self.width);
        let factors = self.block(first)?;
        let columns = self.inverse.columns(first, width).into_owned();
        let own = self.weights.columns(first, width).transpose();
        let share = factors.solve(&own).transpose();
        self.weights.gemm(-1.0, &share, &columns.transpose(), 1.0);
        let lost = factors.solve(&columns.transpose());
        for (col, lost) in lost.column_iter().enumerate() {
            // What is removed already is zero.
            if self.left[col / width] {
                let mut left = self.inverse.column_mut(col);
                for (own, &lost) in columns.column_iter().zip(&lost) {
                    left.axpy(-lost, &own, 1.0);
                }
            }
        }
        // Exactly, so that rounding does not bring them back.
        self.weights.columns_mut(first, width).fill(0.0);
        self.inverse.columns_mut(first, width).fill(0.0);
        self.inverse.rows_mut(first, width).fill(0.0);
        self.left[unit] = false;
        self.allowed[unit / self.group] -= 1;
        Ok(())
    }
}
