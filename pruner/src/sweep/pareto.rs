//! The rows that no other row beats at once in accuracy and in cost.

use super::Row;

/// What accuracy is bought with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Bytes of the file.
    Bytes,
    /// Multiplications by weights that are not zero.
    Macs,
    /// Measured time.
    Time,
}

impl Cost {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bytes, Self::Macs, Self::Time];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Macs => "MACs",
            Self::Time => "microseconds",
        }
    }

    /// That of a row.
    pub fn of(self, row: &Row) -> f64 {
        match self {
            Self::Bytes => row.bytes,
            Self::Macs => row.macs,
            Self::Time => row.median_us,
        }
    }
}

/// Whether each row is on the Pareto front: none is at least as accurate and as cheap, and better in one of both.
pub fn front(rows: &[Row], cost: Cost) -> Vec<bool> {
    let place = |row: &Row| Some((row.accuracy?.mean, cost.of(row)));
    let beats = |(a, x): (f64, f64), (b, y): (f64, f64)| a >= b && x <= y && (a > b || x < y);
    rows.iter()
        .map(|row| {
            let Some(own) = place(row) else { return false };
            rows.iter().filter_map(place).all(|other| !beats(other, own))
        })
        .collect()
}
