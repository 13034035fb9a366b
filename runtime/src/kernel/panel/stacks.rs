//! Which entries of a row of a direct convolution share what they load.
//!
//! Two kernel positions one above the other multiply the same lines but for one: a line that is the second output
//! line's first is the first output line's second. Such entries are *stacked*, and their lines loaded once. Where
//! loads take as long as multiply-adds, a stack among each few entries is enough to keep the loads behind.

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
