//! Multiplications that are left, and groups that compete by kind.

use secateur_format::graph::Graph;
use secateur_format::{Op, ValueId};

use super::net::Net;
use crate::criterion::Criterion;
use crate::layer::work;
use crate::mask::Scope;
use crate::structured::latency::lines;
use crate::structured::{ChannelError, ChannelOptions, Coupling, Target, choose, remove_channels};

/// A convolution, a residual block of two, a depthwise one, and a classifier.
fn graph() -> Graph {
    let mut net = Net::new(5, &[3, 6, 6]);
    let stem = net.conv("stem", ValueId(0), 12, 1, 3);
    let a = net.conv("a", stem, 20, 1, 3);
    let b = net.conv("b", a, 12, 1, 3);
    let sum = net.add("sum", stem, b);
    let depthwise = net.conv("dw", sum, 12, 12, 3);
    let c = net.conv("c", depthwise, 16, 1, 1);
    let mean = net.node("mean", Op::GlobalAvgPool, &[c]);
    net.linear("fc", mean, 4);
    net.graph
}

fn options(target: Target, round_to: usize) -> ChannelOptions {
    ChannelOptions {
        target,
        refit: false,
        round_to,
        criterion: Criterion::default(),
        scope: Scope::Global,
        rules: Vec::new(),
        seed: 0,
    }
}

#[test]
fn multiplications_never_exceed_the_budget_and_nearly_use_it() {
    for (share, round_to) in [(0.9, 1), (0.5, 1), (0.25, 1), (0.1, 1), (0.5, 4)] {
        let mut smaller = graph();
        let options = options(Target::Multiplications(share), round_to);
        let report = remove_channels(&mut smaller, &options, None).unwrap();
        let left = report.after.multiplications as f64 / report.before.multiplications as f64;
        // A channel of the residual sum costs a twelfth of all.
        let coarse = 0.09 * round_to as f64;
        assert!(left <= share && left > share - coarse, "{share}, {round_to}: {left}");
        for group in report.groups.iter().filter(|group| group.note.is_none()) {
            assert!(group.after % round_to == 0, "{group:?}");
        }
    }
    let error = remove_channels(&mut graph(), &options(Target::Multiplications(1e-4), 1), None).unwrap_err();
    assert!(matches!(error, ChannelError::Budget { .. }), "{error}");
    for share in [0.0, 1.0, f64::NAN] {
        let error = remove_channels(&mut graph(), &options(Target::Multiplications(share), 1), None).unwrap_err();
        assert!(matches!(error, ChannelError::Share(_)), "{error}");
    }
}

#[test]
fn time_is_a_budget_like_multiplications() {
    let dense = graph();
    let lines = lines(&dense, &Coupling::new(&dense).unwrap()).unwrap();
    let time = |graph: &Graph| -> f64 {
        let shapes = graph.shapes().unwrap();
        let nodes = graph.nodes.iter().zip(work(graph, &shapes));
        let line = |name: &String| lines.get(name).copied().unwrap_or_default();
        nodes
            .map(|(node, work)| line(&node.name).fixed + line(&node.name).slope * work as f64)
            .sum()
    };
    assert!(
        lines.values().all(|line| line.slope >= 0.0 && line.fixed >= 0.0),
        "{lines:?}"
    );
    assert!(lines["a"].slope > 0.0 && lines.contains_key("fc"), "{lines:?}");
    // Less cannot be had: each product costs something however small it is.
    let share = 0.5 + 0.5 * lines.values().map(|line| line.fixed).sum::<f64>() / time(&dense);
    let mut smaller = graph();
    remove_channels(&mut smaller, &options(Target::Time(share), 1), None).unwrap();
    let left = time(&smaller) / time(&dense);
    assert!(left <= share && left > share - 0.1, "{left} of {share}");
    let mut again = graph();
    remove_channels(&mut again, &options(Target::Time(share), 1), None).unwrap();
    assert_eq!(again, smaller);
    let error = remove_channels(&mut graph(), &options(Target::Time(1e-6), 1), None).unwrap_err();
    assert!(error.to_string().contains("predicted time"), "{error}");
}

#[test]
fn a_hidden_neuron_costs_what_it_reads_and_what_reads_it() {
    // algorithms.md 5.8: 128 tokens of 768 numbers.
    let mut net = Net::new(0, &[768, 128]);
    let hidden = net.linear("hidden", ValueId(0), 4);
    net.linear("out", hidden, 768);
    let report = remove_channels(&mut net.graph, &options(Target::Channels(0.25), 1), None).unwrap();
    assert_eq!(report.before.multiplications - report.after.multiplications, 196_608);
    assert_eq!(report.before.multiplications, 4 * 196_608);
}

#[test]
fn dear_channels_go_before_cheap_ones_of_the_same_score() {
    // The pixels of `early` are four times those of `late`; scores are those of group means.
    let mut net = Net::new(0, &[4, 8, 8]);
    let early = net.conv("early", ValueId(0), 8, 1, 3);
    let pool = net.node("mean", Op::GlobalAvgPool, &[early]);
    let late = net.linear("late", pool, 8);
    net.linear("out", late, 8);
    net.graph.tensors.iter_mut().for_each(|tensor| tensor.data.fill(0.5));
    let report = remove_channels(&mut net.graph, &options(Target::Multiplications(0.5), 1), None).unwrap();
    let after = |name: &str| report.groups.iter().find(|group| group.name == name).unwrap().after;
    assert_eq!((after("early"), after("late")), (3, 8));
}

#[test]
fn groups_of_one_kind_share_a_threshold_that_others_do_not_move() {
    // algorithms.md 7.1: two stages of one kind, one without a norm, and a neuron.
    let mut net = Net::new(2, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 8, 1, 3);
    let a = net.batch_norm("na", a);
    let b = net.conv("b", a, 8, 1, 3);
    let b = net.batch_norm("nb", b);
    let c = net.conv("c", b, 8, 1, 1);
    let mean = net.node("mean", Op::GlobalAvgPool, &[c]);
    let d = net.linear("d", mean, 8);
    net.linear("out", d, 3);
    let coupling = Coupling::new(&net.graph).unwrap();
    let group = |name: &str| coupling.groups.iter().find(|group| group.name == name).unwrap();
    assert_eq!(group("a").tag, group("b").tag);
    assert_ne!(group("a").tag, group("d").tag);
    let mut scores = vec![1.0; coupling.count];
    // Those of `b` are spread further: its lowest go first.
    for (place, (&in_a, &in_b)) in group("a").channels.iter().zip(&group("b").channels).enumerate() {
        scores[in_a] = 100.0 + place as f64;
        scores[in_b] = 1.0 + 10.0 * place as f64;
    }
    let kept = |scores: &[f64]| {
        let keep = choose(&coupling, scores, |_| true, 0.25, Scope::Isomorphic, 1);
        ["a", "b", "d"].map(|name| group(name).channels.iter().filter(|&&channel| keep[channel]).count())
    };
    assert_eq!(kept(&scores), [8, 4, 6]);
    let mut scaled = scores.clone();
    group("d").channels.iter().for_each(|&channel| scaled[channel] *= 100.0);
    assert_eq!(kept(&scaled), [8, 4, 6]);
}
