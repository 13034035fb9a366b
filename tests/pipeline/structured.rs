//! Channels removed from real models: the smaller graph computes what the old one computes without
//! the channels, and runs as a file, pruned on top or not.

use secateur::criterion::Criterion;
use secateur::emit::EmitOptions;
use secateur::mask::{Bounds, Scope};
use secateur::prune::{Fallback, PruneOptions, prune};
use secateur::reference;
use secateur::structured::{Axis, ChannelOptions, Coupling, Group, Target, choose, remove, remove_channels, scores};
use secateur_format::Op;
use secateur_format::graph::Graph;

use crate::support::{difference, emitted, golden, graph};

const MODELS: [&str; 6] = ["resnet20", "resnet20.toml", "resnet8", "dscnn_kws", "vww_96", "ad01"];

/// The graph as it was, but what reads removed channels is zero.
fn unread(graph: &Graph, coupling: &Coupling, keep: &[bool]) -> Graph {
    let mut unread = graph.clone();
    for slices in coupling.slices.iter().filter(|slices| slices.axis == Axis::Cols) {
        if graph.nodes[slices.node].op.weight() != Some(slices.tensor) {
            continue;
        }
        let tensor = &mut unread.tensors[usize::from(slices.tensor.0)];
        let columns = slices.channels.iter().cycle();
        let removed = tensor
            .data
            .iter_mut()
            .zip(columns)
            .filter(|(_, channel)| !keep[**channel]);
        removed.for_each(|(weight, _)| *weight = 0.0);
    }
    unread
}

#[test]
fn removed_channels_are_channels_that_nobody_reads() {
    for model in MODELS {
        let graph = graph(model);
        let coupling = Coupling::new(&graph).unwrap();
        let channels = scores(&graph, &coupling, &Criterion::default(), 0, None).unwrap();
        let keep = choose(&coupling, &channels, |_| true, 0.5, Scope::Uniform, 1);
        assert!(keep.iter().any(|&keep| !keep), "{model}");
        let smaller = remove(&graph, &coupling, &keep).unwrap();
        let larger = unread(&graph, &coupling, &keep);
        let input = &golden(model.trim_end_matches(".toml"))[0].0;
        let [expected, found] = [&larger, &smaller].map(|graph| reference::run(graph, &[input]).unwrap());
        let worst = difference(&expected[0], &found[0]);
        assert!(worst < 1e-9, "{model}: {worst}");
    }
}

fn half() -> ChannelOptions {
    ChannelOptions {
        target: Target::Channels(0.5),
        refit: false,
        round_to: 1,
        criterion: Criterion::default(),
        scope: Scope::Uniform,
        rules: Vec::new(),
        seed: 0,
    }
}

#[test]
fn half_the_channels_are_a_quarter_of_the_work() {
    for model in MODELS {
        let mut graph = graph(model);
        let report = remove_channels(&mut graph, &half(), None).unwrap();
        let part = report.after.multiplications as f64 / report.before.multiplications as f64;
        assert!((0.2..0.5).contains(&part), "{model}: {part}");
        for group in &report.groups {
            let expected = if group.note.is_some() {
                group.before
            } else {
                group.before.div_ceil(2)
            };
            assert!(group.after.abs_diff(expected) <= 1, "{model}: {group:?}");
        }
    }
}

#[test]
fn smaller_models_run_dense_and_pruned_on_top() {
    for model in ["resnet20", "dscnn_kws", "vww_96", "ad01"] {
        let mut graph = graph(model);
        let whole = emitted(&graph, &EmitOptions::default()).bytes.len();
        let rounded = ChannelOptions {
            round_to: 8,
            scope: Scope::Global,
            ..half()
        };
        remove_channels(&mut graph, &rounded, None).unwrap();
        let dense = emitted(&graph, &EmitOptions::default()).bytes.len();
        let options = PruneOptions {
            sparsity: Some(0.8),
            alpha: None,
            pattern: "4x1".parse().unwrap(),
            criterion: Criterion::default(),
            scope: Scope::Global,
            bounds: Bounds::default(),
            fallback: Fallback::Unstructured,
            rules: Vec::new(),
            seed: 0,
        };
        let report = prune(&mut graph, &options, None).unwrap();
        assert!((report.sparsity - 0.8).abs() < 0.01, "{model}: {}", report.sparsity);
        let sparse = emitted(&graph, &EmitOptions::default()).bytes.len();
        assert!(sparse < dense && dense < whole, "{model}: {whole}, {dense}, {sparse}");
    }
}

fn group<'c>(coupling: &'c Coupling, layer: &str) -> &'c Group {
    let mut groups = coupling.groups.iter();
    let holds = |group: &&Group| group.layers.iter().any(|name| name == layer);
    groups.find(holds).unwrap_or_else(|| panic!("no group of {layer}"))
}

/// Known from the architecture: three stages of three blocks, with shortcuts that pad channels with zeros.
#[test]
fn resnet20_has_the_groups_of_its_stages() {
    let graph = graph("resnet20.toml");
    let coupling = Coupling::new(&graph).unwrap();
    let removable: Vec<&Group> = coupling.groups.iter().filter(|group| group.pins.is_empty()).collect();
    let convolutions = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Conv2d(_)))
        .count();
    assert_eq!(convolutions, 19);
    // A group within each of 9 blocks; on the residual paths, 16 channels of all stages, 16 more of
    // the last two, and 32 more of the last.
    let alone = removable.iter().filter(|group| group.layers.len() == 1).count();
    let mut shared: Vec<(usize, usize)> = removable
        .iter()
        .filter(|group| group.layers.len() > 1)
        .map(|group| (group.channels.len(), group.layers.len()))
        .collect();
    shared.sort_unstable();
    assert_eq!((alone, shared), (9, vec![(16, 6), (16, 10), (32, 3)]));
}

/// Depthwise separable blocks: each group is a pointwise convolution and the depthwise one behind it.
#[test]
fn mobilenet_has_a_group_per_pointwise_convolution() {
    let graph = graph("vww_96");
    let coupling = Coupling::new(&graph).unwrap();
    let convolutions: Vec<(&str, bool)> = graph
        .nodes
        .iter()
        .filter_map(|node| match &node.op {
            Op::Conv2d(conv) => Some((node.name.as_str(), conv.groups > 1)),
            _ => None,
        })
        .collect();
    for pair in convolutions.windows(2) {
        if let [(producer, false), (depthwise, true)] = pair {
            let coupled = group(&coupling, producer);
            assert_eq!(coupled.layers, [*producer, *depthwise]);
            assert!(coupled.pins.is_empty() && coupled.width == 1, "{coupled:?}");
        }
    }
}
