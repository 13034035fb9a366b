//! NNrelief: the worked examples of `algorithms.md` 5.10, through scores, scope and propagation.

use secateur_format::op::Conv2d;
use secateur_format::{Activation, Op, TensorId};

use super::support::{Net, calibration, close};
use crate::calibrate::Calibration;
use crate::data::Dataset;
use crate::mask::Scope;
use crate::prune::{Masks, PruneError, PruneOptions, choose};
use crate::recipe::Recipe;
use crate::train::Loss;

fn samples(dataset: &Dataset) -> Calibration<'_> {
    calibration(dataset, Loss::MeanSquare)
}

fn options(criterion: &str, alpha: f64) -> PruneOptions {
    let mut recipe = Recipe::default();
    recipe.prune.criterion = criterion.parse().unwrap();
    recipe.prune.scope = Scope::Importance;
    recipe.prune.alpha = Some(alpha);
    recipe.prune.pattern = "kernel".parse().unwrap();
    recipe.options(None)
}

/// The mask of a constant, all 1 if it has none.
fn mask(masks: &Masks, net: &Net, name: &str) -> Vec<u8> {
    let tensor = net.0.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    let own = masks.iter().find(|(id, _)| usize::from(id.0) == tensor);
    own.map_or_else(
        || vec![1; net.0.tensors[tensor].data.len()],
        |(_, mask)| mask.iter().map(|&keep| keep.into()).collect(),
    )
}

fn chosen(net: &Net, options: &PruneOptions, dataset: &Dataset) -> Masks {
    choose(&net.0, |_| None, options, Some(&samples(dataset))).unwrap().0
}

/// A neuron of three inputs with a bias, and two samples.
fn neuron() -> (Net, Dataset) {
    let net = Net::new(&[3]).linear("fc", 1, &[0.5, -0.1, 0.3], Some(&[0.2]));
    (
        net,
        Dataset::new(vec![1.0, 2.0, 0.0, 3.0, 0.0, 2.0], vec![3], None).unwrap(),
    )
}

/// A convolution with one output over images of 2 × 2.
fn conv(channels: u32, weights: &[f32], bias: f32, kernel: u16) -> Net {
    let conv = Conv2d {
        weight: TensorId(0),
        bias: None,
        out_channels: 1,
        groups: 1,
        kernel: [kernel; 2],
        stride: [1; 2],
        dilation: [1; 2],
        pads: [0; 4],
        activation: Activation::Identity,
    };
    Net::new(&[channels, 2, 2]).conv("conv", conv, weights, &[bias])
}

#[test]
fn a_neuron_keeps_what_has_its_share_of_importance() {
    let (net, dataset) = neuron();
    let scores = net.scores("nnrelief", Some(&samples(&dataset))).unwrap();
    close("scores", &scores[0], &[1.0, 0.1, 0.3], 1e-6);
    for (alpha, weights, bias) in [(0.9, [1, 0, 1], [1]), (0.8, [1, 0, 1], [0])] {
        let masks = chosen(&net, &options("nnrelief", alpha), &dataset);
        assert_eq!(mask(&masks, &net, "fc.weight"), weights, "{alpha}");
        assert_eq!(mask(&masks, &net, "fc.bias"), bias, "{alpha}");
    }
}

#[test]
fn a_filter_keeps_whole_kernels() {
    let weights = [1.0, -1.0, 0.0, 2.0, 0.1, 0.1, 0.1, 0.1];
    let net = conv(2, &weights, 0.0, 2);
    let dataset = Dataset::new(vec![1.0; 8], vec![2, 2, 2], None).unwrap();
    for criterion in ["nnrelief", "nnrelief:positions=l2"] {
        let scores = net.scores(criterion, Some(&samples(&dataset))).unwrap();
        let kernel = |channel: usize| scores[0].iter().skip(channel).step_by(2).sum::<f64>();
        close(criterion, &[kernel(0), kernel(1)], &[4.0, 0.4], 1e-6);
        let masks = chosen(&net, &options(criterion, 0.9), &dataset);
        // (ky, kx, ci): of every position the first channel.
        assert_eq!(mask(&masks, &net, "conv.weight"), [1, 0, 1, 0, 1, 0, 1, 0]);
    }
}

#[test]
fn positions_are_added_up_or_a_vector() {
    // One weight of 2 at four positions, whose mean sizes are 1, 0, 3 and 2.
    let net = conv(1, &[2.0], 0.0, 1);
    let dataset = Dataset::new(vec![1.0, 0.0, -3.0, 1.0, -1.0, 0.0, 3.0, 3.0], vec![1, 2, 2], None).unwrap();
    let score = |criterion: &str| net.scores(criterion, Some(&samples(&dataset))).unwrap()[0][0];
    close("sum", &[score("nnrelief")], &[3.0], 1e-6);
    close("l2", &[score("nnrelief:positions=l2")], &[14f64.sqrt()], 1e-6);
}

#[test]
fn neurons_that_nothing_reads_go_with_their_bias() {
    let first = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let net = Net::new(&[2])
        .linear("first", 3, &first, Some(&[1.0, 1.0, 1.0]))
        .linear("second", 2, &[1.0, 0.0, 2.0, 0.0, 0.0, 3.0], None);
    let dataset = Dataset::new(vec![1.0, 1.0], vec![2], None).unwrap();
    let masks = chosen(&net, &options("nnrelief", 0.999), &dataset);
    assert_eq!(mask(&masks, &net, "first.weight"), [1, 1, 0, 0, 1, 1]);
    assert_eq!(mask(&masks, &net, "first.bias"), [1, 0, 1]);
    // Where a rule leaves the first layer dense, it stays so.
    let mut recipe = Recipe::default();
    recipe
        .rule
        .push(toml::from_str("layers = \"first\"\nsparsity = 0.0").unwrap());
    let rules = recipe.options(None).rules;
    let left = PruneOptions {
        rules,
        ..options("nnrelief", 0.999)
    };
    assert_eq!(mask(&chosen(&net, &left, &dataset), &net, "first.weight"), [1; 6]);
}

#[test]
fn units_that_never_fire_die() {
    // The second neuron is below zero for every sample.
    let net = Net::new(&[2])
        .linear("first", 2, &[1.0, 1.0, -1.0, -1.0], Some(&[0.0, -1.0]))
        .push("relu", Op::Activation(Activation::Relu))
        .linear("second", 2, &[1.0, 9.0, 1.0, 9.0], None);
    let dataset = Dataset::new(vec![1.0, 2.0, 3.0, 4.0], vec![2], None).unwrap();
    let masks = chosen(&net, &options("nnrelief", 0.99), &dataset);
    assert_eq!(mask(&masks, &net, "first.weight"), [1, 1, 0, 0]);
    assert_eq!(mask(&masks, &net, "first.bias")[1], 0);
    assert_eq!(mask(&masks, &net, "second.weight"), [1, 0, 1, 0]);
}

#[test]
fn the_scale_of_an_input_does_not_matter() {
    let (net, dataset) = neuron();
    let scaled = Net::new(&[3]).linear("fc", 1, &[0.05, -0.1, 0.3], Some(&[0.2]));
    let larger = Dataset::new(vec![10.0, 2.0, 0.0, 30.0, 0.0, 2.0], vec![3], None).unwrap();
    let [a, b] = [(&net, &dataset), (&scaled, &larger)].map(|(net, dataset)| {
        let scores = net.scores("nnrelief", Some(&samples(dataset))).unwrap();
        scores[0].clone()
    });
    close("scaled", &a, &b, 1e-6);
}

#[test]
fn a_sparsity_is_met_by_one_share_for_all_outputs() {
    let weights: Vec<f32> = (0..1200).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
    let net = Net::new(&[40]).linear("fc", 30, &weights, Some(&[0.01; 30]));
    let dataset = Dataset::new((0..400).map(|i| (i as f32 * 0.7).cos()).collect(), vec![40], None).unwrap();
    for asked in [0.5, 0.8] {
        let wanted = PruneOptions {
            alpha: None,
            sparsity: Some(asked),
            ..options("nnrelief", 0.5)
        };
        let (masks, report) = choose(&net.0, |_| None, &wanted, Some(&samples(&dataset))).unwrap();
        // Outputs lose whole weights.
        assert!(
            report.sparsity >= asked && report.sparsity < asked + 0.01,
            "{}",
            report.sparsity
        );
        let kept = mask(&masks, &net, "fc.weight");
        let counts: Vec<usize> = kept
            .chunks(40)
            .map(|row| row.iter().filter(|&&keep| keep == 1).count())
            .collect();
        assert!(
            counts.iter().all(|&count| count > 0) && counts.iter().any(|&count| count != counts[0]),
            "{counts:?}"
        );
    }
}

#[test]
fn what_importance_cannot_do_is_said() {
    let (net, dataset) = neuron();
    let own = options("nnrelief", 0.9);
    let with = |change: fn(&mut PruneOptions)| {
        let mut options = own.clone();
        change(&mut options);
        options
    };
    for (wrong, remedy) in [
        (with(|options| options.scope = Scope::Global), "scope importance"),
        (
            with(|options| options.criterion = "wanda".parse().unwrap()),
            "nnrelief or magnitude",
        ),
        (
            with(|options| options.pattern = "4x1".parse().unwrap()),
            "unstructured or kernel",
        ),
        (with(|options| options.bounds.max = 0.5), "alpha by rules"),
        (with(|options| options.alpha = Some(1.5)), "between 0 and 1"),
        (with(|options| options.sparsity = Some(0.5)), "one of them"),
    ] {
        let found = choose(&net.0, |_| None, &wrong, Some(&samples(&dataset))).unwrap_err();
        assert!(
            matches!(&found, PruneError::Sparsity(text) if text.contains(remedy)),
            "{found}"
        );
    }
}
