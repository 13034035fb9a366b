//! The worked examples of algorithms.md, and matrices whose answer is known.

use nalgebra::DMatrix;

use super::{NM, method, unstructured};
use crate::mask::Pattern;
use crate::reconstruct::obc::{self, Surgeon};
use crate::reconstruct::problem::cholesky;
use crate::reconstruct::{METHODS, Problem, Removal, Solution, least_squares, sparsegpt};

/// algorithms.md 6.10: H and w of the worked example.
fn example() -> Problem {
    Problem {
        weights: DMatrix::from_row_slice(1, 3, &[1.0, -0.5, 0.8]),
        gram: DMatrix::from_row_slice(3, 3, &[4.0, 1.0, 0.0, 1.0, 3.0, 1.0, 0.0, 1.0, 2.0]),
    }
}

fn close(found: impl IntoIterator<Item = f64>, expected: &[f64]) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{found:?} instead of {expected:?}");
    }
}

fn row(solution: &Solution) -> Vec<f64> {
    solution.weights.row(0).iter().copied().collect()
}

#[test]
fn obs_removes_the_cheapest_and_updates_the_rest() {
    let problem = example();
    let one = obc::prune(&problem, unstructured(1)).unwrap();
    close(row(&one), &[0.875, 0.0, 0.55]);
    close([0.5 * problem.error(&one.weights)], &[0.28125]);
    let two = obc::prune(&problem, unstructured(2)).unwrap();
    close(row(&two), &[0.875, 0.0, 0.0]);
    close([0.5 * problem.error(&two.weights)], &[0.58375]);

    let inverse = cholesky(problem.gram.clone()).unwrap().inverse();
    let trace = Surgeon::new(problem.weights, inverse, unstructured(3)).trace().unwrap();
    assert_eq!(trace.iter().map(|step| step.first).collect::<Vec<_>>(), [1, 2, 0]);
    close(trace.iter().map(|step| step.loss), &[0.28125, 0.3025, 1.53125]);
}

#[test]
fn obs_of_two_weights() {
    let problem = Problem {
        weights: DMatrix::from_row_slice(1, 2, &[1.0, 0.5]),
        gram: DMatrix::from_row_slice(2, 2, &[2.0, 1.0, 1.0, 2.0]),
    };
    let solution = obc::prune(&problem, unstructured(1)).unwrap();
    close(row(&solution), &[1.25, 0.0]);
    close([0.5 * problem.error(&solution.weights)], &[0.1875]);
}

#[test]
fn sparsegpt_lets_later_columns_make_up_for_pruned_ones() {
    // algorithms.md 6.11: losses are the errors, for H is not damped here.
    let problem = example();
    let inverse = cholesky(problem.gram.clone()).unwrap().inverse();
    let upper = cholesky(inverse).unwrap().l().transpose();
    let expected = [
        0.527046,
        -0.210819,
        0.105409,
        0.0,
        0.632456,
        -0.316228,
        0.0,
        0.0,
        0.5f64.sqrt(),
    ];
    close(upper.transpose().iter().copied(), &expected);
    let scores = problem.weights.row_iter().next().unwrap().transpose();
    close(
        scores.iter().zip(&upper.diagonal()).map(|(w, u)| (w / u).powi(2)),
        &[3.6, 0.625, 1.28],
    );

    let one = sparsegpt::walk(problem.weights.clone(), &upper, unstructured(1), 128);
    close(row(&one), &[1.0, 0.0, 0.55]);
    close([0.5 * problem.error(&one.weights)], &[0.3125]);
    // With tiles of a column each, an even share of each: the first loses nothing, the second its only weight.
    let tiled = sparsegpt::walk(problem.weights.clone(), &upper, unstructured(1), 1);
    close(row(&tiled), &[1.0, 0.0, 0.55]);
}

#[test]
fn the_weights_of_a_mask_are_the_best() {
    let problem = example();
    let fit = |mask: [bool; 3]| least_squares::fit(&problem, mask.to_vec()).unwrap();
    close(row(&fit([true, false, true])), &[0.875, 0.0, 0.55]);
    close(row(&fit([false, true, true])), &[0.0, -0.1, 0.6]);
    close([0.5 * problem.error(&fit([false, true, true]).weights)], &[1.8]);
    assert_eq!(row(&fit([true; 3])), [1.0, -0.5, 0.8]);
    assert_eq!(row(&fit([false; 3])), [0.0; 3]);
}

/// But for ALPS, whose ADMM moves the support even then, and may settle on one that is slightly worse.
#[test]
fn without_correlation_obc_and_sparsegpt_are_magnitude_pruning() {
    let weights = DMatrix::from_fn(4, 8, |i, j| ((3 * i + 7 * j) as f64 * 0.37).sin());
    let gram = DMatrix::identity(8, 8);
    let problem = Problem { weights, gram };
    for pattern in [Pattern::Unstructured, NM, Pattern::Block { r: 2, c: 2 }] {
        let units = if pattern == Pattern::Unstructured { 13 } else { 4 };
        let removal = Removal { pattern, units };
        let mut expected = vec![true; 32];
        removal.prune(&mut expected, 8, 0..8, |i, j| problem.weights[(i, j)].powi(2));
        for method in ["obc", "sparsegpt"].map(method) {
            let found = method.solve(&problem, removal, Vec::new()).unwrap();
            assert_eq!(found.mask, expected, "{} {pattern}", method.name);
            close(found.weights.iter().copied(), problem.masked(&expected).as_slice());
        }
    }
}

#[test]
fn inputs_that_are_no_numbers_are_refused() {
    let mut problem = example();
    problem.gram[(0, 0)] = f64::NAN;
    for method in METHODS.iter().filter(|method| !method.needs_labels()) {
        assert!(
            method
                .solve(&problem, unstructured(1), vec![true, false, true])
                .is_err(),
            "{}",
            method.name
        );
    }
}

#[test]
fn inputs_that_are_always_zero_go_first() {
    let mut problem = example();
    for i in 0..3 {
        (problem.gram[(0, i)], problem.gram[(i, 0)]) = (0.0, 0.0);
    }
    for method in METHODS.iter().filter(|method| method.chooses()) {
        let found = method.solve(&problem, unstructured(1), Vec::new()).unwrap();
        assert_eq!(found.mask, [false, true, true], "{}", method.name);
        assert!(problem.error(&found.weights) < 1e-12);
    }
}
