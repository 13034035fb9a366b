//! What the network is trained on: samples in the order of an epoch, augmented.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::random::{Purpose, below, stream};
use crate::data::{Dataset, Preprocess};

/// A data set, and how its samples become inputs.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// The samples.
    pub dataset: &'a Dataset,
    /// Applied after augmentation.
    pub preprocess: &'a Preprocess,
}

/// Random changes of images `[C, H, W]`; others stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Augment {
    /// Mirror every second image, left to right.
    pub flip: bool,
    /// Shift by up to so many pixels in each direction; zeros come in.
    pub crop: usize,
}

/// The samples of an epoch in their order, the same for a seed and epoch.
pub(super) fn order(seed: u64, epoch: u64, samples: usize) -> Vec<usize> {
    shuffled(stream(seed, Purpose::Order, epoch, 0), samples)
}

/// The numbers below `samples` in random order (Fisher and Yates).
pub(super) fn shuffled(mut rng: ChaCha8Rng, samples: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    for last in (1..samples).rev() {
        order.swap(last, below(&mut rng, last + 1));
    }
    order
}

impl Samples<'_> {
    /// Chooses `count` samples at random, or all if there are no more; the same for a seed.
    pub(crate) fn choose(&self, count: usize, seed: u64) -> Vec<usize> {
        let mut chosen = shuffled(stream(seed, Purpose::Calibration, 0, 0), self.dataset.len());
        chosen.truncate(count);
        chosen
    }

    /// Writes sample `index` as it is.
    pub(crate) fn plain(&self, index: usize, x: &mut [f32]) {
        x.copy_from_slice(self.dataset.input(index));
        self.prepare(x);
    }

    /// Writes sample `index` as it is seen in an epoch.
    pub(super) fn augmented(&self, augment: Augment, seed: u64, epoch: u64, index: usize, x: &mut [f32]) {
        let stored = self.dataset.input(index);
        match *self.dataset.sample_shape() {
            [_, height, width] if augment != Augment::default() => {
                let mut rng = stream(seed, Purpose::Augmentation, epoch, index as u64);
                let range = 2 * augment.crop + 1;
                let [down, right] = [(); 2].map(|()| below(&mut rng, range) as isize - augment.crop as isize);
                let flip = rng.next_u32() & 1 == 1 && augment.flip;
                let planes = stored
                    .chunks_exact(height * width)
                    .zip(x.chunks_exact_mut(height * width));
                planes.for_each(|(from, to)| shift(from, width, [down, right], flip, to));
            }
            _ => x.copy_from_slice(stored),
        }
        self.prepare(x);
    }

    fn prepare(&self, x: &mut [f32]) {
        // Training and evaluation have checked that it fits.
        let _ = self.preprocess.apply(x, self.dataset.channels());
    }
}

/// A plane moved, and mirrored if `flip`.
fn shift(from: &[f32], width: usize, [down, right]: [isize; 2], flip: bool, to: &mut [f32]) {
    to.fill(0.0);
    for (y, row) in to.chunks_exact_mut(width).enumerate() {
        let Some(source) = y
            .checked_add_signed(-down)
            .and_then(|y| from.chunks_exact(width).nth(y))
        else {
            continue;
        };
        for (x, to) in row.iter_mut().enumerate() {
            if let Some(&from) = x.checked_add_signed(-right).and_then(|x| source.get(x)) {
                *to = from;
            }
        }
        if flip {
            row.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_sample_and_depends_on_the_epoch() {
        let mut first = order(1, 0, 100);
        assert_eq!(first, order(1, 0, 100));
        assert_ne!(first, order(1, 1, 100));
        assert_ne!(first, order(2, 0, 100));
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn planes_are_shifted_and_mirrored() {
        let plane = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let moved = |by, flip| {
            let mut to = [9.0; 6];
            shift(&plane, 3, by, flip, &mut to);
            to
        };
        assert_eq!(moved([0, 0], false), plane);
        assert_eq!(moved([0, 0], true), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(moved([1, 0], false), [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(moved([0, -1], false), [2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
        assert_eq!(moved([-1, 2], true), [4.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(moved([-7, 5], false), [0.0; 6]);
    }

    #[test]
    fn augmentation_is_a_function_of_seed_epoch_and_index() {
        let pixels: Vec<f32> = (0..2 * 16).map(|x| x as f32).collect();
        let dataset = Dataset::new(pixels, vec![1, 4, 4], None).unwrap();
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        let augment = Augment { flip: true, crop: 2 };
        let seen = |seed, epoch, index| {
            let mut x = vec![0.0; 16];
            samples.augmented(augment, seed, epoch, index, &mut x);
            x
        };
        assert_eq!(seen(3, 1, 1), seen(3, 1, 1));
        let kinds: Vec<Vec<f32>> = (0..8).map(|epoch| seen(3, epoch, 1)).collect();
        assert!(kinds.iter().any(|x| *x != kinds[0]));
        let mut plain = vec![0.0; 16];
        samples.augmented(Augment::default(), 3, 1, 1, &mut plain);
        assert_eq!(plain, dataset.input(1));
    }
}
