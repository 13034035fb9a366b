//! Coupling and removal where the answer is known by hand.

use secateur_format::graph::Graph;
use secateur_format::{Activation, Op, ValueId};

use super::net::Net;
use crate::structured::{Coupling, Group, remove};

fn group<'c>(coupling: &'c Coupling, name: &str) -> &'c Group {
    let mut named = coupling.groups.iter().filter(|group| group.name == name);
    let group = named
        .next()
        .unwrap_or_else(|| panic!("no group {name}: {:?}", coupling.groups));
    assert!(named.next().is_none(), "two groups {name}");
    group
}

fn data<'g>(graph: &'g Graph, name: &str) -> &'g [f32] {
    &graph.tensors.iter().find(|tensor| tensor.name == name).unwrap().data
}

/// The graph without the channels at `places` of the outputs of nodes.
fn without(graph: &Graph, places: &[(&str, usize)]) -> Graph {
    let coupling = Coupling::new(graph).unwrap();
    let mut keep = vec![true; coupling.count];
    for (name, index) in places {
        let node = graph.nodes.iter().position(|node| node.name == *name).unwrap();
        let value = usize::from(graph.output_of(node).0);
        keep[coupling.values[value][*index]] = false;
    }
    remove(graph, &coupling, &keep).unwrap()
}

/// The entries of `data`, in rows of `cols`, whose row and column are kept.
fn cut(data: &[f32], cols: usize, row: impl Fn(usize) -> bool, col: impl Fn(usize) -> bool) -> Vec<f32> {
    let entries = data.iter().enumerate();
    let kept = entries.filter(|(at, _)| row(at / cols) && col(at % cols));
    kept.map(|(_, &weight)| weight).collect()
}

#[test]
fn an_addition_ties_its_inputs_and_says_so() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 6, 1, 3);
    let a = net.batch_norm("bn", a);
    let b = net.conv("b", a, 5, 1, 3);
    let c = net.conv("c", b, 6, 1, 3);
    let sum = net.add("sum", a, c);
    let mean = net.node("mean", Op::GlobalAvgPool, &[sum]);
    net.linear("fc", mean, 2);
    let coupling = Coupling::new(&net.graph).unwrap();
    let names: Vec<&str> = coupling.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["x", "a", "b", "fc"]);
    let tied = group(&coupling, "a");
    assert_eq!((tied.channels.len(), tied.width), (6, 1));
    assert_eq!(tied.layers, ["a", "c"]);
    assert_eq!(tied.ties, ["add `sum` joins `bn` and `c`"]);
    assert!(tied.pins.is_empty() && group(&coupling, "b").ties.is_empty());
    assert_eq!(group(&coupling, "x").pins, ["`x` is an input of the graph"]);
    assert_eq!(group(&coupling, "fc").pins, ["`fc` is an output of the graph"]);

    let smaller = without(&net.graph, &[("a", 4), ("b", 0)]);
    let (old, new) = (&net.graph, &smaller);
    assert_eq!(
        data(new, "c.weight"),
        cut(data(old, "c.weight"), 45, |row| row != 4, |col| col % 5 != 0)
    );
    assert_eq!(
        data(new, "b.weight"),
        cut(data(old, "b.weight"), 54, |row| row != 0, |col| col % 6 != 4)
    );
    for vector in ["bn.scale", "bn.bias", "bn.mean", "bn.var"] {
        assert_eq!(data(new, vector), cut(data(old, vector), 6, |_| true, |col| col != 4));
    }
}

#[test]
fn a_concat_has_offsets() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 4, 1, 1);
    let b = net.conv("b", ValueId(0), 6, 1, 1);
    let joined = net.concat("joined", &[a, b]);
    let c = net.conv("c", joined, 3, 1, 3);
    net.conv("d", c, 2, 1, 1);
    let coupling = Coupling::new(&net.graph).unwrap();
    assert_eq!(group(&coupling, "a").channels.len(), 4);
    assert_eq!(group(&coupling, "b").channels.len(), 6);
    let smaller = without(&net.graph, &[("a", 1), ("b", 2)]);
    let expected = cut(
        data(&net.graph, "c.weight"),
        90,
        |_| true,
        |col| ![1, 6].contains(&(col % 10)),
    );
    assert_eq!(data(&smaller, "c.weight"), expected);
}

#[test]
fn flattening_makes_a_channel_a_run_of_features() {
    let mut net = Net::new(0, &[3, 2, 3]);
    let a = net.conv("a", ValueId(0), 4, 1, 1);
    let flat = net.flatten("flat", a);
    net.linear("fc", flat, 2);
    let coupling = Coupling::new(&net.graph).unwrap();
    assert_eq!(
        group(&coupling, "a").ties,
        ["reshape `flat` makes each of them 6 features"]
    );
    let smaller = without(&net.graph, &[("a", 2)]);
    let expected = cut(
        data(&net.graph, "fc.weight"),
        24,
        |_| true,
        |col| !(12..18).contains(&col),
    );
    assert_eq!(data(&smaller, "fc.weight"), expected);
}

#[test]
fn a_depthwise_convolution_follows_its_input_and_groups_stay_whole() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 4, 1, 1);
    let dw = net.conv("dw", a, 8, 4, 3);
    let b = net.conv("b", dw, 12, 1, 1);
    let g = net.conv("g", b, 6, 3, 3);
    net.conv("out", g, 2, 1, 1);
    let coupling = Coupling::new(&net.graph).unwrap();
    let followed = group(&coupling, "a");
    assert_eq!((followed.channels.len(), followed.width), (4, 1));
    assert_eq!(followed.layers, ["a", "dw"]);
    assert_eq!(followed.ties, ["depthwise `dw` follows `a`"]);
    let whole = group(&coupling, "b");
    assert_eq!((whole.channels.len(), whole.width), (3, 4));
    assert_eq!(whole.ties, ["conv2d `g` keeps its groups of 4 channels whole"]);

    let smaller = without(&net.graph, &[("a", 1), ("b", 5)]);
    let (old, new) = (&net.graph, &smaller);
    let Op::Conv2d(dw) = new.nodes[1].op else { panic!() };
    assert_eq!((dw.groups, dw.out_channels), (3, 6));
    assert_eq!(
        data(new, "dw.weight"),
        cut(data(old, "dw.weight"), 9, |row| row / 2 != 1, |_| true)
    );
    let Op::Conv2d(g) = new.nodes[3].op else { panic!() };
    assert_eq!((g.groups, g.out_channels), (2, 4));
    assert_eq!(
        data(new, "g.weight"),
        cut(data(old, "g.weight"), 36, |row| row / 2 != 1, |_| true)
    );
    assert_eq!(
        data(new, "b.weight"),
        cut(data(old, "b.weight"), 8, |row| row / 4 != 1, |col| col / 2 != 1)
    );
}

/// The shortcut of ResNet-20: zeros around the channels of the stage before.
#[test]
fn a_padded_shortcut_ties_the_channels_in_the_middle() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 4, 1, 1);
    let b = net.conv("b", a, 8, 1, 3);
    let wide = net.pad_channels("wide", a, 2, 2);
    let sum = net.add("sum", b, wide);
    net.conv("c", sum, 2, 1, 1);
    let coupling = Coupling::new(&net.graph).unwrap();
    assert_eq!(group(&coupling, "a").channels.len(), 4);
    assert_eq!(group(&coupling, "a").layers, ["a", "b"]);
    assert_eq!(group(&coupling, "b").channels.len(), 4);
    let smaller = without(&net.graph, &[("a", 0), ("b", 7)]);
    let expected = cut(
        data(&net.graph, "b.weight"),
        36,
        |row| ![2, 7].contains(&row),
        |col| col % 4 != 0,
    );
    assert_eq!(data(&smaller, "b.weight"), expected);
    let Op::Pad { before, after, .. } = smaller.nodes[2].op else {
        panic!()
    };
    assert_eq!((before[0], after[0]), (2, 1));
}

#[test]
fn halves_of_a_slice_are_groups_of_their_own() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 6, 1, 1);
    let low = net.slice_channels("low", a, 0..2, 1);
    let high = net.slice_channels("high", a, 2..6, 1);
    let [low, high] = [("b", low), ("c", high)].map(|(name, x)| net.conv(name, x, 3, 1, 1));
    net.add("sum", low, high);
    let coupling = Coupling::new(&net.graph).unwrap();
    let of_a: Vec<usize> = coupling
        .groups
        .iter()
        .filter(|g| g.name == "a")
        .map(|g| g.channels.len())
        .collect();
    assert_eq!(of_a, [2, 4]);
    let smaller = without(&net.graph, &[("a", 1), ("a", 2), ("a", 4)]);
    let ranges = [1, 2].map(|node| match smaller.nodes[node].op {
        Op::Slice { start, end, .. } => (start[0], end[0]),
        _ => panic!(),
    });
    assert_eq!(ranges, [(0, 1), (1, 3)]);
}

#[test]
fn shared_weights_share_their_channels() {
    let mut net = Net::new(0, &[4, 3, 3]);
    let a = net.conv("a", ValueId(0), 4, 1, 3);
    let b = net.conv("b", a, 4, 1, 3);
    let [Op::Conv2d(first), Op::Conv2d(mut second)] = [net.graph.nodes[0].op, net.graph.nodes[1].op] else {
        panic!()
    };
    (second.weight, second.bias) = (first.weight, None);
    net.graph.nodes[1].op = Op::Conv2d(second);
    net.conv("c", b, 2, 1, 1);
    let coupling = Coupling::new(&net.graph).unwrap();
    // The shared columns read the graph's input.
    let pinned = group(&coupling, "a");
    assert!(
        pinned
            .ties
            .contains(&"`a` and `b` share the weights `a.weight`".to_owned()),
        "{pinned:?}"
    );
    assert_eq!(pinned.pins, ["`x` is an input of the graph"]);
}

#[test]
fn what_cannot_be_removed_says_why() {
    let mut net = Net::new(0, &[4, 3, 3]);
    let a = net.conv("a", ValueId(0), 4, 1, 3);
    let b = net.add("b", a, ValueId(0));
    let c = net.conv("c", b, 6, 1, 3);
    let odd = net.slice_channels("odd", c, 0..6, 2);
    let d = net.conv("d", odd, 6, 1, 1);
    let mixed = net.reshape("mixed", d, &[9, 6, 1]);
    let e = net.conv("e", mixed, 5, 1, 1);
    let f = net.node("f", Op::Softmax { axis: 0 }, &[e]);
    let g = net.conv("g", f, 2, 1, 1);
    net.act("h", g, Activation::Relu);
    let coupling = Coupling::new(&net.graph).unwrap();
    let pins = |name| {
        let mut groups = coupling.groups.iter().filter(|group| group.name == name);
        groups.next().unwrap().pins.clone()
    };
    assert_eq!(pins("a"), ["`x` is an input of the graph"]);
    assert_eq!(pins("c"), ["slice `odd` takes one in 2 of them"]);
    assert_eq!(pins("d"), ["reshape `mixed` spreads 6 channels over 9"]);
    assert_eq!(pins("e"), ["softmax `f` sums over them"]);
    assert_eq!(pins("g"), ["`h` is an output of the graph"]);
    // Pinned channels stay, whatever is asked for.
    let none = vec![false; coupling.count];
    assert_eq!(remove(&net.graph, &coupling, &none).unwrap(), net.graph);
}

#[test]
fn a_value_without_channels_is_refused() {
    let mut net = Net::new(0, &[3, 4, 4]);
    let a = net.conv("a", ValueId(0), 2, 1, 1);
    net.conv("b", a, 2, 1, 1);
    let coupling = Coupling::new(&net.graph).unwrap();
    let none = vec![false; coupling.count];
    let error = remove(&net.graph, &coupling, &none).unwrap_err().to_string();
    assert!(error.contains("`a`"), "{error}");
}
