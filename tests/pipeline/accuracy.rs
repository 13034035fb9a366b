//! Exact counts of correct samples, those of ONNX Runtime (`goldens/README.md`).

use secateur::data;
use secateur::emit::EmitOptions;
use secateur::engine::Engine;
use secateur::eval::{Accuracy, accuracy};
use secateur::lower::lower;
use secateur_format::Limits;
use secateur_format::graph::Graph;
use secateur_runtime::kernel::{ALL, Kernel, SCALAR};
use secateur_runtime::{ArenaBuf, Model};

use crate::support::{emitted, golden, graph, path, run};

const CIFAR_NORMAL: &str = "cifar_imagenet_norm.toml";

fn measured(graph: &Graph, data: &str, kernels: &'static [Kernel]) -> Accuracy {
    let file = ArenaBuf::copy_of(&emitted(graph, &EmitOptions::default()).bytes);
    let model = Model::read(file.as_ref(), &Limits::HOST).unwrap();
    let loaded = data::load(&path("models/data").join(data)).unwrap();
    let preprocess = loaded.preprocess.unwrap_or_default();
    accuracy(&model, &Engine::InPlace(kernels), &loaded.dataset, &preprocess, || ()).unwrap()
}

fn check(model: &str, data: &str, correct: usize, count: usize) {
    let graph = graph(model);
    let found = measured(&graph, data, ALL);
    assert_eq!((found.total_correct(), found.total()), (correct, count), "{model}");
}

#[test]
fn resnet20() {
    check("resnet20", CIFAR_NORMAL, 284, 300);
}

#[test]
fn resnet20_from_its_description() {
    check("resnet20.toml", CIFAR_NORMAL, 284, 300);
}

#[test]
fn resnet56() {
    check("resnet56", CIFAR_NORMAL, 285, 300);
}

#[test]
fn resnet8() {
    check("resnet8", "cifar_raw.toml", 260, 300);
}

#[test]
fn dscnn_kws() {
    check("dscnn_kws", "kws.toml", 912, 1000);
}

#[test]
fn the_scalar_kernels_classify_the_same() {
    let graph = graph("dscnn_kws");
    assert_eq!(measured(&graph, "kws.toml", SCALAR), measured(&graph, "kws.toml", ALL));
}

/// One network from two sources: the same weights in the same order, so the same bits.
#[test]
fn resnet20_is_the_same_from_both_sources() {
    let [onnx, description] = ["resnet20", "resnet20.toml"].map(graph);
    let weights = |graph: &Graph| -> Vec<Vec<f32>> {
        let lowered = lower(graph).unwrap();
        let ids = lowered.nodes.iter().filter_map(|node| node.op.weight());
        ids.map(|id| lowered.tensor(id).unwrap().data.clone()).collect()
    };
    assert!(weights(&onnx) == weights(&description), "the weights differ");
    let samples = golden("resnet20");
    let inputs: Vec<&[f32]> = samples.iter().map(|(x, _)| x.as_slice()).collect();
    let [a, b] = [&onnx, &description].map(|graph| {
        let file = emitted(graph, &EmitOptions::default()).bytes;
        run(&file, ALL, &inputs)
    });
    assert_eq!(a, b);
}
