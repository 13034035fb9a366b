//! Which classes pruning costs more than others, and what of the dense network foretells it (Tran et al., arXiv
//! 2205.13574).

mod eigenvalue;

use secateur_format::graph::Graph;
use thiserror::Error;

use crate::calibrate::{Calibration, Gradients, length};
use crate::eval::{EvalError, argmax};
use crate::train::{
    Loss, Purpose, Samples, Statistics, below, each_output, fitting_labels, normal, sample_loss, softmax, stream,
};

pub use eigenvalue::largest_eigenvalue;

/// How far weights are moved to see how gradients change, relative to their length: weights are f32.
const STEP: f64 = 1e-3;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 1000;

/// What pruning does to a class.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ClassImpact {
    /// The class.
    pub class: usize,
    /// Its samples.
    pub count: usize,
    /// Fraction correct before pruning.
    pub accuracy_dense: f64,
    /// After it.
    pub accuracy_sparse: f64,
    /// R(a) = J(θ'; D_a) − J(θ; D_a), J the mean cross-entropy: by how much the loss rises.
    pub excess_loss: f64,
    /// 95 % of R(a) over samples drawn again, with replacement.
    pub interval: [f64; 2],
    /// ‖g_a‖, the length of the gradient of J(θ; D_a).
    pub gradient_norm: f64,
    /// λ_max of the Hessian of J(θ; D_a).
    pub curvature: f64,
    /// What R(a) is at most, but for terms of the third order ([`bound`]).
    pub bound: f64,
    /// The mean of 1 − Σ f², f the probabilities: how near samples are to the decision boundary.
    pub boundary: f64,
}

/// What pruning does to all classes.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Impact {
    /// ‖θ' − θ‖ over all parameters.
    pub shift: f64,
    /// The greatest difference of two R(a).
    pub violation: f64,
    /// Classes that have samples.
    pub classes: Vec<ClassImpact>,
}

/// Why two models cannot be compared.
#[derive(Debug, Error)]
pub enum ImpactError {
    /// They have other parameters.
    #[error(
        "the models have not the same parameters, so there is no distance between them: give the network before and \
         after setting weights to zero, such as dense.sct and model.sct of a run that removes no channels"
    )]
    Parameters,
    /// The data does not fit.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

/// How gradients and curvature are measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of each class that are used for them, at most.
    pub samples: usize,
    /// Of what is drawn.
    pub seed: u64,
}

/// What a sample costs, dense and sparse.
struct Cost {
    loss: [f64; 2],
    correct: [bool; 2],
    boundary: f64,
}

/// Compares a network before and after pruning, class by class; `tick` is called after each.
///
/// # Errors
/// An [`ImpactError`].
pub fn impact(
    dense: &Graph,
    sparse: &Graph,
    samples: Samples<'_>,
    effort: Effort,
    mut tick: impl FnMut(),
) -> Result<Impact, ImpactError> {
    let sizes = |graph: &Graph| graph.tensors.iter().map(|t| (t.rows, t.cols)).collect::<Vec<_>>();
    if sizes(dense) != sizes(sparse) {
        return Err(ImpactError::Parameters);
    }
    let costs = costs(dense, sparse, &samples)?;
    let labels = fitting_labels(dense, &samples)?;
    let (mut shift, mut classes) = (0.0, Vec::new());
    for class in 0..labels.iter().max().map_or(0, |&label| label as usize + 1) {
        let own: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] as usize == class).collect();
        if own.is_empty() {
            continue;
        }
        let chosen = drawn(&own, effort, class);
        let calibration = Calibration::of(samples, chosen);
        let mut gradients = Gradients::new(dense, &calibration, 128, Statistics::Frozen)?;
        let gradient = gradients.mean(dense);
        shift = distance(dense, sparse, &gradient);
        let gradient_norm = length(gradient.iter().flatten().copied());
        let weights = length(parameters(dense, &gradient));
        let mut rng = stream(effort.seed, Purpose::Direction, 0, class as u64);
        let start = gradient
            .iter()
            .map(|own| own.iter().map(|_| normal(&mut rng)).collect())
            .collect();
        let curvature = largest_eigenvalue(start, |direction| {
            let step = STEP * weights / length(direction.iter().flatten().copied()).max(f64::MIN_POSITIVE);
            gradients.hessian_product(dense, direction, step)
        });
        let of = |value: &dyn Fn(&Cost) -> f64| own.iter().map(|&i| value(&costs[i])).sum::<f64>() / own.len() as f64;
        let rises: Vec<f64> = own.iter().map(|&i| costs[i].loss[1] - costs[i].loss[0]).collect();
        classes.push(ClassImpact {
            class,
            count: own.len(),
            accuracy_dense: of(&|cost| f64::from(u8::from(cost.correct[0]))),
            accuracy_sparse: of(&|cost| f64::from(u8::from(cost.correct[1]))),
            excess_loss: rises.iter().sum::<f64>() / rises.len() as f64,
            interval: bootstrap(&rises, effort.seed, class),
            gradient_norm,
            curvature,
            bound: bound(gradient_norm, curvature, shift),
            boundary: of(&|cost| cost.boundary),
        });
        tick();
    }
    let excess = classes.iter().map(|class| class.excess_loss);
    let [least, most] = excess.fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], r| [a.min(r), b.max(r)]);
    Ok(Impact {
        shift,
        violation: f64::max(most - least, 0.0),
        classes,
    })
}

/// `‖g‖ · shift + ½ λ · shift²`: what the loss rises by at most when parameters move by `shift`, to the second order.
pub fn bound(gradient_norm: f64, curvature: f64, shift: f64) -> f64 {
    gradient_norm * shift + 0.5 * curvature * shift * shift
}

fn costs(dense: &Graph, sparse: &Graph, samples: &Samples<'_>) -> Result<Vec<Cost>, EvalError> {
    let plain = Loss::CrossEntropy { smoothing: 0.0 };
    let mut costs = Vec::with_capacity(samples.dataset.len());
    each_output(dense, samples, |_, label, y| {
        let sure: f64 = softmax(y).iter().map(|p| p * p).sum();
        let loss = sample_loss(plain, None, label, y, 1.0, &mut vec![0.0; y.len()]);
        costs.push(Cost {
            loss: [loss; 2],
            correct: [argmax(y) == Some(label); 2],
            boundary: 1.0 - sure,
        });
    })?;
    each_output(sparse, samples, |sample, label, y| {
        let cost = &mut costs[sample];
        cost.loss[1] = sample_loss(plain, None, label, y, 1.0, &mut vec![0.0; y.len()]);
        cost.correct[1] = argmax(y) == Some(label);
    })?;
    Ok(costs)
}

/// Some of the samples of a class, or all.
fn drawn(own: &[usize], effort: Effort, class: usize) -> Vec<usize> {
    let mut rng = stream(effort.seed, Purpose::Calibration, 1, class as u64);
    let mut own = own.to_vec();
    let count = effort.samples.min(own.len());
    for first in 0..count {
        let other = first + below(&mut rng, own.len() - first);
        own.swap(first, other);
    }
    own.truncate(count);
    own
}

/// The values of the constants that have gradients.
fn parameters<'g>(graph: &'g Graph, gradients: &'g [Vec<f64>]) -> impl Iterator<Item = f64> + 'g {
    let trained = graph
        .tensors
        .iter()
        .zip(gradients)
        .filter(|(_, gradient)| !gradient.is_empty());
    trained.flat_map(|(tensor, _)| tensor.data.iter().map(|&w| f64::from(w)))
}

fn distance(dense: &Graph, sparse: &Graph, gradients: &[Vec<f64>]) -> f64 {
    let pairs = parameters(dense, gradients).zip(parameters(sparse, gradients));
    length(pairs.map(|(before, after)| after - before))
}

/// The 95 % interval of the mean by the percentiles of means of resamples (Efron 1979).
fn bootstrap(values: &[f64], seed: u64, class: usize) -> [f64; 2] {
    let mut rng = stream(seed, Purpose::Bootstrap, 0, class as u64);
    let mean = |_| {
        let drawn = (0..values.len()).map(|_| values[below(&mut rng, values.len())]);
        drawn.sum::<f64>() / values.len() as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES).map(mean).collect();
    means.sort_by(f64::total_cmp);
    [0.025, 0.975].map(|share| means[(share * (RESAMPLES - 1) as f64).round() as usize])
}

#[cfg(test)]
mod tests;
