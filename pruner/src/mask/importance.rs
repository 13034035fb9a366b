//! Selection by importance: each output keeps its most important connections, as many as have a share `alpha` of the
//! importance of all (NNrelief, arXiv 2109.10795). Its bias is one of them.

use super::{Pattern, Quota};

/// How many of an output's connections stay, from the most important one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// The fewest that reach the share.
    Exact,
    /// As in the code of the authors: all that are more important than the first connection which is not needed, or than
    /// the last one if all are.
    Reference,
}

/// A layer whose outputs choose.
#[derive(Clone, Debug)]
pub struct Connections<'a> {
    /// Layer, scores and pattern, whose units must be within rows. Sparsity, pool and bounds do not matter.
    pub quota: Quota<'a>,
    /// `[rows]`, if it has one.
    pub bias: Option<&'a [f32]>,
    /// The share that stays; `None` is what meets the sparsity.
    pub alpha: Option<f64>,
}

/// What stays of a layer: `true` = keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `[rows, cols]`.
    pub weights: Vec<bool>,
    /// `[rows]`; empty if there is no bias.
    pub bias: Vec<bool>,
}

/// An output's connections by falling importance; its bias comes after its units.
struct Output {
    order: Vec<usize>,
    scores: Vec<f64>,
    /// Of the first, the first two, ...
    sums: Vec<f64>,
}

impl Output {
    fn new(scores: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // Of equals the first is the first to go, as everywhere.
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
        let scores: Vec<f64> = order.iter().map(|&connection| scores[connection]).collect();
        let sum = |sum: &mut f64, score: &f64| {
            *sum += score;
            Some(*sum)
        };
        let sums = scores.iter().scan(0.0, sum).collect();
        Self { order, scores, sums }
    }

    /// Its connections that stay.
    fn kept(&self, alpha: f64, prefix: Prefix) -> &[usize] {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let needed = match total > 0.0 {
            true => self.sums.partition_point(|&sum| sum < alpha * total) + 1,
            false => 0,
        };
        let count = match (prefix, self.scores.get(needed.min(self.order.len().saturating_sub(1)))) {
            (Prefix::Reference, Some(threshold)) => self.scores.partition_point(|score| score > threshold),
            _ => needed,
        };
        &self.order[..count.min(self.order.len())]
    }
}

/// Chooses what stays of each layer. Layers without a share of their own get the greatest that prunes at least
/// `sparsity` of their weights together, found by halving.
pub fn select_importance(layers: &[Connections<'_>], sparsity: f64, prefix: Prefix) -> Vec<Kept> {
    let outputs: Vec<Vec<Output>> = layers.iter().map(outputs).collect();
    let common = layers.iter().zip(&outputs).filter(|(layer, _)| layer.alpha.is_none());
    let common: Vec<(&Connections<'_>, &Vec<Output>)> = common.collect();
    let weights: usize = common.iter().map(|(layer, _)| layer.quota.layer.weights()).sum();
    let left = |alpha: f64| -> usize {
        let of = |(layer, outputs): &(&Connections<'_>, &Vec<Output>)| {
            let units = layer.quota.pattern.units(layer.quota.layer);
            let per_output = units.count() / outputs.len().max(1);
            let kept = |output: &Output| output.kept(alpha, prefix).iter().filter(|&&c| c < per_output).count();
            outputs.iter().map(kept).sum::<usize>() * units.size()
        };
        common.iter().map(of).sum()
    };
    let most = ((1.0 - sparsity) * weights as f64).floor() as usize;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..if common.is_empty() { 0 } else { 50 } {
        let middle = (low + high) / 2.0;
        if left(middle) <= most {
            low = middle;
        } else {
            high = middle;
        }
    }
    let chosen = layers.iter().zip(&outputs);
    chosen
        .map(|(layer, outputs)| kept(layer, outputs, layer.alpha.unwrap_or(low), prefix))
        .collect()
}

/// What each output of a layer has; what is pruned already is of no importance.
fn outputs(layer: &Connections<'_>) -> Vec<Output> {
    let quota = &layer.quota;
    let units = quota.pattern.units(quota.layer);
    let scores = (0..units.count()).map(|unit| {
        let score = quota.unit.score(units.members(unit).map(|w| quota.scores[w]));
        if score.is_finite() { score } else { 0.0 }
    });
    let scores: Vec<f64> = scores.collect();
    let rows = scores
        .chunks((units.count() / units.block_rows().max(1)).max(1))
        .enumerate();
    let output = |(row, units): (usize, &[f64])| {
        let bias = layer.bias.and_then(|bias| bias.get(row)).map(|&b| f64::from(b).abs());
        Output::new(&units.iter().copied().chain(bias).collect::<Vec<f64>>())
    };
    rows.map(output).collect()
}

fn kept(layer: &Connections<'_>, outputs: &[Output], alpha: f64, prefix: Prefix) -> Kept {
    let Quota { layer: of, pattern, .. } = &layer.quota;
    let units = pattern.units(of);
    let per_output = units.count() / outputs.len().max(1);
    let mut kept = Kept {
        weights: vec![false; of.weights()],
        bias: vec![false; layer.bias.map_or(0, <[f32]>::len)],
    };
    for (row, output) in outputs.iter().enumerate() {
        for &connection in output.kept(alpha, prefix) {
            if connection < per_output {
                units
                    .members(row * per_output + connection)
                    .for_each(|w| kept.weights[w] = true);
            } else if let Some(bias) = kept.bias.get_mut(row) {
                *bias = true;
            }
        }
    }
    kept
}

impl Pattern {
    /// Whether its units compete within one output.
    pub fn within_rows(self) -> bool {
        match self {
            Self::Unstructured | Self::Kernel => true,
            Self::Block { r, .. } => r == 1,
            Self::Nm { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The connections that stay of some, in order.
    fn kept(scores: &[f64], alpha: f64, prefix: Prefix) -> Vec<usize> {
        let mut kept = Output::new(scores).kept(alpha, prefix).to_vec();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn outputs_keep_what_has_their_share() {
        // algorithms.md 5.10: the weights of a neuron and its bias, then two kernels.
        let neuron = [1.0, 0.1, 0.3, 0.2];
        for (alpha, exact, reference) in [
            (0.9, vec![0, 2, 3], vec![0, 2, 3]),
            (0.8, vec![0, 2], vec![0, 2]),
            (1.0, vec![0, 1, 2, 3], vec![0, 2, 3]),
        ] {
            assert_eq!(kept(&neuron, alpha, Prefix::Exact), exact, "{alpha}");
            assert_eq!(kept(&neuron, alpha, Prefix::Reference), reference, "{alpha}");
        }
        assert_eq!(kept(&[4.0, 0.4], 0.9, Prefix::Exact), [0]);
    }

    #[test]
    fn ties_go_together_only_in_the_reference_and_nothing_keeps_nothing() {
        assert_eq!(kept(&[1.0; 4], 0.5, Prefix::Exact), [2, 3]);
        assert_eq!(kept(&[1.0; 4], 0.5, Prefix::Reference), [0; 0]);
        assert_eq!(kept(&[0.0; 3], 0.5, Prefix::Exact), [0; 0]);
        // Zeros are never needed.
        assert_eq!(kept(&[0.0, 2.0, 0.0], 1.0, Prefix::Exact), [1]);
    }
}
