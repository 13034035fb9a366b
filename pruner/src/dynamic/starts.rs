//! Masks that compete: many in one number per weight, how fit they are, and their children.

/// What the masks are judged by: the sums over what one keeps.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) kept: usize,
    pub(super) weights: f64,
    pub(super) gradients: f64,
}

impl Sums {
    pub(super) fn add(self, other: Self) -> Self {
        Self {
            kept: self.kept + other.kept,
            weights: self.weights + other.weights,
            gradients: self.gradients + other.gradients,
        }
    }
}

/// How fit masks are; products of what each is relative to the mean.
pub(super) fn fitness(how: &str, sums: &[Sums]) -> Vec<f64> {
    let mean =
        |sum: fn(&Sums) -> f64| -> Vec<f64> { sums.iter().map(|sums| sum(sums) / sums.kept.max(1) as f64).collect() };
    let relative = |means: Vec<f64>| -> Vec<f64> {
        let all = means.iter().sum::<f64>() / means.len().max(1) as f64;
        means
            .iter()
            .map(|mean| if all > 0.0 { mean / all } else { 0.0 })
            .collect()
    };
    let (weights, gradients) = (mean(|sums| sums.weights), mean(|sums| sums.gradients));
    match how {
        "weight" => weights,
        "gradient" => gradients,
        _ => {
            let pairs = relative(weights).into_iter().zip(relative(gradients));
            pairs.map(|(weight, gradient)| weight * gradient).collect()
        }
    }
}

/// A mask that keeps what both keep, and as much as `a` does by the highest `order` of what one of them keeps.
pub(super) fn cross(a: &[bool], b: &[bool], order: &[f64]) -> Vec<bool> {
    let mut child: Vec<bool> = a.iter().zip(b).map(|(a, b)| a & b).collect();
    let missing = a.iter().filter(|&&keep| keep).count() - child.iter().filter(|&&keep| keep).count();
    let mut either: Vec<usize> = (0..a.len()).filter(|&i| a[i] != b[i]).collect();
    either.sort_by(|&i, &j| order[j].total_cmp(&order[i]));
    either.iter().take(missing).for_each(|&i| child[i] = true);
    child
}

/// The mask that is bit `start` of each number.
pub(super) fn mask_of(bits: &[f32], start: u32) -> Vec<bool> {
    bits.iter().map(|&bits| bits as u32 >> start & 1 == 1).collect()
}

/// Makes a mask bit `start` of each number.
pub(super) fn set_mask(bits: &mut [f32], start: u32, mask: &[bool]) {
    for (bits, &keep) in bits.iter_mut().zip(mask) {
        *bits = ((*bits as u32 & !(1 << start)) | u32::from(keep) << start) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '1').collect()
    }

    #[test]
    fn the_fittest_mask_is_that_of_the_worked_example() {
        // algorithms.md 5.2.
        let weights = [1.0, 2.0, 3.0, 4.0];
        let sums = ["1100", "0011", "1001"].map(|mask| {
            let mask = bits(mask);
            let kept = weights.iter().zip(&mask).filter(|(_, keep)| **keep).map(|(w, _)| w);
            Sums {
                kept: kept.clone().count(),
                weights: kept.sum(),
                gradients: 0.5,
            }
        });
        assert_eq!(fitness("weight", &sums), [1.5, 3.5, 2.5]);
        assert_eq!(fitness("gradient", &sums), [0.25; 3]);
        // Both: equal gradients leave the weights, relative to their mean of 2.5.
        assert_eq!(fitness("both", &sums), [0.6, 1.4, 1.0]);
    }

    #[test]
    fn children_keep_what_both_parents_keep_and_as_much_as_they() {
        let (a, b) = (bits("110100"), bits("011100"));
        assert_eq!(cross(&a, &b, &[0.1, 0.0, 0.9, 0.0, 1.0, 1.0]), bits("011100"));
        assert_eq!(cross(&a, &b, &[0.9, 0.0, 0.1, 0.0, 1.0, 1.0]), a);
        assert_eq!(cross(&a, &a, &[0.0; 6]), a);
    }

    #[test]
    fn masks_are_bits_that_do_not_touch_each_other() {
        let mut all = vec![0.0; 4];
        set_mask(&mut all, 15, &bits("1010"));
        set_mask(&mut all, 3, &bits("0110"));
        set_mask(&mut all, 3, &bits("0011"));
        assert_eq!((mask_of(&all, 15), mask_of(&all, 3)), (bits("1010"), bits("0011")));
    }
}
