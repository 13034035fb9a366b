//! Agreement with ONNX Runtime on its own inputs.

use secateur::emit::{EmitOptions, EncodingChoice, Family};
use secateur::reference;
use secateur_format::graph::Graph;
use secateur_format::plan::planner::{PlanOptions, Scratch};
use secateur_runtime::kernel::{ALL, SCALAR};

use crate::support::{difference, emitted, golden, graph, run, wide, without_softmax};

/// Largest difference allowed, relative to the largest output of a sample.
const TOLERANCE: f64 = 1e-4;
/// Largest difference allowed between differences of logarithms of probabilities.
const LOG_TOLERANCE: f64 = 1e-3;
/// Probabilities below this have too few digits for their logarithm.
const LEAST_PROBABILITY: f32 = 1e-6;

/// The graph's outputs by the dense reference and by every way to run it.
fn all_ways(graph: &Graph, inputs: &[&[f32]]) -> Vec<(String, Vec<Vec<f64>>)> {
    let by_reference = |input: &&[f32]| reference::run(graph, &[input]).unwrap().remove(0);
    let mut ways = vec![("reference".to_owned(), inputs.iter().map(by_reference).collect())];
    for scratch in [Scratch::Packed, Scratch::None] {
        let options = EmitOptions {
            encoding: EncodingChoice::Only(Family::Dense),
            plan: PlanOptions {
                scratch,
                ..PlanOptions::default()
            },
            ..EmitOptions::default()
        };
        let file = emitted(graph, &options).bytes;
        for (name, kernels) in [("all", ALL), ("scalar", SCALAR)] {
            let outputs = run(&file, kernels, inputs).iter().map(|y| wide(y)).collect();
            ways.push((format!("{name} kernels, scratch {scratch:?}"), outputs));
        }
    }
    ways
}

/// Largest error of a difference of two logits, against logarithms of probabilities.
fn log_difference(probabilities: &[f32], logits: &[f64]) -> f64 {
    let sure: Vec<(f64, f64)> = probabilities
        .iter()
        .zip(logits)
        .filter(|(p, _)| **p > LEAST_PROBABILITY)
        .map(|(&p, &z)| (f64::from(p).ln(), z))
        .collect();
    let pairs = sure
        .iter()
        .flat_map(|a| sure.iter().map(move |b| ((a.0 - b.0) - (a.1 - b.1)).abs()));
    pairs.fold(0.0, f64::max)
}

fn check(model: &str, goldens: &str, softmax: bool) {
    let graph = graph(model);
    let samples = golden(goldens);
    let inputs: Vec<&[f32]> = samples.iter().map(|(x, _)| x.as_slice()).collect();
    let mut worst = 0.0f64;
    for (way, outputs) in all_ways(&graph, &inputs) {
        for (i, (found, (_, expected))) in outputs.iter().zip(&samples).enumerate() {
            let error = difference(&wide(expected), found);
            assert!(error <= TOLERANCE, "{model}, {way}, sample {i}: {error:e}");
            worst = worst.max(error);
        }
    }
    let cut = without_softmax(&graph);
    assert_eq!(cut.is_some(), softmax);
    let mut worst_log = 0.0f64;
    for (way, outputs) in cut.iter().flat_map(|cut| all_ways(cut, &inputs)) {
        for (i, (logits, (_, expected))) in outputs.iter().zip(&samples).enumerate() {
            let error = log_difference(expected, logits);
            assert!(error <= LOG_TOLERANCE, "{model}, {way}, sample {i}: {error:e}");
            worst_log = worst_log.max(error);
        }
    }
    println!("{model}: {worst:.1e} of the largest output, logits {worst_log:.1e}");
}

#[test]
fn resnet20() {
    check("resnet20", "resnet20", false);
}

#[test]
fn resnet20_from_its_description() {
    check("resnet20.toml", "resnet20", false);
}

#[test]
fn resnet56() {
    check("resnet56", "resnet56", false);
}

#[test]
fn resnet8() {
    check("resnet8", "resnet8", true);
}

#[test]
fn dscnn_kws() {
    check("dscnn_kws", "dscnn_kws", true);
}

#[test]
fn vww_96() {
    check("vww_96", "vww_96", true);
}

#[test]
fn ad01() {
    check("ad01", "ad01", false);
}

#[test]
fn the_comparison_sees_errors() {
    assert_eq!(difference(&[1.0, -2.0], &[1.0, -2.0]), 0.0);
    assert_eq!(difference(&[1.0, -2.0], &[1.5, -2.0]), 0.25);
    assert_eq!(difference(&[1.0], &[f64::NAN]), f64::INFINITY);
    assert_eq!(difference(&[1.0], &[]), f64::INFINITY);
    assert_eq!(log_difference(&[0.5, 0.5, 1e-9], &[7.0, 7.0, 9.0]), 0.0);
    assert!(log_difference(&[0.5, 0.5], &[7.0, 7.01]) > LOG_TOLERANCE);
}
