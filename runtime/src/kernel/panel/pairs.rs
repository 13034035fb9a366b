//! Which rows with columns of their own go together, two at a time.
//!
//! A column that both have is a line that is loaded once for two multiply-adds. Of rows with a fifth of 128
//! columns each, two have a fifth in common by chance, and a third if each chooses its partner.

use alloc::vec;
use alloc::vec::Vec;

use super::strips::Entry;

/// The entries of a row in a window of columns.
pub(super) type Line<'t> = &'t [(u32, f32)];

/// Rows among which partners are sought, counted from the first one: where threads part the rows changes no sum.
pub(super) const BLOCK: usize = 128;

/// A partner is not sought among those that are shorter by more entries.
const SHORTEST: usize = 3;

/// Two rows, and their entries.
pub(super) struct Pair {
    pub(super) rows: [u32; 2],
    /// Quads: two entries of a column that both rows have, and one of another column of each.
    pub(super) mixed: Vec<Entry>,
    /// The others, of one row and the other in turns; where the second has no more, `zero`.
    pub(super) own: Vec<Entry>,
}

/// Pairs of the rows from `first` on, whose entries lie in a window of `cols` columns from column `start` on. `place` says where
/// the line of an entry is in the panel; the one of zeros is `zero`. There may be a row without a partner: it is
/// together with `no_row`.
pub(super) fn pairs(
    lines: &[Line<'_>],
    [first, no_row]: [u32; 2],
    [start, cols]: [usize; 2],
    place: impl Fn(u32) -> usize,
    zero: Entry,
) -> Vec<Pair> {
    let words = cols.div_ceil(64).max(1);
    let mut masks = vec![0u64; words * lines.len()];
    for (mask, line) in masks.chunks_mut(words).zip(lines) {
        for &(col, _) in *line {
            let bit = col as usize - start;
            mask[bit / 64] |= 1 << (bit % 64);
        }
    }
    let mask = |row: usize| &masks[row * words..(row + 1) * words];
    let shared = |a: usize, b: usize| -> usize {
        let words = mask(a).iter().zip(mask(b));
        words.map(|(a, b)| (a & b).count_ones() as usize).sum()
    };
    // The longest first: what is left for the last ones is short.
    let mut left: Vec<usize> = (0..lines.len()).collect();
    left.sort_by_key(|&row| core::cmp::Reverse(lines[row].len()));
    let mut pairs = Vec::with_capacity(lines.len().div_ceil(2));
    while let Some((&a, others)) = left.split_first() {
        let len = lines[a].len();
        let near = others.iter().take_while(|&&b| len - lines[b].len() <= SHORTEST).count();
        // An entry that the partner does not have costs as much as a shared column saves.
        let worth = |&&b: &&usize| shared(a, b) + lines[b].len();
        // Of equal ones the first.
        let best = (0..near).rev().max_by_key(|&i| worth(&&others[i]));
        let at = best.or((!others.is_empty()).then_some(0));
        let b = at.map(|at| others[at]);
        let row = |row: usize| first + row as u32;
        let (mixed, own) = entries([lines[a], b.map_or(&[], |b| lines[b])], &place, zero);
        pairs.push(Pair {
            rows: [row(a), b.map_or(no_row, row)],
            mixed,
            own,
        });
        left = match at {
            Some(at) => others
                .iter()
                .enumerate()
                .filter(|&(i, _)| i != at)
                .map(|(_, &row)| row)
                .collect(),
            None => Vec::new(),
        };
    }
    pairs
}

/// The entries of two rows, of which the first has as many or more: mixed quads, and the others.
fn entries(lines: [Line<'_>; 2], place: impl Fn(u32) -> usize, zero: Entry) -> (Vec<Entry>, Vec<Entry>) {
    let entry = |&(col, value): &(u32, f32)| (value, place(col));
    let mut shared = Vec::new();
    let mut own: [Vec<Entry>; 2] = [Vec::new(), Vec::new()];
    let [mut a, mut b] = lines;
    while let ([first, a_rest @ ..], [second, b_rest @ ..]) = (a, b) {
        match first.0.cmp(&second.0) {
            core::cmp::Ordering::Equal => {
                shared.push([entry(first), entry(second)]);
                (a, b) = (a_rest, b_rest);
            }
            core::cmp::Ordering::Less => {
                own[0].push(entry(first));
                a = a_rest;
            }
            core::cmp::Ordering::Greater => {
                own[1].push(entry(second));
                b = b_rest;
            }
        }
    }
    own[0].extend(a.iter().map(entry));
    own[1].extend(b.iter().map(entry));
    while shared.len() > own[1].len()
        && let Some([a, b]) = shared.pop()
    {
        own[0].push(a);
        own[1].push(b);
    }
    let [a, b] = own;
    let mut couples = (0..a.len()).map(|i| [a[i], b.get(i).copied().unwrap_or(zero)]);
    let mixed = shared
        .into_iter()
        .zip(&mut couples)
        .flat_map(|(shared, own)| [shared, own])
        .flatten()
        .collect();
    (mixed, couples.flatten().collect())
}
