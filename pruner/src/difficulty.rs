//! How hard samples are to learn: EL2N.

use secateur_format::graph::Graph;

use crate::train::{Ending, Hooks, Init, Plan, Samples, State, TrainError, Trainer, each_output, softmax};

/// `‖softmax(y) − onehot(label)‖₂` of the outputs y for a sample: 0 if the network is sure and right, √2 if it is sure
/// and wrong (Paul et al., arXiv 2107.07075).
pub fn el2n(y: &[f32], label: usize) -> f64 {
    let off = softmax(y).into_iter().enumerate();
    let squares = off.map(|(class, p)| {
        let off = p - f64::from(u8::from(class == label));
        off * off
    });
    squares.sum::<f64>().sqrt()
}

/// The mean [`el2n`] of each sample over independent trainings of `runs` seeds from `seed` on, each from weights drawn
/// anew; `hooks` sees them all.
///
/// # Errors
/// A [`TrainError`].
pub fn difficulty(
    graph: &Graph,
    init: Init,
    samples: Samples<'_>,
    plan: &Plan,
    runs: u64,
    hooks: &mut dyn Hooks,
) -> Result<Vec<f64>, TrainError> {
    let mut scores = vec![0.0; samples.dataset.len()];
    for run in 0..runs {
        let seed = plan.seed.wrapping_add(run);
        let mut fresh = graph.clone();
        init.apply(&mut fresh, seed);
        let mut state = State::new(fresh)?;
        let plan = Plan { seed, ..plan.clone() };
        let ending = Trainer::new(state.graph(), samples, None, plan)?.train(&mut state, hooks)?;
        if ending == Ending::Stopped {
            break;
        }
        each_output(state.graph(), &samples, |sample, label, y| {
            scores[sample] += el2n(y, label) / runs as f64;
        })?;
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use secateur_format::Shape;

    use super::*;
    use crate::data::{Dataset, Preprocess};
    use crate::recipe::Training;
    use crate::train::zoo;

    /// algorithms.md 5.6
    #[test]
    fn the_score_is_the_length_of_the_error() {
        let y = [0.7f32, 0.2, 0.1].map(f32::ln);
        assert!((el2n(&y, 0) - 0.374_166).abs() < 1e-6);
        assert!(el2n(&[100.0, 0.0, 0.0], 0) < 1e-9);
        assert!((el2n(&[100.0, 0.0, 0.0], 1) - std::f64::consts::SQRT_2).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_label_is_harder_than_its_neighbours() {
        // Two classes on both sides of 0; sample 3 has the label of the other.
        let x = |sample: usize| if sample.is_multiple_of(2) { 1.0 } else { -1.0 };
        let values = (0..40).flat_map(|sample| [x(sample), x(sample) * (1.0 + sample as f32 / 40.0)]);
        let mut labels: Vec<u32> = (0..40).map(|sample| sample % 2).collect();
        labels[3] = 0;
        let dataset = Dataset::new(values.collect(), vec![2], Some(labels)).unwrap();
        let network = zoo::find("lenet-300-100").unwrap();
        let graph = network.build(Shape::new(&[2]).unwrap(), 2, Init::default(), 0).unwrap();
        let training = Training {
            epochs: Some(4),
            batch: Some(8),
            ..Training::default()
        };
        let samples = Samples {
            dataset: &dataset,
            preprocess: &Preprocess::default(),
        };
        let plan = training.plan(7, 40);
        let found = difficulty(&graph, Init::default(), samples, &plan, 3, &mut ()).unwrap();
        let hardest = (0..40).max_by(|&a, &b| found[a].total_cmp(&found[b]));
        assert_eq!(hardest, Some(3));
        assert!(found[3] > 1.0 && found[1] < 0.3, "{} {}", found[3], found[1]);
        // The weights that the graph has do not matter.
        let mut other = graph.clone();
        other.tensors.iter_mut().for_each(|tensor| tensor.data.fill(0.5));
        assert_eq!(
            found,
            difficulty(&other, Init::default(), samples, &plan, 3, &mut ()).unwrap()
        );
    }
}
