//! Which entries of a row of a direct convolution share what they load.
//!
//! Of two kernel positions one above the other (in a phase plane), the lower one multiplies the lines from the second on that the
//! upper one multiplies, and one more. Such entries are *stacked*: what both need is loaded once. Where
//! loads take as long as multiply-adds, a stack among each few entries is enough for loads not to matter.

use alloc::vec::Vec;

use super::Planes;
use super::strips::Entry;

/// Cuts the entries of a group into quads, of which each begins with two stacked entries, and the others.
///
/// The lines of the planes have vectors of their own. Which entries are stacked does not depend on how many lines
/// a panel has, and so not on the number of threads.
pub(super) fn stacks(mut entries: Vec<Entry>, planes: &Planes) -> (Vec<Entry>, Vec<Entry>) {
    entries.sort_by_key(|&(_, place)| place);
    let is_below = |above: Entry, below: Entry| {
        above.1 + planes.line == below.1 && above.1 / planes.phase == below.1 / planes.phase
    };
    let (mut stacked, mut single) = (Vec::new(), Vec::new());
    let mut rest = &entries[..];
    while let [first, others @ ..] = rest {
        rest = match others {
            [second, others @ ..] if is_below(*first, *second) => {
                stacked.push([*first, *second]);
                others
            }
            _ => {
                single.push(*first);
                others
            }
        };
    }
    // Where most are stacked, loads are few enough.
    while single.len() < 2 * stacked.len()
        && let Some(entries) = stacked.pop()
    {
        single.extend(entries);
    }
    let others = single.split_off(2 * stacked.len());
    let quads = stacked.iter().zip(single.chunks(2));
    let quads = quads.flat_map(|(stacked, single)| stacked.iter().chain(single).copied());
    (quads.collect(), others)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn quads_begin_with_an_entry_and_the_one_below() {
        let planes = Planes {
            line: 16,
            phase: 80,
            ..Planes::default()
        };
        let places = |entries: &[Entry]| entries.iter().map(|entry| entry.1 / 16).collect::<Vec<_>>();
        let stacks = |lines: &[usize]| {
            let (mixed, single) = stacks(lines.iter().map(|&line| (1.0, 16 * line)).collect(), &planes);
            (places(&mixed), places(&single))
        };
        // Lines 4 and 5 are of two planes.
        assert_eq!(stacks(&[1, 0, 4, 5, 8]), (vec![0, 1, 4, 5], vec![8]));
        // Of three, two.
        assert_eq!(stacks(&[0, 1, 2, 7]), (vec![0, 1, 2, 7], vec![]));
        // Each quad has two that are not stacked.
        assert_eq!(stacks(&[0, 1, 2, 3, 7]), (vec![0, 1, 7, 2], vec![3]));
        assert_eq!(stacks(&[0, 1, 3]), (vec![], vec![3, 0, 1]));
    }
}
