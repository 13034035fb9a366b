//! From the scores of weights to that of a unit: what is pruned together.

/// How the scores of the weights of a unit make one. A single weight is a unit, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Their sum: norms, and criteria that are sums over weights.
    Sum,
    /// The size of their sum, in which signs may cancel out.
    AbsSum,
    /// The greatest.
    Max,
    /// The least.
    Min,
}

impl Unit {
    /// The score of a unit. Weights that are pruned already score −∞, and so does a unit with one of them where it is
    /// a sum; the greatest and the least are those of the weights that stay.
    pub fn score(self, weights: impl IntoIterator<Item = f64>) -> f64 {
        let weights = weights.into_iter();
        match self {
            Self::Sum => weights.sum(),
            Self::AbsSum => {
                let sum: f64 = weights.sum();
                if sum.is_finite() { sum.abs() } else { sum }
            }
            Self::Max => weights.fold(f64::NEG_INFINITY, f64::max),
            Self::Min => {
                let least = weights.filter(|score| score.is_finite()).min_by(f64::total_cmp);
                least.unwrap_or(f64::NEG_INFINITY)
            }
        }
    }

    /// In a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Sum => "the sum",
            Self::AbsSum => "the size of the sum",
            Self::Max => "the greatest",
            Self::Min => "the least",
        }
    }

    /// Whether the score grows with the number of weights, so that units of different sizes compare by their means.
    pub fn grows(self) -> bool {
        matches!(self, Self::Sum | Self::AbsSum)
    }
}
