//! Scopes: how a sparsity is shared out among layers.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::importance::Prefix;

/// How layers share the sparsity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Each layer is pruned to the sparsity
    #[value(alias = "layer")]
    #[serde(alias = "layer")]
    Uniform,
    /// Each output (row of a layer's weights) is pruned to the sparsity
    Row,
    /// All layers are ranked together and pruned to the sparsity overall
    #[default]
    Global,
    /// Density by the sum of a layer's extents over their product (Erdős–Rényi kernel, arXiv 1911.11134)
    Erk,
    /// Ranked together by score relative to what is left of the layer (arXiv 2010.07611)
    Lamp,
    /// Each output keeps its most important connections, up to the share `alpha` of its importance (arXiv 2109.10795)
    Importance,
    /// More density for layers with more outlying scores (arXiv 2310.05175); made for criterion wanda
    Owl,
    /// Channels of groups that are alike are ranked together (arXiv 2407.04616); for channels only
    Isomorphic,
    /// So as its authors' code has it: the least important connection of each output always goes
    ImportanceReference,
}

impl Scope {
    /// How outputs choose what has a share of their importance, if they do.
    pub fn prefix(self) -> Option<Prefix> {
        match self {
            Self::Importance => Some(Prefix::Exact),
            Self::ImportanceReference => Some(Prefix::Reference),
            _ => None,
        }
    }
}

impl Scope {
    /// What recipes call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Row => "row",
            Self::Global => "global",
            Self::Erk => "erk",
            Self::Lamp => "lamp",
            Self::Owl => "owl",
            Self::Isomorphic => "isomorphic",
            Self::Importance => "importance",
            Self::ImportanceReference => "importance-reference",
        }
    }
}

/// The least and the greatest sparsity of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// From 0.
    pub min: f64,
    /// To 1.
    pub max: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { min: 0.0, max: 1.0 }
    }
}

impl Bounds {
    /// The nearest sparsity within.
    pub fn clamp(self, sparsity: f64) -> f64 {
        sparsity.max(self.min).min(self.max)
    }
}

/// What ERK has to know of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Extents {
    /// The sum of the extents of the weights, kernel included.
    pub sum: f64,
    /// Weights.
    pub weights: f64,
    /// Of its sparsity.
    pub bounds: Bounds,
}

/// The sparsity of each layer, such that together it is `sparsity`: a layer keeps `ε · sum of its extents`
/// weights, or what its bounds allow (arXiv 1911.11134).
pub fn erk(layers: &[Extents], sparsity: f64) -> Vec<f64> {
    let kept = |epsilon: f64, layer: &Extents| {
        let density = epsilon * layer.sum / layer.weights.max(1.0);
        (1.0 - layer.bounds.clamp(1.0 - density)) * layer.weights
    };
    let wanted = (1.0 - sparsity) * layers.iter().map(|layer| layer.weights).sum::<f64>();
    // What is kept grows with ε, and all is kept at the upper end.
    let dense = |layer: &Extents| layer.weights / layer.sum.max(1.0);
    let (mut low, mut high) = (0.0, layers.iter().map(dense).fold(0.0, f64::max));
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if layers.iter().map(|layer| kept(middle, layer)).sum::<f64>() < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    layers
        .iter()
        .map(|layer| 1.0 - kept(high, layer) / layer.weights.max(1.0))
        .collect()
}

/// Scores above so many times their mean are outliers.
const OUTLIER: f64 = 5.0;

/// Densities differ from their mean by no more.
const SPREAD: f64 = 0.08;

/// The percentage of scores that are far above their mean.
pub fn outliers(scores: &[f64]) -> f64 {
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let count = scores.iter().filter(|&&score| score > OUTLIER * mean).count();
    100.0 * count as f64 / scores.len().max(1) as f64
}

/// The sparsity of each layer by its share of outliers, such that together it is `sparsity` (OWL, arXiv 2310.05175);
/// `layers` are outliers and weights. That the mean is one over weights, where layers
/// are of unequal size, and that densities differ less where there is no room, is ours.
pub fn owl(layers: &[(f64, f64)], sparsity: f64) -> Vec<f64> {
    let least = layers.iter().map(|layer| layer.0).fold(f64::INFINITY, f64::min);
    let most = layers.iter().map(|layer| layer.0).fold(f64::NEG_INFINITY, f64::max);
    // No layer is emptied or left dense by it.
    let spread = SPREAD.min(sparsity / 2.0).min((1.0 - sparsity) / 2.0);
    let raised = |outliers: f64| match most > least {
        true => (outliers - least) / (most - least) * 2.0 * spread,
        false => 0.0,
    };
    let weights: f64 = layers.iter().map(|layer| layer.1).sum();
    let mean = layers.iter().map(|layer| raised(layer.0) * layer.1).sum::<f64>() / weights.max(1.0);
    let each = layers.iter().map(|layer| sparsity - raised(layer.0) + mean);
    each.collect()
}

/// Ascending scores, each divided by the sum of itself and all above it; what is pruned already stays last.
pub(super) fn lamp(ascending: &[f64]) -> Vec<f64> {
    let mut scores = ascending.to_vec();
    let mut sum = 0.0;
    for score in scores.iter_mut().rev().filter(|score| score.is_finite()) {
        sum += *score;
        *score = if sum > 0.0 { *score / sum } else { 0.0 };
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    fn densities(layers: &[(f64, f64)], sparsity: f64) -> Vec<f64> {
        let layers: Vec<Extents> = layers
            .iter()
            .map(|&(sum, weights)| Extents {
                sum,
                weights,
                bounds: Bounds::default(),
            })
            .collect();
        erk(&layers, sparsity)
            .into_iter()
            .map(|sparsity| 1.0 - sparsity)
            .collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn erk_has_the_densities_of_the_reference_code() {
        // algorithms.md 6.18, from the code of arXiv 1911.11134.
        close(&densities(&[(20.0, 100.0), (30.0, 200.0)], 0.8), &[0.24, 0.18]);
        let lenet = [(1084.0, 235_200.0), (400.0, 30_000.0), (110.0, 1000.0)];
        close(&densities(&lenet, 0.9), &[0.079_568, 0.230_189, 1.0]);
        close(&densities(&lenet, 0.95), &[0.038_484, 0.111_334, 0.918_507]);
        close(&densities(&lenet, 0.5), &[0.434_099, 1.0, 1.0]);
        let lenet_5 = [(31.0, 500.0), (80.0, 25_000.0), (1300.0, 400_000.0), (510.0, 5000.0)];
        close(&densities(&lenet_5, 0.9), &[1.0, 0.087_072, 0.088_433, 1.0]);
    }

    #[test]
    fn erk_meets_its_sum_within_bounds() {
        let layer = |sum, weights, min, max| Extents {
            sum,
            weights,
            bounds: Bounds { min, max },
        };
        let layers = [layer(20.0, 100.0, 0.5, 0.6), layer(300.0, 200.0, 0.0, 1.0)];
        let found = erk(&layers, 0.4);
        close(&[found[0] * 100.0 + found[1] * 200.0], &[120.0]);
        assert!((0.5..=0.6).contains(&found[0]), "{found:?}");
    }

    #[test]
    fn owl_has_the_densities_of_the_reference_code() {
        // algorithms.md 6.18.
        let sparsities = owl(&[(4.0, 1.0), (2.0, 1.0), (1.0, 1.0)], 0.7);
        let densities: Vec<f64> = sparsities.iter().map(|sparsity| 1.0 - sparsity).collect();
        close(&densities, &[0.388_889, 0.282_222, 0.228_889]);
        close(&owl(&[(3.0, 5.0), (3.0, 9.0)], 0.6), &[0.6, 0.6]);
        // Layers of unequal size meet it together.
        let uneven = owl(&[(4.0, 10.0), (1.0, 1000.0)], 0.7);
        close(&[(uneven[0] * 10.0 + uneven[1] * 1000.0) / 1010.0], &[0.7]);
        // At the ends, densities stay within 0 and 1.
        for sparsity in [0.05, 0.97] {
            let found = owl(&[(4.0, 10.0), (1.0, 1.0)], sparsity);
            assert!(
                found.iter().all(|sparsity| *sparsity > 0.0 && *sparsity < 1.0),
                "{found:?}"
            );
        }
        close(
            &[outliers(&[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 9.1])],
            &[10.0],
        );
    }

    #[test]
    fn lamp_scores_are_those_of_the_paper() {
        // algorithms.md 6.18, sorted.
        let squares: Vec<f64> = [0.1f64, 0.2, 0.3, 0.4, 0.5, 0.6].map(|w| w * w).to_vec();
        close(
            &lamp(&squares),
            &[0.010_989, 0.044_444, 0.104_651, 0.207_792, 0.409_836, 1.0],
        );
        assert_eq!(lamp(&[f64::NEG_INFINITY, 1.0]), [f64::NEG_INFINITY, 1.0]);
    }
}
