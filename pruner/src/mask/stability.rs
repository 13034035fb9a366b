//! How far the weights that stay are from where they began.

/// Sums over the weights that a mask keeps, before and after training (what is measured is ours; the question is that
/// of arXiv 2001.05050).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stability {
    kept: f64,
    before: f64,
    after: f64,
    before_squares: f64,
    after_squares: f64,
    products: f64,
    moved_squares: f64,
    same_signs: f64,
}

impl Stability {
    /// Adds the weights of a layer, of which `kept` says which stay.
    pub fn add(&mut self, before: &[f32], after: &[f32], kept: &[bool]) {
        let weights = before.iter().zip(after).zip(kept).filter(|(_, kept)| **kept);
        for ((&before, &after), _) in weights {
            let (before, after) = (f64::from(before), f64::from(after));
            self.kept += 1.0;
            self.before += before;
            self.after += after;
            self.before_squares += before * before;
            self.after_squares += after * after;
            self.products += before * after;
            self.moved_squares += (after - before) * (after - before);
            self.same_signs += f64::from(u8::from(before * after > 0.0));
        }
    }

    /// Pearson's correlation of the weights before and after; `None` where one of both does not vary.
    pub fn correlation(&self) -> Option<f64> {
        let covariance = self.kept * self.products - self.before * self.after;
        let [before, after] = [(self.before_squares, self.before), (self.after_squares, self.after)]
            .map(|(squares, sum)| self.kept * squares - sum * sum);
        (before > 0.0 && after > 0.0).then(|| covariance / (before.sqrt() * after.sqrt()))
    }

    /// `‖after − before‖₂ / ‖before‖₂`; `None` where all began as zero.
    pub fn displacement(&self) -> Option<f64> {
        (self.before_squares > 0.0).then(|| (self.moved_squares / self.before_squares).sqrt())
    }

    /// The share of weights whose sign is what it was; `None` where nothing stays.
    pub fn same_signs(&self) -> Option<f64> {
        (self.kept > 0.0).then(|| self.same_signs / self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &[f32], after: &[f32], kept: &[bool]) -> Stability {
        let mut found = Stability::default();
        found.add(before, after, kept);
        found
    }

    #[test]
    fn what_is_pruned_does_not_count() {
        let found = of(&[1.0, 2.0, 9.0, 3.0], &[2.0, 4.0, 0.0, 6.0], &[true, true, false, true]);
        assert!((found.correlation().unwrap() - 1.0).abs() < 1e-12);
        assert!((found.displacement().unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(found.same_signs(), Some(1.0));
    }

    #[test]
    fn correlation_displacement_and_signs_are_those_of_the_definition() {
        // After is 1 + 2 · before; the squares of the differences are 0, 1 and 4.
        let found = of(&[-1.0, 0.0, 1.0], &[-1.0, 1.0, 3.0], &[true; 3]);
        assert!((found.correlation().unwrap() - 1.0).abs() < 1e-12);
        assert!((found.displacement().unwrap() - (5.0f64 / 2.0).sqrt()).abs() < 1e-12);
        assert_eq!(found.same_signs(), Some(2.0 / 3.0));
        let against = of(&[1.0, -1.0], &[-2.0, 2.0], &[true; 2]);
        assert_eq!((against.correlation(), against.same_signs()), (Some(-1.0), Some(0.0)));
    }

    #[test]
    fn layers_are_summed() {
        let (before, after) = ([0.5, -0.25, 2.0, 1.0], [0.25, 0.5, 1.0, 1.5]);
        let mut sum = of(&before[..2], &after[..2], &[true; 2]);
        sum.add(&before[2..], &after[2..], &[true; 2]);
        assert_eq!(sum, of(&before, &after, &[true; 4]));
    }

    #[test]
    fn nothing_has_no_stability() {
        let found = of(&[1.0], &[0.0], &[false]);
        assert_eq!(
            (found.correlation(), found.displacement(), found.same_signs()),
            (None, None, None)
        );
    }
}
