//! Channel permutation: what it keeps, and what the network computes.

use secateur_format::graph::Graph;
use secateur_format::{Shape, TensorId};

use super::NM;
use crate::prune::prunable;
use crate::recipe::{PatternText, Prune, Recipe};
use crate::reconstruct::{permute, permute_channels};
use crate::reference;
use crate::train::{Init, zoo};

/// The magnitude that N:M pruning keeps of rows, a channel per column.
fn retained(rows: &[Vec<f64>], n: usize, m: usize) -> f64 {
    let groups = rows.iter().flat_map(|row| row.chunks(m));
    let largest = groups.map(|group| {
        let mut group: Vec<f64> = group.iter().map(|w| w.abs()).collect();
        group.sort_by(|a, b| b.total_cmp(a));
        group[..n].iter().sum::<f64>()
    });
    largest.sum()
}

#[test]
fn swaps_find_the_best_order_of_the_worked_example() {
    // algorithms.md 6.17.
    let row = [9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0];
    assert_eq!(retained(&[row.to_vec()], 2, 4), 24.0);
    let order = permute::search(&row.map(|w| vec![w]), 2, 4);
    let permuted = order.iter().map(|&slot| row[slot]).collect();
    assert_eq!(retained(&[permuted], 2, 4), 30.0);
}

#[test]
fn permuted_channels_keep_more_and_compute_the_same() {
    let shape = Shape::new(&[3, 16, 16]).unwrap();
    for name in ["vgg-small", "resnet-20", "mobilenet-v1"] {
        let graph = zoo::find(name).unwrap().build(shape, 10, Init::default(), 3).unwrap();
        let options = Recipe {
            prune: Prune {
                pattern: PatternText(NM),
                ..Prune::default()
            },
            ..Recipe::default()
        };
        let options = options.options(None);
        let prunable = prunable(&graph, &options).unwrap();
        let permuted = permute_channels(&graph, &prunable, 2, 4).unwrap();
        let kept = |graph: &Graph| {
            let of = |id: TensorId| {
                let tensor = graph.tensor(id).unwrap();
                let rows = tensor.data.chunks(tensor.cols as usize);
                let rows: Vec<Vec<f64>> = rows.map(|row| row.iter().map(|&w| w.into()).collect()).collect();
                retained(&rows, 2, 4)
            };
            prunable.iter().map(|&id| of(id)).sum::<f64>()
        };
        assert!(
            kept(&permuted) > kept(&graph),
            "{name}: {} of {}",
            kept(&permuted),
            kept(&graph)
        );
        let input: Vec<f32> = (0..shape.elems()).map(|i| (i as f32 * 0.7).sin()).collect();
        let outputs = |graph: &Graph| reference::run(graph, &[&input]).unwrap().concat();
        for (a, b) in outputs(&graph).iter().zip(outputs(&permuted)) {
            assert!((a - b).abs() <= 1e-6 * (1.0 + a.abs()), "{name}: {a} and {b}");
        }
    }
}
