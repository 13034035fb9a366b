//! Suggestions for names that were probably mistyped.

use super::error::shown;

/// Longer names are not compared: the comparison is quadratic, and names come from files.
const MAX_COMPARED: usize = 100;

/// `; did you mean `x`?` with the nearest candidate, or nothing if none is near.
pub(crate) fn suggestion<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = candidates
        .into_iter()
        .filter_map(|name| Some((distance(wanted, name)?, name)))
        .min();
    match nearest {
        Some((distance, name)) if distance <= wanted.chars().count() / 2 => format!(" (did you mean {}?)", shown(name)),
        _ => String::new(),
    }
}

/// How many characters must be inserted, removed or replaced to get from `a` to `b`.
fn distance(a: &str, b: &str) -> Option<usize> {
    if a.len() > MAX_COMPARED || b.len() > MAX_COMPARED {
        return None;
    }
    // One row of the usual table: row[j] is the distance of the part of `a` so far to b[..j].
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(row.first_mut()?, i + 1);
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (corner + usize::from(x != y)).min(left + 1).min(*slot + 1);
            corner = std::mem::replace(slot, best);
            left = best;
        }
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("conv", "conv2d", 2),
        ] {
            assert_eq!(distance(a, b), Some(expected), "{a} {b}");
            assert_eq!(distance(b, a), Some(expected), "{b} {a}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(suggestion("con2d", ["linear", "conv2d"]), " (did you mean `conv2d`?)");
        assert_eq!(suggestion("xyz", ["linear", "conv2d"]), "");
        assert_eq!(suggestion("x", []), "");
        assert_eq!(suggestion(&"x".repeat(1000), ["x"]), "");
    }
}
