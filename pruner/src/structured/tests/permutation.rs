//! A permuted network is the same network.

use secateur_format::graph::{Graph, GraphError};

use super::net::Net;
use super::oracle::random;
use crate::reference;
use crate::structured::{Coupling, permute};

/// A random order of the channels of every group that has one.
fn shuffled(net: &mut Net, coupling: &Coupling) -> Vec<usize> {
    let mut order: Vec<usize> = (0..coupling.count).collect();
    for group in coupling.groups.iter().filter(|group| coupling.permutable(group)) {
        for last in (1..group.channels.len()).rev() {
            let other = net.below(last as u32 + 1) as usize;
            order.swap(group.channels[last], group.channels[other]);
        }
    }
    order
}

fn outputs(graph: &Graph) -> Vec<Vec<f64>> {
    let elems = graph.inputs[0].shape.elems();
    let input: Vec<f32> = (0..elems).map(|i| (i as f32 * 0.7).sin()).collect();
    reference::run(graph, &[&input]).unwrap()
}

#[test]
fn permuted_random_networks_compute_the_same() {
    let (mut moved, mut changed) = (0, 0);
    for seed in 0..400 {
        let (mut net, _) = random(seed);
        let coupling = Coupling::new(&net.graph).unwrap();
        let order = shuffled(&mut net, &coupling);
        moved += order.iter().enumerate().filter(|(from, to)| from != *to).count();
        let permuted = permute(&net.graph, &coupling, &order).unwrap();
        changed += usize::from(permuted != net.graph);
        for (a, b) in outputs(&net.graph).concat().iter().zip(outputs(&permuted).concat()) {
            assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "network {seed}: {a} and {b}");
        }
    }
    assert!(
        moved > 4000 && changed > 300,
        "{moved} channels moved, {changed} networks changed"
    );
}

#[test]
fn channels_of_different_values_do_not_change_places() {
    let (net, _) = random(1);
    let coupling = Coupling::new(&net.graph).unwrap();
    let mut order: Vec<usize> = (0..coupling.count).collect();
    let first = |group: usize| coupling.groups[group].channels[0];
    order.swap(first(0), first(1));
    assert_eq!(permute(&net.graph, &coupling, &order), Err(GraphError::Structure));
}
