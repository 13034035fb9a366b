//! Masks of channels: how the loss depends on them (arXiv 2204.09656).

use secateur_format::graph::Graph;

use super::coupling::{Coupling, Group};
use crate::calibrate::{Calibration, Gradients};
use crate::eval::EvalError;
use crate::train::Statistics;

/// The gradient of the mean loss of each mini-batch by a mask of each channel, where layers read it, at 1:
/// `[channel][mini-batch]`. Scaling a channel is scaling the weights that read it, so it is `Σ w · dL/dw` over these.
///
/// # Errors
/// An [`EvalError`], if there are no labels, or the samples do not fit.
pub fn mask_gradients(
    graph: &Graph,
    coupling: &Coupling,
    calibration: &Calibration<'_>,
    batch: usize,
) -> Result<Vec<Vec<f64>>, EvalError> {
    let mut found = vec![Vec::new(); coupling.count];
    let mut gradients = Gradients::new(graph, calibration, batch, Statistics::Frozen)?;
    gradients.each(graph, |_, gradients| {
        let sums = coupling.sums_over_readers(graph, |tensor, index, weights| {
            let gradient = gradients
                .get(usize::from(tensor.0))
                .and_then(|gradient| gradient.get(index));
            gradient.map_or(0.0, |&gradient| f64::from(weights[index]) * f64::from(gradient))
        });
        found.iter_mut().zip(sums).for_each(|(found, sum)| found.push(sum));
    });
    Ok(found)
}

/// Exchanges channels of a group, so that those that go do little to the loss together; as many go as before.
/// `gradients` are those of [`mask_gradients`].
pub(super) fn rearrange(group: &Group, gradients: &[Vec<f64>], keep: &mut [bool]) {
    let own: Vec<&[f64]> = group
        .channels
        .iter()
        .map(|&channel| gradients[channel].as_slice())
        .collect();
    let mut stay: Vec<bool> = group.channels.iter().map(|&channel| keep[channel]).collect();
    exchange(&own, &mut stay);
    let channels = group.channels.iter().zip(stay);
    channels.for_each(|(&channel, stays)| keep[channel] = stays);
}

/// Exchanges what goes for what stays of some units, so that `‖Σ g_i‖²` over those that go becomes small; `gradients` are
/// `[unit][mini-batch]`, and as many go as before.
fn exchange(gradients: &[&[f64]], keep: &mut [bool]) {
    let square = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>();
    let mut order: Vec<usize> = (0..gradients.len()).collect();
    order.sort_by(|&a, &b| square(gradients[a]).total_cmp(&square(gradients[b])).then(a.cmp(&b)));
    let mut gone: Vec<usize> = order.iter().copied().filter(|&unit| !keep[unit]).collect();
    if gone.is_empty() {
        return;
    }
    let mut sum = vec![0.0; gradients[0].len()];
    let add = |sum: &mut [f64], unit: usize, sign: f64| {
        sum.iter_mut()
            .zip(gradients[unit])
            .for_each(|(sum, g)| *sum += sign * g);
    };
    gone.iter().for_each(|&unit| add(&mut sum, unit, 1.0));
    for candidate in order.into_iter().filter(|&unit| keep[unit]) {
        add(&mut sum, candidate, 1.0);
        gone.push(candidate);
        let without = |unit: usize| {
            sum.iter()
                .zip(gradients[unit])
                .map(|(sum, g)| (sum - g).powi(2))
                .sum::<f64>()
        };
        let costs = gone.iter().map(|&unit| without(unit)).enumerate();
        // Of equals the last, which has just come, so that nothing is exchanged for nothing.
        let back = costs
            .min_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .map_or(0, |(index, _)| index);
        let back = gone.remove(back);
        add(&mut sum, back, -1.0);
    }
    keep.fill(true);
    gone.into_iter().for_each(|unit| keep[unit] = false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cancels_out_goes_together() {
        // algorithms.md 5.8: by itself the third is of least importance, with any other it is not.
        let gradients: [&[f64]; 3] = [&[1.0, 2.0], &[-1.0, -2.0], &[0.5, 0.0]];
        let mut keep = [false, true, false];
        exchange(&gradients, &mut keep);
        assert_eq!(keep, [false, false, true]);
        // Nothing is better than what was chosen, and nothing goes if nothing did.
        exchange(&gradients, &mut keep);
        assert_eq!(keep, [false, false, true]);
        let mut all = [true; 3];
        exchange(&gradients, &mut all);
        assert_eq!(all, [true; 3]);
    }

    #[test]
    fn the_cost_never_grows_and_counts_stay() {
        let value = |i: usize, j: usize| ((i * 31 + j * 17) as f64 * 0.71).sin();
        let gradients: Vec<Vec<f64>> = (0..12).map(|i| (0..5).map(|j| value(i, j)).collect()).collect();
        let gradients: Vec<&[f64]> = gradients.iter().map(Vec::as_slice).collect();
        let cost = |keep: &[bool]| {
            let sum = |j: usize| (0..12).filter(|&i| !keep[i]).map(|i| gradients[i][j]).sum::<f64>();
            (0..5).map(|j| sum(j).powi(2)).sum::<f64>()
        };
        let mut order: Vec<usize> = (0..12).collect();
        let square = |i: usize| gradients[i].iter().map(|g| g * g).sum::<f64>();
        order.sort_by(|&a, &b| square(a).total_cmp(&square(b)));
        for count in 1..12 {
            let mut keep = [true; 12];
            order[..count].iter().for_each(|&unit| keep[unit] = false);
            let before = cost(&keep);
            exchange(&gradients, &mut keep);
            assert!(cost(&keep) <= before + 1e-12, "{count}");
            assert_eq!(keep.iter().filter(|&&keep| !keep).count(), count);
        }
    }
}
