//! Magnitude pruning (LeCun et al. 1989 name it as the baseline; Han et al.,
//! arXiv 1506.02626).

/// |w|: sums to the L1 norm of a block.
pub(super) fn l1(weights: &[f32]) -> Vec<f64> {
    weights.iter().map(|&w| f64::from(w).abs()).collect()
}

/// w²: sums to the square of the L2 norm of a block, which ranks the same.
pub(super) fn l2(weights: &[f32]) -> Vec<f64> {
    weights.iter().map(|&w| f64::from(w) * f64::from(w)).collect()
}
