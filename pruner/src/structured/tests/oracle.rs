//! Removing channels is the same as zeroing them: every value of the smaller graph must be that of a
//! graph of the old size, in which what makes the channels, or what reads them, is zero.

use secateur_format::graph::Graph;
use secateur_format::op::PoolKind;
use secateur_format::{Activation, MAX_RANK, Op, ValueId};

use super::net::Net;
use crate::reference;
use crate::structured::removal::Readers;
use crate::structured::{Axis, Coupling, Removal, Slices, remove};

/// Sets the entries of removed channels to zero in the slices that `which` chooses.
fn zeroed(graph: &Graph, coupling: &Coupling, keep: &[bool], which: impl Fn(&Slices) -> bool) -> Graph {
    let mut zeroed = graph.clone();
    for slices in coupling.slices.iter().filter(|slices| which(slices)) {
        let tensor = &mut zeroed.tensors[usize::from(slices.tensor.0)];
        let cols = tensor.cols as usize;
        for (at, weight) in tensor.data.iter_mut().enumerate() {
            let index = if slices.axis == Axis::Rows {
                at / cols
            } else {
                at % cols
            };
            if !keep[slices.channels[index]] {
                *weight = 0.0;
            }
        }
    }
    zeroed
}

/// All values that a graph computes for one input.
fn values(graph: &Graph, input: &[f32]) -> Vec<Vec<f64>> {
    let mut open = graph.clone();
    open.outputs = (0..graph.value_count() as u16).map(ValueId).collect();
    reference::run(&open, &[input]).unwrap()
}

/// Compares every value of `smaller` with the kept channels of `larger`. Whether the others are zero.
fn compare(larger: &Graph, smaller: &Graph, coupling: &Coupling, keep: &[bool], input: &[f32], what: &str) -> bool {
    let mut zero = true;
    let (all, few) = (values(larger, input), values(smaller, input));
    for (value, (all, few)) in all.iter().zip(&few).enumerate() {
        let channels = &coupling.values[value];
        let plane = all.len() / channels.len();
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for (plane, &channel) in all.chunks(plane).zip(channels) {
            if keep[channel] { &mut kept } else { &mut lost }.extend_from_slice(plane);
        }
        zero &= lost.iter().all(|&x| x == 0.0);
        assert_eq!(kept.len(), few.len(), "{what}: value {value}");
        for (a, b) in kept.iter().zip(few) {
            assert!(
                (a - b).abs() <= 1e-9 * (1.0 + a.abs()),
                "{what}: value {value}: {a} and {b}"
            );
        }
    }
    zero
}

/// Checks one removal; `zero_stays_zero`: no operator makes something else of a channel of zeros.
pub(super) fn check(graph: &Graph, keep: &[bool], zero_stays_zero: bool, what: &str) {
    let coupling = Coupling::new(graph).unwrap();
    let smaller = remove(graph, &coupling, keep).unwrap_or_else(|error| panic!("{what}: {error}"));
    let names = |graph: &Graph| -> Vec<String> {
        let nodes = graph.nodes.iter().map(|node| node.name.clone());
        nodes
            .chain(graph.tensors.iter().map(|tensor| tensor.name.clone()))
            .collect()
    };
    assert_eq!(names(graph), names(&smaller));
    let input: Vec<f32> = (0..graph.inputs[0].shape.elems())
        .map(|i| (i as f32 * 0.7).sin())
        .collect();
    let reads = |slices: &Slices| {
        let weight = graph.nodes[slices.node].op.weight();
        weight == Some(slices.tensor) && slices.axis == Axis::Cols
    };
    let unread = zeroed(graph, &coupling, keep, reads);
    compare(&unread, &smaller, &coupling, keep, &input, what);
    let mut disconnected = graph.clone();
    let removal = Removal {
        coupling: coupling.clone(),
        keep: keep.to_vec(),
        readers: Readers::Scaled(keep.iter().map(|&keep| f64::from(u8::from(keep))).collect()),
        groups: Vec::new(),
    };
    removal.disconnect(&mut disconnected, None).unwrap();
    assert!(disconnected == unread, "{what}");
    if zero_stays_zero {
        let unmade = zeroed(graph, &coupling, keep, |slices| !reads(slices));
        let zero = compare(&unmade, &smaller, &coupling, keep, &input, what);
        assert!(zero, "{what}: a removed channel is not zero");
    }
}

/// Keeps some channels of every group that may lose some; returns how many go, too.
fn some(net: &mut Net, coupling: &Coupling) -> (Vec<bool>, usize) {
    let mut keep = vec![true; coupling.count];
    for group in coupling.groups.iter().filter(|group| group.pins.is_empty()) {
        group.channels.iter().for_each(|&channel| keep[channel] = net.chance());
        let saved = net.below(group.channels.len() as u32) as usize;
        keep[group.channels[saved]] = true;
    }
    let removed = keep.iter().filter(|&&keep| !keep).count();
    (keep, removed)
}

/// A network of random blocks, and whether zeros stay zeros in it.
pub(super) fn random(seed: u64) -> (Net, bool) {
    let mut net = Net::new(seed, &[3, 8, 8]);
    let mut zero = true;
    let mut x = net.conv("stem", ValueId(0), 8, 1, 3);
    for block in 0..2 + net.below(5) {
        let name = |part: &str| format!("{block}.{part}");
        let channels = net.shape(x)[0];
        x = match net.below(12) {
            0 => {
                let (out, kernel) = (2 + net.below(9), [1, 3][net.below(2) as usize]);
                net.conv(&name("conv"), x, out, 1, kernel)
            }
            1 => {
                let a = net.conv(&name("a"), x, 5, 1, 3);
                let a = net.batch_norm(&name("bn"), a);
                let a = net.act(&name("silu"), a, Activation::Silu);
                let b = net.conv(&name("b"), a, channels, 1, 1);
                net.add(&name("add"), x, b)
            }
            2 => {
                let a = net.conv(&name("a"), x, 3, 1, 1);
                net.concat(&name("concat"), &[a, x])
            }
            3 => {
                let a = net.conv(&name("a"), x, channels, 1, 1);
                let tall = net.node(&name("tall"), Op::Concat { axis: 1 }, &[a, x]);
                net.pool(&name("pool"), tall, PoolKind::Average)
            }
            4 => {
                let factor = 1 + net.below(2);
                let dw = net.conv(&name("dw"), x, channels * factor, channels, 3);
                let dw = net.batch_norm(&name("bn"), dw);
                let dw = net.act(&name("relu"), dw, Activation::Relu6);
                net.conv(&name("pw"), dw, 8, 1, 1)
            }
            5 => {
                let wide = net.conv(&name("wide"), x, 12, 1, 1);
                let groups = [2, 3, 4, 6][net.below(4) as usize];
                net.conv(&name("grouped"), wide, 12, groups, 3)
            }
            6 => net.pool(&name("pool"), x, PoolKind::Max),
            7 => {
                let out = net.conv(&name("out"), x, channels + 5, 1, 3);
                let shortcut = net.pad_channels(&name("pad"), x, 2, 3);
                net.add(&name("add"), shortcut, out)
            }
            8 if channels > 1 => {
                let low = net.slice_channels(&name("low"), x, 0..channels / 2, 1);
                let high = net.slice_channels(&name("high"), x, channels / 2..channels, 1);
                let high = net.conv(&name("conv"), high, 4, 1, 1);
                net.concat(&name("concat"), &[high, low])
            }
            9 => {
                zero = false;
                let gate = net.conv(&name("gate"), x, channels, 1, 1);
                let gate = net.act(&name("sigmoid"), gate, Activation::Sigmoid);
                net.node(&name("mul"), Op::Mul, &[x, gate])
            }
            10 => {
                zero = false;
                let (mut before, after) = ([0; MAX_RANK], [0; MAX_RANK]);
                before[1] = 1;
                let value = 0.5;
                net.node(&name("pad"), Op::Pad { before, after, value }, &[x])
            }
            _ => net.act(&name("leaky"), x, Activation::LeakyRelu(0.1)),
        };
    }
    let pixels: u32 = net.shape(x)[1..].iter().product();
    let x = match net.below(4) {
        0 => net.flatten("flatten", x),
        // Pixels as tokens, flattened later: rows of the first axis stay channels.
        1 => {
            let channels = net.shape(x)[0];
            let tokens = net.reshape("tokens", x, &[channels, pixels]);
            let mixed = net.linear("mix", tokens, 6);
            net.flatten("flatten", mixed)
        }
        _ => net.node("mean", Op::GlobalAvgPool, &[x]),
    };
    let hidden = net.linear("hidden", x, 12);
    let hidden = net.batch_norm("norm", hidden);
    // Features become channels again.
    let planes = net.reshape("planes", hidden, &[4, 3, 1]);
    let planes = net.conv("late", planes, 5, 1, 1);
    let planes = net.flatten("again", planes);
    let logits = net.linear("logits", planes, 3);
    net.node("softmax", Op::Softmax { axis: 0 }, &[logits]);
    if net.chance() {
        net.graph.outputs.push(ValueId(2));
    }
    (net, zero)
}

#[test]
fn removed_channels_are_zeroed_channels_in_random_networks() {
    let (mut removed, mut both) = (0, 0);
    for seed in 0..400 {
        let (mut net, zero) = random(seed);
        let coupling = Coupling::new(&net.graph).unwrap();
        let (keep, count) = some(&mut net, &coupling);
        check(&net.graph, &keep, zero, &format!("network {seed}"));
        removed += count;
        both += usize::from(zero);
    }
    assert!(removed > 4000, "{removed} channels in all");
    assert!(both > 100, "{both} networks keep zeros");
}

#[test]
fn the_oracle_sees_a_wrong_removal() {
    let mut net = Net::new(1, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 4, 1, 3);
    let mean = net.node("mean", Op::GlobalAvgPool, &[a]);
    net.linear("fc", mean, 2);
    let coupling = Coupling::new(&net.graph).unwrap();
    let first = coupling.slices[0].channels[0];
    let keep: Vec<bool> = (0..coupling.count).map(|channel| channel != first).collect();
    let mut wrong = coupling.clone();
    let columns = wrong.slices.iter_mut().find(|s| s.node == 2 && s.axis == Axis::Cols);
    columns.unwrap().channels.reverse();
    let smaller = remove(&net.graph, &wrong, &keep).unwrap();
    let unread = zeroed(&net.graph, &coupling, &keep, |s| s.node == 2 && s.axis == Axis::Cols);
    let input = vec![1.0; 48];
    let (expected, found) = (values(&unread, &input), values(&smaller, &input));
    assert_ne!(expected.last(), found.last());
}
