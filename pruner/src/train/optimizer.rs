//! Optimisers, as PyTorch defines them.

use serde::{Deserialize, Serialize};

/// How a weight follows its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// What stays of the velocity each step; 0 for none.
        momentum: f32,
        /// Whether the gradient looks ahead by the velocity (Nesterov).
        nesterov: bool,
        /// Times the weight, added to the gradient.
        weight_decay: f32,
    },
    /// Adam (arXiv 1412.6980).
    Adam(Adam),
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    AdamW(Adam),
}

/// The numbers of Adam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// What stays of the mean and of the mean square each step.
    pub betas: [f32; 2],
    /// Added to the root of the mean square.
    pub eps: f32,
    /// Times the weight: added to the gradient, or subtracted from the weight where it is decoupled.
    pub weight_decay: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Optimizer {
    /// How many numbers it keeps of each weight: velocity, or mean and mean square.
    pub(super) fn slots(&self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Self::Adam(_) | Self::AdamW(_) => 2,
        }
    }

    /// The same without weight decay.
    pub(crate) fn without_decay(mut self) -> Self {
        match &mut self {
            Self::Sgd { weight_decay, .. } => *weight_decay = 0.0,
            Self::Adam(adam) | Self::AdamW(adam) => adam.weight_decay = 0.0,
        }
        self
    }

    /// Changes weights by `factor` times their gradients; `slots` are what it keeps of them, `step` counts from 1.
    pub(crate) fn update(
        &self,
        rate: f64,
        step: u64,
        w: &mut [f32],
        gradient: &[f32],
        factor: f32,
        slots: [&mut [f32]; 2],
    ) {
        let gradient = gradient.iter().map(|g| factor * g);
        let [first, second] = slots;
        match *self {
            Self::Sgd {
                momentum,
                nesterov,
                weight_decay,
            } => {
                let rate = rate as f32;
                if momentum == 0.0 {
                    w.iter_mut()
                        .zip(gradient)
                        .for_each(|(w, g)| *w -= rate * (g + weight_decay * *w));
                    return;
                }
                for ((w, g), velocity) in w.iter_mut().zip(gradient).zip(first) {
                    let g = g + weight_decay * *w;
                    *velocity = momentum * *velocity + g;
                    *w -= rate * if nesterov { g + momentum * *velocity } else { *velocity };
                }
            }
            Self::Adam(adam) => adam.update(rate, step, false, w.iter_mut().zip(gradient), [first, second]),
            Self::AdamW(adam) => adam.update(rate, step, true, w.iter_mut().zip(gradient), [first, second]),
        }
    }
}

impl Adam {
    fn update<'w>(
        &self,
        rate: f64,
        step: u64,
        decoupled: bool,
        weights: impl Iterator<Item = (&'w mut f32, f32)>,
        [means, squares]: [&mut [f32]; 2],
    ) {
        let [b1, b2] = self.betas;
        let unbiased = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let size = (rate / unbiased(b1)) as f32;
        let root = (1.0 / unbiased(b2).sqrt()) as f32;
        let (decay, shrink) = match decoupled {
            false => (self.weight_decay, 1.0),
            true => (0.0, (1.0 - rate * f64::from(self.weight_decay)) as f32),
        };
        let kept = means.iter_mut().zip(squares);
        for ((w, g), (mean, square)) in weights.zip(kept) {
            let g = g + decay * *w;
            *w *= shrink;
            *mean += (1.0 - b1) * (g - *mean);
            *square = b2 * *square + (1.0 - b2) * g * g;
            *w -= size * *mean / (square.sqrt() * root + self.eps);
        }
    }
}
