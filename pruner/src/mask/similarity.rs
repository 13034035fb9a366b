//! How alike two masks are.

/// Weights that two masks keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Overlap {
    /// All weights.
    pub weights: usize,
    /// Kept by the first.
    pub first: usize,
    /// Kept by the second.
    pub second: usize,
    /// Kept by both.
    pub both: usize,
    /// What `both` would be on average if the masks had nothing to do with each other, but for how many weights of each
    /// layer they keep.
    pub expected: f64,
}

impl Overlap {
    /// Adds those of another layer.
    pub fn add(&mut self, other: Self) {
        self.weights += other.weights;
        self.first += other.first;
        self.second += other.second;
        self.both += other.both;
        self.expected += other.expected;
    }

    /// |A ∩ B| / |A ∪ B|; 1 where neither keeps anything.
    pub fn jaccard(&self) -> f64 {
        let either = self.first + self.second - self.both;
        if either == 0 {
            return 1.0;
        }
        self.both as f64 / either as f64
    }

    /// What [`jaccard`](Self::jaccard) would be if the masks had nothing to do with each other: in a layer, densities
    /// a and b give ab / (a + b − ab).
    pub fn chance(&self) -> f64 {
        let either = (self.first + self.second) as f64 - self.expected;
        if either == 0.0 {
            return 1.0;
        }
        self.expected / either
    }
}

/// Compares two masks of a layer, of the same length: `true` keeps a weight.
pub fn overlap(first: impl IntoIterator<Item = bool>, second: impl IntoIterator<Item = bool>) -> Overlap {
    let mut found = Overlap::default();
    for (a, b) in first.into_iter().zip(second) {
        found.weights += 1;
        found.first += usize::from(a);
        found.second += usize::from(b);
        found.both += usize::from(a && b);
    }
    found.expected = found.first as f64 * found.second as f64 / found.weights.max(1) as f64;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// algorithms.md 5.1
    #[test]
    fn jaccard_is_shared_over_all_that_is_kept() {
        let bits = |bits: [u8; 6]| bits.map(|bit| bit == 1);
        let found = overlap(bits([1, 1, 0, 1, 0, 0]), bits([0, 1, 0, 1, 1, 0]));
        assert_eq!((found.both, found.jaccard()), (2, 0.5));
        // Densities of a half: 0.25 / 0.75.
        assert!((found.chance() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Overlap::default().jaccard(), 1.0);
        let fifth = overlap(
            [true, true].into_iter().chain([false; 8]),
            [false; 8].into_iter().chain([true; 2]),
        );
        assert!((fifth.chance() - 0.111_111).abs() < 1e-6);
    }

    #[test]
    fn chance_over_layers_knows_how_dense_each_is() {
        // A dense layer is no sign of likeness: of 4 + 4 weights both masks keep 4 and 2.
        let mut all = overlap([true; 4], [true; 4]);
        all.add(overlap([true, true, false, false], [false, false, true, true]));
        assert_eq!((all.both, all.expected), (4, 5.0));
        assert!((all.chance() - 5.0 / 7.0).abs() < 1e-12);
    }
}
