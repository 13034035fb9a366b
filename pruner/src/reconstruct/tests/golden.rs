//! Errors of `tests/reconstruct/make_goldens.py`.

use nalgebra::DMatrix;

use crate::mask::Pattern;
use crate::reconstruct::{METHODS, Problem, Removal};

#[test]
fn errors_are_those_of_a_plain_implementation() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/reconstruct/golden.json")).unwrap();
    let matrix = |key: &str| {
        let rows: Vec<Vec<f64>> = serde_json::from_value(golden[key].clone()).unwrap();
        DMatrix::from_row_iterator(rows.len(), rows[0].len(), rows.concat())
    };
    let (weights, inputs) = (matrix("weights"), matrix("inputs"));
    let gram = inputs.transpose() * inputs;
    let problem = Problem { weights, gram };
    let (rows, cols) = problem.weights.shape();
    for case in golden["errors"].as_array().unwrap() {
        let pattern: Pattern = case["pattern"].as_str().unwrap().parse().unwrap();
        let units = case["units"].as_u64().unwrap() as usize;
        let removal = Removal { pattern, units };
        let mut magnitude = vec![true; rows * cols];
        removal.prune(&mut magnitude, cols, 0..cols, |i, j| problem.weights[(i, j)].abs());
        let agrees = |name: &str, weights: &DMatrix<f64>| {
            let (found, expected) = (problem.error(weights), case[name].as_f64().unwrap());
            assert!(
                (found / expected - 1.0).abs() < 1e-6,
                "{name} {pattern}: {found} instead of {expected}"
            );
        };
        agrees("masked", &problem.masked(&magnitude));
        for method in METHODS.iter().filter(|method| !method.needs_labels()) {
            let solution = method.solve(&problem, removal, magnitude.clone()).unwrap();
            agrees(method.name, &solution.weights);
        }
    }
}
