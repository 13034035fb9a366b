//! What must hold for any weights and inputs.

use nalgebra::DMatrix;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{NM, method, unstructured};
use crate::mask::Pattern;
use crate::reconstruct::{METHODS, Problem, Removal, Solution, least_squares};

/// Weights, and inputs that depend on each other, as those of a network do.
fn problems() -> impl Strategy<Value = Problem> {
    let size = (1usize..4, 1usize..4);
    size.prop_flat_map(|(rows, cols)| {
        let (rows, cols) = (2 * rows, 4 * cols);
        let numbers = |count: usize| prop::collection::vec(-1.0..1.0, count);
        (numbers(rows * cols), numbers(40 * cols), numbers(cols * cols)).prop_map(move |(weights, inputs, mixing)| {
            let inputs = DMatrix::from_vec(40, cols, inputs) * DMatrix::from_vec(cols, cols, mixing);
            Problem {
                weights: DMatrix::from_vec(rows, cols, weights),
                gram: inputs.transpose() * inputs,
            }
        })
    })
}

fn removals(problem: &Problem, share: f64) -> [Removal; 3] {
    let count = |unit: usize| (share * (problem.weights.len() / unit) as f64) as usize;
    [(Pattern::Unstructured, 1), (NM, 4), (Pattern::Block { r: 2, c: 2 }, 4)].map(|(pattern, unit)| Removal {
        pattern,
        units: count(unit),
    })
}

fn pruned(mask: &[bool]) -> usize {
    mask.iter().filter(|&&keep| !keep).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn masks_have_their_pattern_and_weights_their_mask(problem in problems(), share in 0.0..1.0f64) {
        let (rows, cols) = problem.weights.shape();
        for removal in removals(&problem, share) {
            for method in METHODS.iter().filter(|method| method.chooses()) {
                let Solution { weights, mask } = method.solve(&problem, removal, Vec::new()).unwrap();
                for (i, keep) in mask.iter().enumerate() {
                    prop_assert!(*keep || weights[(i / cols, i % cols)] == 0.0);
                }
                match removal.pattern {
                    Pattern::Nm { .. } => prop_assert!(mask.chunks(4).all(|group| pruned(group) == 2)),
                    Pattern::Unstructured => prop_assert_eq!(pruned(&mask), removal.units),
                    Pattern::Kernel => unreachable!("no method chooses kernels"),
                    Pattern::Block { .. } => {
                        prop_assert_eq!(pruned(&mask), 4 * removal.units);
                        for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                            prop_assert_eq!(mask[i * cols + j], mask[i / 2 * 2 * cols + j / 2 * 2]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn least_squares_is_never_worse_than_masking(problem in problems(), share in 0.0..1.0f64) {
        for removal in removals(&problem, share) {
            let cols = problem.weights.ncols();
            let mut mask = vec![true; problem.weights.len()];
            removal.prune(&mut mask, cols, 0..cols, |i, j| problem.weights[(i, j)].powi(2));
            let fitted = method("least-squares").solve(&problem, removal, mask.clone()).unwrap();
            prop_assert_eq!(&fitted.mask, &mask);
            let masked = problem.error(&problem.masked(&mask));
            prop_assert!(problem.error(&fitted.weights) <= masked * (1.0 + 1e-9));
        }
    }

    #[test]
    fn no_weights_of_a_mask_are_better_than_least_squares(
        problem in problems(), share in 0.0..1.0f64, step in prop::collection::vec(-0.1..0.1, 72)
    ) {
        let damped = problem.damped();
        let cols = problem.weights.ncols();
        let mut mask = vec![true; problem.weights.len()];
        unstructured((share * mask.len() as f64) as usize)
            .prune(&mut mask, cols, 0..cols, |i, j| problem.weights[(i, j)].abs());
        let fitted = least_squares::fit(&damped, mask.clone()).unwrap().weights;
        let moved = DMatrix::from_fn(fitted.nrows(), cols, |i, j| {
            fitted[(i, j)] + if mask[i * cols + j] { step[(i * cols + j) % step.len()] } else { 0.0 }
        });
        prop_assert!(damped.error(&fitted) <= damped.error(&moved) * (1.0 + 1e-9));
    }

    #[test]
    fn least_squares_bounds_sparsegpt(problem in problems(), share in 0.0..1.0f64) {
        for removal in removals(&problem, share) {
            let found = method("sparsegpt").solve(&problem, removal, Vec::new()).unwrap();
            let damped = problem.damped();
            let best = least_squares::fit(&damped, found.mask).unwrap();
            prop_assert!(damped.error(&best.weights) <= damped.error(&found.weights) * (1.0 + 1e-9) + 1e-12);
        }
    }
}

/// On each problem this need not hold: which weights go first is a guess, and a column of SparseGPT's can count on
/// those that follow it only. One in five of these is better off with magnitude pruning than with SparseGPT.
#[test]
fn on_the_whole_methods_are_as_good_as_their_authors_say() {
    let mut runner = TestRunner::deterministic();
    let problems: Vec<Problem> = (0..150)
        .map(|_| problems().new_tree(&mut runner).unwrap().current())
        .collect();
    for (share, pattern) in [0.3, 0.5, 0.8]
        .iter()
        .flat_map(|share| (0..3).map(move |pattern| (share, pattern)))
    {
        let mean = |error: &dyn Fn(&Problem, Removal) -> f64| {
            let relative = problems.iter().map(|problem| {
                let energy = problem.error(&(0.0 * &problem.weights));
                error(problem, removals(problem, *share)[pattern]) / energy
            });
            relative.sum::<f64>() / problems.len() as f64
        };
        let magnitude = |problem: &Problem, removal: Removal| {
            let cols = problem.weights.ncols();
            let mut mask = vec![true; problem.weights.len()];
            removal.prune(&mut mask, cols, 0..cols, |i, j| problem.weights[(i, j)].abs());
            mask
        };
        let masked = mean(&|problem, removal| problem.error(&problem.masked(&magnitude(problem, removal))));
        let of = |name: &str| {
            mean(&|problem, removal| {
                let solution = method(name).solve(problem, removal, magnitude(problem, removal));
                problem.error(&solution.unwrap().weights)
            })
        };
        let [obc, sparsegpt, least_squares, alps] = ["obc", "sparsegpt", "least-squares", "alps"].map(of);
        let what = format!(
            "{share} of pattern {pattern}: masked {masked}, least squares {least_squares}, SparseGPT {sparsegpt}, OBC {obc}, \
             ALPS {alps}"
        );
        assert!(least_squares < masked && sparsegpt < masked, "{what}");
        assert!(obc < sparsegpt && alps < sparsegpt && obc < least_squares, "{what}");
    }
}
