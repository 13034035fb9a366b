//! The worked examples of `algorithms.md`, each through the registry.

use secateur_format::graph::{Graph, Tensor};
use secateur_format::op::BatchNorm;
use secateur_format::{Op, TensorId};

use super::support::{Net, calibration, close};
use crate::calibrate::Calibration;
use crate::criterion::Criterion;
use crate::data::Dataset;
use crate::mask::Scope;
use crate::prune::choose;
use crate::recipe::Recipe;
use crate::train::Loss;

/// W of 5.1, `[2, 3]`.
const W: [f32; 6] = [0.5, -0.1, 0.3, -0.2, 0.4, -0.6];

/// `‖W x − t‖² / 2` for t = [-1, 1]: the mean square of two outputs and label 1, with a bias.
fn squared() -> (Net, Dataset) {
    let net = Net::new(&[3]).linear("fc", 2, &W, Some(&[1.0, 0.0]));
    (net, Dataset::new(vec![1.0, 2.0, -1.0], vec![3], Some(vec![1])).unwrap())
}

/// What stays of the only layer.
fn kept(graph: &Graph, criterion: &str, scope: Scope, sparsity: f64, samples: Option<&Calibration<'_>>) -> Vec<u8> {
    let mut options = Recipe::default().options(Some(sparsity));
    options.criterion = criterion.parse().unwrap();
    options.scope = scope;
    let (masks, _) = choose(graph, |_| None, &options, samples).unwrap();
    masks[0].1.iter().map(|&keep| keep.into()).collect()
}

#[test]
fn norms_of_what_is_pruned_together() {
    // 5.1: the rows [3,-4], [0,6], [5,2], of which each norm removes another one.
    let rows = [3.0, -4.0, 0.0, 6.0, 5.0, 2.0];
    let net = Net::new(&[2]).linear("fc", 3, &rows, None);
    for (name, expected) in [
        ("magnitude", [7.0, 6.0, 7.0]),
        ("l2", [25.0, 36.0, 29.0]),
        ("linf", [4.0, 6.0, 5.0]),
        ("lneginf", [3.0, 0.0, 2.0]),
    ] {
        let unit = Criterion::named(name).unwrap().unit();
        let scores = net.scores(name, None).unwrap();
        let found: Vec<f64> = scores[0].chunks(2).map(|row| unit.score(row.iter().copied())).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn filters_score_by_their_distances_and_by_their_norms() {
    // 6.21: the second filter is nearest to the others.
    let net = Net::new(&[2]).linear("fc", 3, &[0.0, 0.0, 1.0, 0.0, 4.0, 0.0], None);
    let of_rows = |net: &Net, criterion: &str, layer: usize, cols: usize| -> Vec<f64> {
        let scores = net.scores(criterion, None).unwrap();
        scores[layer].chunks(cols).map(|row| row.iter().sum()).collect()
    };
    close("fpgm", &of_rows(&net, "fpgm", 0, 2), &[5.0, 4.0, 7.0], 1e-6);
    let mut net = Net::new(&[2]).linear("fc", 3, &[1.0; 6], None);
    let tensor = net.0.tensors.len() as u16;
    for (part, value) in [
        ("scale", [0.5, -2.0, 0.0]),
        ("bias", [0.0; 3]),
        ("mean", [0.0; 3]),
        ("var", [1.0; 3]),
    ] {
        net.0.tensors.push(Tensor::vector(part, value.to_vec()));
    }
    let [scale, bias, mean, var] = [0, 1, 2, 3].map(|part| TensorId(tensor + part));
    let norm = BatchNorm {
        scale,
        bias,
        mean,
        var,
        eps: 1e-5,
    };
    let net = net.push("norm", Op::BatchNorm(norm)).linear("out", 1, &[3.0; 3], None);
    close("bn-scale", &of_rows(&net, "bn-scale", 0, 2), &[0.5, 2.0, 0.0], 1e-6);
    close("no norm", &of_rows(&net, "bn-scale", 1, 3), &[1.0], 1e-6);
}

#[test]
fn snip_and_grasp_keep_other_rows() {
    let (net, dataset) = squared();
    let samples = calibration(&dataset, Loss::MeanSquare);
    // 6.4.
    let snip = net.scores("snip", Some(&samples)).unwrap();
    close("snip", &snip[0], &[0.5, 0.2, 0.3, 0.04, 0.16, 0.12], 1e-5);
    let mask = kept(&net.0, "snip", Scope::Global, 0.5, Some(&samples));
    assert_eq!(mask, [1, 1, 1, 0, 0, 0]);
    // 6.5.
    let grasp = "grasp:temperature=1";
    let scores = net.scores(grasp, Some(&samples)).unwrap();
    close("grasp", &scores[0], &[3.0, -1.2, -1.8, -0.24, 0.96, 0.72], 1e-3);
    let mask = kept(&net.0, grasp, Scope::Global, 0.5, Some(&samples));
    assert_eq!(mask, [1, 0, 0, 0, 1, 1]);
}

#[test]
fn fisher_is_of_samples_or_of_batches() {
    // 6.8: for one output, the square of w·x − 1 has the gradients [1, 0] and [1, 2] at w = [1, 0.5].
    let (first, second) = ((1.0 + 3f32.sqrt()) / 2.0, (1.0 + 5f32.sqrt()) / 4.0);
    let inputs = vec![first, 0.0, second, 2.0 * second];
    let dataset = Dataset::new(inputs, vec![2], Some(vec![0, 0])).unwrap();
    let samples = calibration(&dataset, Loss::MeanSquare);
    let net = Net::new(&[2]).linear("fc", 1, &[1.0, 0.5], None);
    let scores = |criterion: &str| net.scores(criterion, Some(&samples)).unwrap().remove(0);
    close("exact", &scores("fisher"), &[0.5, 0.25], 1e-5);
    close("batched", &scores("fisher:batch=2"), &[0.5, 0.125], 1e-5);
    // 6.8 and 6.21: the mean gradient is [1, 1].
    close("taylor", &scores("taylor"), &[1.0, 0.5], 1e-5);
}

#[test]
fn woodfisher_counts_what_others_make_up_for() {
    // 6.9: the gradient [1, 2] at w = [1, 1], which is that of (w·x - 1)² for x = [u, 2u].
    let u = (2.0 + 28f32.sqrt()) / 12.0;
    let dataset = Dataset::new(vec![u, 2.0 * u], vec![2], Some(vec![0])).unwrap();
    let samples = calibration(&dataset, Loss::MeanSquare);
    let net = Net::new(&[2]).linear("fc", 1, &[1.0, 1.0], None);
    let scores = net.scores("woodfisher:damping=1", Some(&samples)).unwrap();
    close("woodfisher", &scores[0], &[0.6, 1.5], 1e-5);
}

#[test]
fn movement_keeps_what_moves_away_from_zero() {
    // 6.7: w = [0.5, -0.2] with the gradient [0.1, 0.3], which is that of (w·x - 1)² for x = [u, 3u].
    let u = (-2.0 + (4.0f32 - 0.08).sqrt()) / 0.4;
    let dataset = Dataset::new(vec![u, 3.0 * u], vec![2], Some(vec![0])).unwrap();
    let samples = calibration(&dataset, Loss::MeanSquare);
    let net = Net::new(&[2]).linear("fc", 1, &[0.5, -0.2], None);
    let scores = net.scores("movement", Some(&samples)).unwrap();
    close("movement", &scores[0], &[-0.05, 0.06], 1e-4);
}

#[test]
fn wanda_and_ria_look_at_the_inputs() {
    // 6.12 and 6.13.
    let dataset = Dataset::new(vec![1.0, 4.0, 0.0, 1.0, 3.0, 1.0], vec![3], None).unwrap();
    let samples = calibration(&dataset, Loss::MeanSquare);
    let net = Net::new(&[3]).linear("fc", 2, &W, None);
    let scores = |criterion: &str| net.scores(criterion, Some(&samples)).unwrap().remove(0);
    let wanda = [0.5f64.sqrt(), 0.5, 0.3, 0.282_843, 2.0, 0.6];
    close("wanda", &scores("wanda"), &wanda, 1e-5);
    let ria = [1.510_104, 0.695_666, 0.666_667, 0.537_975, 2.534_210, 1.166_667];
    close("ria", &scores("ria"), &ria, 1e-5);
    let rows = |criterion| kept(&net.0, criterion, Scope::Row, 1.0 / 3.0, Some(&samples));
    assert_eq!(rows("wanda"), [1, 1, 0, 0, 1, 1]);
    assert_eq!(rows("magnitude"), [1, 0, 1, 0, 1, 1]);
}

#[test]
fn layers_with_outliers_keep_more() {
    // The first layer has one weight of forty that is far above the others, the second none.
    let mut first = [0.1; 40];
    first[7] = 9.0;
    let second: Vec<f32> = (0..40).map(|i| 1.0 + i as f32 / 40.0).collect();
    let net = Net::new(&[4])
        .linear("a", 10, &first, None)
        .linear("b", 4, &second, None);
    let mut options = Recipe::default().options(Some(0.5));
    options.scope = Scope::Owl;
    let (masks, _) = choose(&net.0, |_| None, &options, None).unwrap();
    let kept: Vec<usize> = masks
        .iter()
        .map(|(_, mask)| mask.iter().filter(|&&keep| keep).count())
        .collect();
    // Densities are 0.5 + 0.08 and 0.5 - 0.08.
    assert_eq!(kept, [23, 17]);
}

#[test]
fn ong_keeps_by_the_factors_or_by_their_product_with_the_weights() {
    // 5.3; scores are relative to their mean.
    let net = Net::new(&[3]).linear("fc", 2, &W, None);
    let scored = |name: &str, expected: [f64; 6], mask: [u8; 6]| {
        let mean = expected.iter().sum::<f64>() / 6.0;
        let scores = net.scores(name, None).unwrap();
        close(name, &scores[0], &expected.map(|score| score / mean), 5e-5);
        assert_eq!(kept(&net.0, name, Scope::Global, 0.5, None), mask, "{name}");
    };
    let recon = [0.267_073, 0.224_443, 0.388_282, 0.368_716, 0.309_862, 0.536_055];
    scored("nmf", recon, [0, 0, 1, 1, 0, 1]);
    let product = [0.133_537, 0.022_444, 0.116_485, 0.073_743, 0.123_945, 0.321_633];
    scored("nmf:score=product", product, [1, 0, 0, 0, 1, 1]);
}

#[test]
fn synflow_conserves_its_flow_however_deep() {
    // 6.6.
    let net = Net::new(&[3])
        .linear("a", 2, &W, None)
        .linear("b", 1, &[0.5, -2.0], None);
    let scores = net.scores("synflow", None).unwrap();
    close("a", &scores[0], &[0.25, 0.05, 0.15, 0.4, 0.8, 1.2], 1e-5);
    close("b", &scores[1], &[0.45, 2.4], 1e-5);
    // A flow of about 1e57, which f32 does not hold.
    let mut deep = Net::new(&[8]);
    for layer in 0..30 {
        let weights: Vec<f32> = (0..64).map(|i| 1.0 + ((7 * i + layer) % 19) as f32).collect();
        deep = deep.linear(&format!("l{layer}"), 8, &weights, None);
    }
    let scores = deep.scores("synflow", None).unwrap();
    let flow = |layer: &Vec<f64>| layer.iter().sum::<f64>();
    for layer in &scores {
        close("flow", &[flow(layer)], &[flow(&scores[0])], 1e-4);
    }
}

#[test]
fn rounds_keep_layers_that_one_pass_empties() {
    let noise = crate::train::Init::KaimingNormal;
    let zeros = |rows: usize, cols: usize| vec![0.0; rows * cols];
    let mut net = Net::new(&[32])
        .linear("wide", 32, &zeros(32, 32), None)
        .linear("narrow", 4, &zeros(4, 32), None)
        .linear("out", 4, &zeros(4, 4), None);
    noise.apply(&mut net.0, 1);
    let kept = |criterion| {
        let mask = kept(&net.0, criterion, Scope::Global, 0.95, None);
        mask.iter().map(|&keep| usize::from(keep)).sum::<usize>()
    };
    // The guard leaves one weight in a thousand.
    assert_eq!(kept("synflow:rounds=1"), 2);
    assert!(kept("synflow") > 20, "{}", kept("synflow"));
}
