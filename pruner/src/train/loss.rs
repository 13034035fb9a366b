//! Losses of a batch and their gradients.

use serde::{Deserialize, Serialize};

/// What training makes small.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Of the softmax of the outputs and the label.
    CrossEntropy {
        /// The share of the label that goes to all classes alike (arXiv 1512.00567).
        smoothing: f32,
    },
    /// The mean square of the difference of outputs and label (1 for its class, 0 for others).
    MeanSquare,
}

/// How outputs are pulled towards those of a teacher (arXiv 1503.02531): the loss is
/// `(1 − weight) · own + weight · T² · KL(teacher ‖ student)`, both softmaxes of outputs / T.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// T.
    pub temperature: f32,
    /// 0 to 1.
    pub weight: f32,
}

/// Sums over samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Samples.
    pub seen: u64,
    /// Of them, those whose largest output is that of their label.
    pub correct: u64,
    /// Of their losses.
    pub loss: f64,
}

impl Sums {
    pub(super) fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.correct += other.correct;
        self.loss += other.loss;
    }

    /// The mean loss.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.seen.max(1) as f64
    }

    /// The fraction correct.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.seen.max(1) as f64
    }
}

/// The loss of one sample, whose gradient with respect to `y`, times `scale`, goes to `dy`.
pub(crate) fn sample(
    loss: Loss,
    teacher: Option<(Distillation, &[f32])>,
    label: usize,
    y: &[f32],
    scale: f32,
    dy: &mut [f32],
) -> f64 {
    let own = match teacher {
        Some((distillation, _)) => 1.0 - distillation.weight,
        None => 1.0,
    };
    let mut total = f64::from(own)
        * match loss {
            Loss::CrossEntropy { smoothing } => {
                let log_sum = log_sum_exp(y, 1.0);
                let (even, label_share) = (smoothing / y.len() as f32, 1.0 - smoothing);
                let mut value = 0.0;
                for (class, (&y, dy)) in y.iter().zip(&mut *dy).enumerate() {
                    let target = even + if class == label { label_share } else { 0.0 };
                    let log = y - log_sum;
                    value -= f64::from(target) * f64::from(log);
                    *dy = own * scale * (log.exp() - target);
                }
                value
            }
            Loss::MeanSquare => {
                let mut value = 0.0;
                let count = y.len() as f32;
                for (class, (&y, dy)) in y.iter().zip(&mut *dy).enumerate() {
                    let off = y - f32::from(u8::from(class == label));
                    value += f64::from(off) * f64::from(off);
                    *dy = own * scale * 2.0 * off / count;
                }
                value / f64::from(count)
            }
        };
    if let Some((Distillation { temperature, weight }, teacher)) = teacher {
        let [own_sum, its_sum] = [y, teacher].map(|y| log_sum_exp(y, temperature));
        let mut divergence = 0.0;
        for ((&y, &t), dy) in y.iter().zip(teacher).zip(dy) {
            let (own_log, its_log) = (y / temperature - own_sum, t / temperature - its_sum);
            divergence += f64::from(its_log.exp()) * f64::from(its_log - own_log);
            *dy += weight * scale * temperature * (own_log.exp() - its_log.exp());
        }
        total += f64::from(weight * temperature * temperature) * divergence;
    }
    total
}

/// The probabilities of the classes.
pub(crate) fn softmax(y: &[f32]) -> Vec<f64> {
    let log_sum = log_sum_exp(y, 1.0);
    y.iter().map(|y| f64::from((y - log_sum).exp())).collect()
}

/// ln Σ e^(y / temperature).
fn log_sum_exp(y: &[f32], temperature: f32) -> f32 {
    let max = y.iter().fold(f32::NEG_INFINITY, |max, &y| max.max(y / temperature));
    max + y.iter().map(|&y| (y / temperature - max).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Loss = Loss::CrossEntropy { smoothing: 0.0 };

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }

    #[test]
    fn distillation_has_the_published_numbers() {
        // By hand, from the definition in arXiv 1503.02531.
        let teacher = [2.0, 1.0, 0.0];
        let distillation = Distillation {
            temperature: 2.0,
            weight: 1.0,
        };
        let mut dy = [0.0; 3];
        let value = sample(PLAIN, Some((distillation, &teacher)), 0, &[1.0; 3], 1.0, &mut dy);
        close(value, 0.313_684);
        for (found, teacher) in dy.into_iter().zip([0.506_480, 0.307_196, 0.186_324]) {
            close(found.into(), 2.0 * (1.0 / 3.0 - teacher));
        }
    }

    #[test]
    fn gradients_are_differences_of_losses() {
        let (y, teacher) = ([0.3, -0.8, 1.2, 0.1], [1.0, 0.2, -0.4, 0.6]);
        let distilled = Some((
            Distillation {
                temperature: 3.0,
                weight: 0.7,
            },
            &teacher[..],
        ));
        for loss in [PLAIN, Loss::CrossEntropy { smoothing: 0.1 }, Loss::MeanSquare] {
            for teacher in [None, distilled] {
                let mut dy = [0.0; 4];
                sample(loss, teacher, 2, &y, 1.0, &mut dy);
                for (class, &found) in dy.iter().enumerate() {
                    let at = |by: f32| {
                        let mut y = y;
                        y[class] += by;
                        sample(loss, teacher, 2, &y, 1.0, &mut [0.0; 4])
                    };
                    let expected = (at(0.01) - at(-0.01)) / 0.02;
                    assert!(
                        (f64::from(found) - expected).abs() < 1e-4,
                        "{loss:?} {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn large_outputs_do_not_overflow() {
        let value = sample(PLAIN, None, 1, &[1000.0, 0.0], 1.0, &mut [0.0; 2]);
        close(value, 1000.0);
    }
}
