//! Channel permutation: what it keeps, and what the network computes.

use secateur_format::graph::{Graph, Tensor};
use secateur_format::{Shape, TensorId};

use crate::mask::Pattern;
use crate::prune::prunable;
use crate::recipe::{PatternText, Prune, Recipe};
use crate::reconstruct::permute::{self, Keeps, Line, Slots};
use crate::reconstruct::permute_channels;
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

/// The order that swaps find for channels of some scores, `[slots][lines]`.
fn order<const LINES: usize>(scores: &[[f64; LINES]], width: usize, keeps: Keeps) -> Vec<usize> {
    permute::search(&Slots {
        channels: (0..scores.len()).collect(),
        neighbours: width,
        lines: vec![Line { width, keeps }; LINES],
        scores: scores.iter().map(|lines| lines.to_vec()).collect(),
    })
}

#[test]
fn swaps_find_the_best_order_of_the_worked_example() {
    // algorithms.md 6.17.
    let row = [9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0];
    assert_eq!(retained(&[row.to_vec()], 2, 4), 24.0);
    let order = order(&row.map(|w| [w]), 4, Keeps::Largest(2));
    let permuted = order.iter().map(|&slot| row[slot]).collect();
    assert_eq!(retained(&[permuted], 2, 4), 30.0);
}

#[test]
fn rows_of_like_magnitude_meet_in_blocks() {
    // Blocks of two rows: 10 and 10 of each column; half of them can be 17.
    let rows = [[9.0, 9.0], [1.0, 1.0], [8.0, 8.0], [2.0, 2.0]];
    let order = order(&rows, 2, Keeps::Above(10.0));
    let mut blocks: Vec<Vec<usize>> = order.chunks(2).map(<[usize]>::to_vec).collect();
    blocks.iter_mut().for_each(|block| block.sort_unstable());
    blocks.sort();
    assert_eq!(blocks, [[0, 2], [1, 3]]);
}

#[test]
fn permuted_channels_keep_more_and_compute_the_same() {
    let shape = Shape::new(&[3, 16, 16]).unwrap();
    let all = ["2:4", "4x1", "1x4", "2x2", "2x4"].map(|text| ("resnet-20", text));
    let others = ["vgg-small", "mobilenet-v1"].map(|name| (name, "2:4"));
    for (name, text) in all.into_iter().chain(others) {
        let graph = zoo::find(name).unwrap().build(shape, 10, Init::default(), 3).unwrap();
        let pattern: Pattern = text.parse().unwrap();
        let options = Recipe {
            prune: Prune {
                pattern: PatternText(pattern),
                ..Prune::default()
            },
            ..Recipe::default()
        };
        let options = options.options(pattern.fixed_sparsity().is_none().then_some(0.6));
        let prunable = prunable(&graph, &options).unwrap();
        let permuted = permute_channels(&graph, &prunable, pattern, 0.6).unwrap();
        let kept = |tensor: &Tensor| match pattern {
            Pattern::Nm { n, m } => {
                let rows = tensor.data.chunks(tensor.cols as usize);
                let rows: Vec<Vec<f64>> = rows.map(|row| row.iter().map(|&w| w.into()).collect()).collect();
                retained(&rows, n.into(), m.into())
            }
            _ => permute::retained(tensor, pattern, 0.6),
        };
        let kept = |graph: &Graph| -> f64 {
            let of = |id: &TensorId| kept(graph.tensor(*id).unwrap());
            prunable.iter().map(of).sum()
        };
        assert!(
            kept(&permuted) > kept(&graph),
            "{name} {text}: {} of {}",
            kept(&permuted),
            kept(&graph)
        );
        let input: Vec<f32> = (0..shape.elems()).map(|i| (i as f32 * 0.7).sin()).collect();
        let outputs = |graph: &Graph| reference::run(graph, &[&input]).unwrap().concat();
        for (a, b) in outputs(&graph).iter().zip(outputs(&permuted)) {
            assert!((a - b).abs() <= 1e-6 * (1.0 + a.abs()), "{name} {text}: {a} and {b}");
        }
    }
}
