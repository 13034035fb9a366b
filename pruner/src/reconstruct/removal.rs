//! What is to be removed from a weight matrix.

use std::ops::Range;

use crate::mask::Pattern;

/// What is to be removed from a weight matrix.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    /// What is pruned as a whole; it divides the matrix.
    pub pattern: Pattern,
    /// How many of them. N:M patterns say themselves how many weights of each group go.
    pub units: usize,
}

impl Removal {
    /// Prunes, in some columns of a mask `[rows, cols]` that keeps all of them, the `units` of least score; of N:M,
    /// the weights of least score of each group. The first of equals goes first. A unit's score is the sum of those
    /// of its weights.
    pub(super) fn prune(
        self,
        mask: &mut [bool],
        cols: usize,
        within: Range<usize>,
        score: impl Fn(usize, usize) -> f64,
    ) {
        let Self { pattern, units } = self;
        let (r, c) = pattern.extents();
        let (r, c) = (usize::from(r), usize::from(c));
        let strips = mask.len() / cols / r;
        if let Pattern::Nm { n, m } = pattern {
            for row in 0..strips {
                for group in within.clone().step_by(c) {
                    let mut ranked: Vec<(f64, usize)> = (group..group + c).map(|col| (score(row, col), col)).collect();
                    ranked.sort_by(by_score);
                    let pruned = ranked.iter().take(usize::from(m - n));
                    pruned.for_each(|&(_, col)| mask[row * cols + col] = false);
                }
            }
            return;
        }
        let sum = |strip: usize, block: usize| {
            let rows = strip * r..(strip + 1) * r;
            rows.flat_map(|row| (block..block + c).map(move |col| (row, col)))
                .map(|(row, col)| score(row, col))
                .sum::<f64>()
        };
        let blocks = (0..strips).flat_map(|strip| within.clone().step_by(c).map(move |block| (strip, block)));
        let mut ranked: Vec<(f64, usize)> = blocks
            .map(|(strip, block)| (sum(strip, block), strip * r * cols + block))
            .collect();
        if units < ranked.len() {
            ranked.select_nth_unstable_by(units, by_score);
        }
        for &(_, first) in ranked.iter().take(units) {
            (0..r).for_each(|row| mask[first + row * cols..][..c].fill(false));
        }
    }
}

fn by_score(a: &(f64, usize), b: &(f64, usize)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}
