//! Losses of classes made equal, by Lagrange multipliers (Tran et al., arXiv 2205.13574; as it is done here is ours).
//!
//! What is made small is `J + Σ λ_a |J_a − J|`, J the mean loss of all samples and J_a that of class a. After each epoch
//! `λ_a` rises by `rate · |J_a − J|`, both as they were seen in the epoch. In the next, the loss of a sample of class a
//! has the weight `1 − Σ λ_b s_b + λ_a s_a / share_a`, s the signs of the differences: then batches of any composition
//! have, on average, the gradient of the sum. A weight below 0 would teach mistakes, and is 0.

/// What a training keeps of the classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Equalizer(Vec<Class>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Class {
    /// λ.
    multiplier: f64,
    /// J_a − J in the last epoch.
    gap: f64,
    /// Samples in this epoch.
    seen: f64,
    /// The sum of their losses.
    loss: f64,
}

impl Equalizer {
    /// The weights of a sample's loss by class, of which `shares` are the fractions of all samples.
    pub(super) fn weights(&self, shares: &[f64]) -> Vec<f64> {
        let signed = |class: &Class| class.multiplier * class.gap.signum();
        let all: f64 = self.0.iter().map(signed).sum();
        let own = |(index, share): (usize, &f64)| {
            // A class that was not seen has no multiplier.
            let own = self.0.get(index).map_or(0.0, |class| signed(class) / share);
            f64::max(1.0 - all + own, 0.0)
        };
        shares.iter().enumerate().map(own).collect()
    }

    /// Sees the loss of a sample.
    pub(super) fn add(&mut self, class: usize, loss: f64) {
        if class >= self.0.len() {
            self.0.resize(class + 1, Class::default());
        }
        self.0[class].seen += 1.0;
        self.0[class].loss += loss;
    }

    /// Ends an epoch.
    pub(super) fn end_epoch(&mut self, rate: f64) {
        let (seen, loss) = self
            .0
            .iter()
            .fold((0.0, 0.0), |(seen, loss), class| (seen + class.seen, loss + class.loss));
        for class in self.0.iter_mut().filter(|class| class.seen > 0.0) {
            class.gap = class.loss / class.seen - loss / seen;
            class.multiplier += rate * class.gap.abs();
            (class.seen, class.loss) = (0.0, 0.0);
        }
    }

    /// All of it as numbers.
    pub(super) fn to_numbers(&self) -> Vec<f64> {
        let numbers = |class: &Class| [class.multiplier, class.gap, class.seen, class.loss];
        self.0.iter().flat_map(numbers).collect()
    }

    /// The inverse of [`Equalizer::to_numbers`].
    pub(super) fn from_numbers(numbers: &[f64]) -> Self {
        let class = |&[multiplier, gap, seen, loss]: &[f64; 4]| Class {
            multiplier,
            gap,
            seen,
            loss,
        };
        Self(numbers.as_chunks().0.iter().map(class).collect())
    }
}

/// The fraction of the samples in each class.
pub(super) fn shares(labels: &[u32]) -> Vec<f64> {
    let mut shares = vec![0.0; labels.iter().max().map_or(0, |&label| label as usize + 1)];
    labels
        .iter()
        .for_each(|&label| shares[label as usize] += 1.0 / labels.len() as f64);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// algorithms.md 5.9
    #[test]
    fn both_multipliers_rise_and_the_worse_class_weighs_more() {
        let mut found = Equalizer::default();
        assert_eq!(found.weights(&[0.5, 0.5]), [1.0, 1.0]);
        for (class, loss) in [(0, 0.1), (1, 0.6), (0, 0.3), (1, 0.6)] {
            found.add(class, loss);
        }
        found.end_epoch(0.01);
        for class in &found.0 {
            assert!((class.multiplier - 0.002).abs() < 1e-12, "{class:?}");
        }
        let weights = found.weights(&[0.5, 0.5]);
        assert!(
            (weights[0] - 0.996).abs() < 1e-12 && (weights[1] - 1.004).abs() < 1e-12,
            "{weights:?}"
        );
    }

    #[test]
    fn weighted_losses_are_the_lagrangian() {
        // Classes of 6, 3 and 1 samples; the weights are to give J + Σ λ |J_a − J| for any losses of these signs.
        let (counts, losses) = ([6.0, 3.0, 1.0], [0.25, 0.5, 2.0]);
        let mut found = Equalizer::default();
        for (class, (&count, &loss)) in counts.iter().zip(&losses).enumerate() {
            (0..count as usize).for_each(|_| found.add(class, loss));
        }
        found.end_epoch(0.3);
        let mean = |losses: [f64; 3]| counts.iter().zip(losses).map(|(count, loss)| count * loss).sum::<f64>() / 10.0;
        for losses in [losses, [0.3, 0.4, 1.0]] {
            let all = mean(losses);
            let penalties = found.0.iter().zip(losses);
            let expected = all
                + penalties
                    .map(|(class, loss)| class.multiplier * (loss - all).abs())
                    .sum::<f64>();
            let weights = found.weights(&counts.map(|count| count / 10.0));
            let weighted = mean([0, 1, 2].map(|class| weights[class] * losses[class]));
            assert!((weighted - expected).abs() < 1e-12, "{weighted} instead of {expected}");
        }
    }

    #[test]
    fn no_loss_is_made_greater() {
        let mut found = Equalizer::default();
        for (class, loss) in [(0, 0.0), (1, 10.0)] {
            found.add(class, loss);
        }
        found.end_epoch(0.5);
        assert_eq!(found.weights(&[0.5, 0.5]), [0.0, 6.0]);
    }

    #[test]
    fn numbers_are_all_of_it() {
        let mut found = Equalizer::default();
        found.add(2, 0.5);
        found.end_epoch(0.1);
        found.add(0, 0.25);
        assert_eq!(Equalizer::from_numbers(&found.to_numbers()), found);
        assert!(Equalizer::default().to_numbers().is_empty());
    }
}
