//! What is done to the weights that read the channels which stay.

use secateur_format::graph::Graph;
use secateur_format::{Activation, Op, ValueId};

use super::net::Net;
use crate::calibrate::Calibration;
use crate::data::{Dataset, Preprocess};
use crate::mask::Scope;
use crate::reference;
use crate::structured::{ChannelError, ChannelOptions, Coupling, Target, mask_gradients, remove_channels};
use crate::train::{Loss, Samples, evaluate};

const PLAIN: &Preprocess = &Preprocess {
    scale: 1.0,
    mean: Vec::new(),
    std: Vec::new(),
};

/// A convolution with a norm, a residual sum, and a classifier with a hidden layer.
fn graph() -> Graph {
    let mut net = Net::new(7, &[2, 5, 5]);
    let a = net.conv("a", ValueId(0), 6, 1, 3);
    let a = net.batch_norm("norm", a);
    let a = net.act("relu", a, Activation::Tanh);
    let b = net.conv("b", a, 6, 1, 3);
    let sum = net.add("sum", a, b);
    let mean = net.node("mean", Op::GlobalAvgPool, &[sum]);
    let hidden = net.linear("hidden", mean, 24);
    let hidden = net.act("act", hidden, Activation::Tanh);
    net.linear("out", hidden, 3);
    net.graph
}

fn dataset() -> Dataset {
    let pixels = (0..40 * 50).map(|i| ((i * i) as f32 * 0.013).sin() + 0.2).collect();
    Dataset::new(pixels, vec![2, 5, 5], Some((0..40).map(|i| i * 7 % 3).collect())).unwrap()
}

fn samples(dataset: &Dataset) -> Samples<'_> {
    Samples {
        dataset,
        preprocess: PLAIN,
    }
}

fn options(criterion: &str, target: Target) -> ChannelOptions {
    ChannelOptions {
        target,
        refit: false,
        round_to: 1,
        criterion: criterion.parse().unwrap(),
        scope: Scope::Uniform,
        rules: Vec::new(),
        seed: 3,
    }
}

/// The sum of squares between the outputs of two graphs.
fn distance(a: &Graph, b: &Graph, dataset: &Dataset) -> f64 {
    let squares = (0..dataset.len()).map(|index| {
        let outputs = [a, b].map(|graph| reference::run(graph, &[dataset.input(index)]).unwrap().remove(0));
        outputs[0]
            .iter()
            .zip(&outputs[1])
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>()
    });
    squares.sum()
}

#[test]
fn mask_gradients_are_differences_of_the_loss() {
    let (graph, dataset) = (graph(), dataset());
    let coupling = Coupling::new(&graph).unwrap();
    let calibration = Calibration::new(samples(&dataset), usize::MAX, 0);
    let found = mask_gradients(&graph, &coupling, &calibration, 40).unwrap();
    let loss = |graph: &Graph| {
        let loss = Loss::CrossEntropy { smoothing: 0.0 };
        evaluate(graph, &samples(&dataset), loss).unwrap().loss
    };
    let readers: Vec<_> = coupling
        .slices
        .iter()
        .filter(|slices| graph.nodes[slices.node].op.weight() == Some(slices.tensor))
        .filter(|slices| slices.axis == crate::structured::Axis::Cols)
        .collect();
    for group in coupling.groups.iter().filter(|group| group.pins.is_empty()) {
        let channel = group.channels[1];
        let step = 1e-2;
        let moved = [step, -step].map(|by| {
            let mut graph = graph.clone();
            for slices in &readers {
                let weights = graph.tensors[usize::from(slices.tensor.0)].data.iter_mut();
                for (w, &own) in weights.zip(slices.channels.iter().cycle()) {
                    if own == channel {
                        *w *= 1.0 + by;
                    }
                }
            }
            loss(&graph)
        });
        let expected = (moved[0] - moved[1]) / f64::from(2.0 * step);
        assert_eq!(found[channel].len(), 1);
        let off = (found[channel][0] - expected).abs();
        assert!(
            off < 1e-2 * expected.abs() + 2e-5,
            "{}: {} instead of {expected}",
            group.name,
            found[channel][0]
        );
    }
}

#[test]
fn refitted_readers_are_nearer_than_those_left_as_they_were() {
    let (graph, dataset) = (graph(), dataset());
    let calibration = Calibration::new(samples(&dataset), usize::MAX, 0);
    let after = |options: &ChannelOptions| {
        let mut smaller = graph.clone();
        let report = remove_channels(&mut smaller, options, Some(&calibration)).unwrap();
        (distance(&graph, &smaller, &dataset), report.after)
    };
    let plain = options("magnitude", Target::Channels(0.3));
    let refit = ChannelOptions {
        refit: true,
        ..plain.clone()
    };
    let ((plain, size), (fitted, same)) = (after(&plain), after(&refit));
    assert_eq!(size, same);
    assert!(fitted < 0.5 * plain, "{fitted} instead of {plain}");
}

#[test]
fn tuned_readers_are_nearer_than_those_left_as_they_were() {
    let (graph, dataset) = (graph(), dataset());
    let calibration = Calibration::new(samples(&dataset), usize::MAX, 0);
    let after = |tune: &str| {
        let criterion = format!("channel-fisher:batch=8,tune={tune}");
        let mut smaller = graph.clone();
        let options = options(&criterion, Target::Multiplications(0.5));
        let report = remove_channels(&mut smaller, &options, Some(&calibration)).unwrap();
        let left = report.after.multiplications as f64 / report.before.multiplications as f64;
        assert!(left <= 0.5, "{left}");
        distance(&graph, &smaller, &dataset)
    };
    let (tuned, plain) = (after("yes"), after("no"));
    assert!(tuned < plain, "{tuned} instead of {plain}");
}

#[test]
fn drawn_channels_count_for_those_that_left() {
    let mut net = Net::new(4, &[6]);
    let hidden = net.linear("hidden", ValueId(0), 24);
    net.linear("out", hidden, 3);
    let own = options("coreset", Target::Channels(0.5));
    let smaller = || {
        let mut graph = net.graph.clone();
        remove_channels(&mut graph, &own, None).unwrap();
        graph
    };
    assert_eq!(smaller(), smaller());
    let weights = |graph: &Graph, name: &str| {
        let tensor = graph.tensors.iter().find(|tensor| tensor.name == name).unwrap();
        tensor.data.clone()
    };
    let [before, after] =
        [&net.graph, &smaller()].map(|graph| (weights(graph, "hidden.weight"), weights(graph, "out.weight")));
    let kept = after.0.len() / 6;
    let factors = (0..kept).map(|column| {
        let row = &after.0[6 * column..][..6];
        let place = before.0.chunks(6).position(|old| old == row).unwrap();
        let factors = [0, 1, 2].map(|row| after.1[row * kept + column] / before.1[row * 24 + place]);
        assert!(
            factors.iter().all(|factor| (factor - factors[0]).abs() < 1e-4),
            "{factors:?}"
        );
        factors[0]
    });
    let factors: Vec<f32> = factors.collect();
    // 24 neurons are fewer than 4 r²: all are as likely, so that each of 12 draws counts 2.
    assert!(
        factors.iter().all(|factor| (factor / 2.0).fract() == 0.0),
        "{factors:?}"
    );
    assert_eq!(factors.iter().sum::<f32>(), 24.0);
    let rounded = ChannelOptions {
        round_to: 4,
        ..own.clone()
    };
    let budget = ChannelOptions {
        target: Target::Multiplications(0.5),
        ..own
    };
    for refused in [rounded, budget] {
        let error = remove_channels(&mut net.graph.clone(), &refused, None).unwrap_err();
        assert!(matches!(error, ChannelError::Drawn), "{error}");
    }
}

#[test]
fn ranked_coresets_meet_the_count() {
    let mut smaller = graph();
    let options = options("coreset:choice=rank", Target::Channels(0.5));
    let report = remove_channels(&mut smaller, &options, None).unwrap();
    let hidden = report.groups.iter().find(|group| group.name == "hidden").unwrap();
    assert_eq!(hidden.after, 12);
}
