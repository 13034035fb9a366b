//! Which channels go.

use regex::Regex;
use secateur_format::graph::Graph;
use secateur_format::{Op, ValueId};

use super::net::Net;
use crate::criterion::Criterion;
use crate::mask::Scope;
use crate::prune::Rule;
use crate::structured::{ChannelError, ChannelOptions, Coupling, Target, remove_channels, scores};

/// Two convolutions of 10 and 6 outputs, and a classifier.
fn graph() -> Graph {
    let mut net = Net::new(3, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 10, 1, 3);
    let b = net.conv("b", a, 6, 1, 3);
    let mean = net.node("mean", Op::GlobalAvgPool, &[b]);
    net.linear("fc", mean, 2);
    net.graph
}

fn options(fraction: f64, scope: Scope, round_to: usize) -> ChannelOptions {
    ChannelOptions {
        target: Target::Channels(fraction),
        refit: false,
        round_to,
        criterion: Criterion::default(),
        scope,
        rules: Vec::new(),
        seed: 0,
    }
}

fn rule(layers: &str, sparsity: f64) -> Rule {
    Rule {
        layers: Regex::new(layers).unwrap(),
        sparsity: Some(sparsity),
        bounds: None,
        channels: None,
        alpha: None,
    }
}

/// Channels of `a` and `b` after removal.
fn kept(graph: &Graph, options: &ChannelOptions) -> [usize; 2] {
    let mut smaller = graph.clone();
    let report = remove_channels(&mut smaller, options, None).unwrap();
    ["a", "b"].map(|name| {
        let group = report.groups.iter().find(|group| group.name == name).unwrap();
        let node = smaller.nodes.iter().find(|node| node.name == name).unwrap();
        let rows = smaller.tensor(node.op.weight().unwrap()).unwrap().rows;
        assert_eq!(group.after, rows as usize);
        group.after
    })
}

#[test]
fn a_channel_scores_the_sum_of_its_filters() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 2, 1, 1);
    let dw = net.conv("dw", a, 2, 2, 3);
    net.conv("b", dw, 2, 1, 1);
    let coupling = Coupling::new(&net.graph).unwrap();
    let found = scores(&net.graph, &coupling, &Criterion::default(), 0, None).unwrap();
    let norm = |name: &str, row: usize, cols: usize| {
        let tensor = net.graph.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        let filter = &tensor.data[row * cols..][..cols];
        filter.iter().map(|&w| f64::from(w.abs())).sum::<f64>()
    };
    for (index, &channel) in coupling.values[1].iter().enumerate() {
        let expected = norm("a.weight", index, 3) + norm("dw.weight", index, 9);
        assert!((found[channel] - expected).abs() < 1e-12);
    }
}

#[test]
fn each_group_loses_its_share_and_the_lowest_go() {
    let graph = graph();
    assert_eq!(kept(&graph, &options(0.5, Scope::Uniform, 1)), [5, 3]);
    assert_eq!(kept(&graph, &options(0.99, Scope::Uniform, 1)), [1, 1]);
    let mut smaller = graph.clone();
    remove_channels(&mut smaller, &options(0.5, Scope::Uniform, 1), None).unwrap();
    let norms = |graph: &Graph| -> Vec<f32> {
        let filters = graph.tensors[0].data.chunks(27);
        filters.map(|filter| filter.iter().map(|w| w.abs()).sum()).collect()
    };
    let (mut all, mut found) = (norms(&graph), norms(&smaller));
    all.sort_by(f32::total_cmp);
    found.sort_by(f32::total_cmp);
    assert_eq!(all[5..], found);
}

#[test]
fn groups_compete_relative_to_their_means() {
    let graph = graph();
    let global = options(0.5, Scope::Global, 1);
    let [a, b] = kept(&graph, &global);
    assert_eq!(a + b, 8);
    let mut scaled = graph.clone();
    scaled.tensors[0].data.iter_mut().for_each(|w| *w *= 128.0);
    assert_eq!(kept(&scaled, &global), [a, b]);
    assert_eq!(kept(&graph, &options(0.99, Scope::Global, 1)), [1, 1]);
}

#[test]
fn counts_round_up_to_what_kernels_like() {
    let graph = graph();
    assert_eq!(kept(&graph, &options(0.5, Scope::Uniform, 4)), [8, 4]);
    assert_eq!(kept(&graph, &options(0.9, Scope::Uniform, 4)), [4, 4]);
    // 8 of 6 is all.
    assert_eq!(kept(&graph, &options(0.5, Scope::Uniform, 8)), [8, 6]);
}

#[test]
fn whole_groups_count_by_their_width() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 32, 1, 1);
    let b = net.conv("b", a, 32, 8, 3);
    net.conv("c", b, 2, 1, 1);
    let report = remove_channels(&mut net.graph, &options(0.6, Scope::Uniform, 8), None).unwrap();
    // 3 of 8 groups of 4 would stay: 12 channels, 16 after rounding.
    let row = report.groups.iter().find(|group| group.name == "a").unwrap();
    assert_eq!((row.before, row.after), (32, 16));
}

#[test]
fn rules_keep_layers_and_nothing_is_an_error() {
    let graph = graph();
    let skip = |patterns: &[&str]| ChannelOptions {
        rules: patterns.iter().map(|pattern| rule(pattern, 0.0)).collect(),
        ..options(0.5, Scope::Uniform, 1)
    };
    assert_eq!(kept(&graph, &skip(&["^a$"])), [10, 3]);
    // The last that matches a layer counts.
    let last = ChannelOptions {
        rules: vec![rule(".", 0.0), rule("b", 0.5)],
        ..options(0.5, Scope::Uniform, 1)
    };
    assert_eq!(kept(&graph, &last), [10, 3]);
    // What is left dense may lose channels, and what is pruned may keep them, if the rule says so.
    let mut hybrid = skip(&["a", "b"]);
    hybrid.rules[0].channels = Some(true);
    (hybrid.rules[1].sparsity, hybrid.rules[1].channels) = (None, Some(false));
    assert_eq!(kept(&graph, &hybrid), [5, 6]);
    let mut same = graph.clone();
    let error = remove_channels(&mut same, &skip(&["a", "b"]), None).unwrap_err();
    assert!(matches!(error, ChannelError::Nothing { groups: 4 }), "{error}");
    for fraction in [-0.1, 1.0, f64::NAN] {
        let error = remove_channels(&mut same, &options(fraction, Scope::Uniform, 1), None).unwrap_err();
        assert!(matches!(error, ChannelError::Fraction(_)), "{error}");
    }
    assert_eq!(same, graph);
    let report = remove_channels(&mut same, &options(0.0, Scope::Global, 1), None).unwrap();
    assert_eq!(report.before, report.after);
}

#[test]
fn sizes_are_those_of_the_graph() {
    let mut smaller = graph();
    let report = remove_channels(&mut smaller, &options(0.5, Scope::Uniform, 1), None).unwrap();
    // 16 pixels.
    assert_eq!(report.before.multiplications, 16 * (10 * 27 + 6 * 90) + 2 * 6);
    assert_eq!(report.after.multiplications, 16 * (5 * 27 + 3 * 45) + 2 * 3);
    let parameters: usize = smaller.tensors.iter().map(|tensor| tensor.data.len()).sum();
    assert_eq!(report.after.parameters, parameters as u64);
}
