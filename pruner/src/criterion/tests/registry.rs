//! What holds for every criterion of the registry.

use rayon::ThreadPoolBuilder;
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Op, TensorId};

use super::support::{Net, calibration};
use crate::calibrate::Calibration;
use crate::criterion::{Criterion, CriterionError, METHODS, Method, Needs};
use crate::data::Dataset;
use crate::mask::{Scope, prune_count};
use crate::prune::{Masks, PruneError, choose};
use crate::recipe::{Recipe, schema};
use crate::train::{Init, Loss};

const PLAIN: Loss = Loss::CrossEntropy { smoothing: 0.0 };

/// A convolution, a mean and a classifier; a channel of every kind is there once.
fn net(fill: impl Fn(usize) -> f32) -> Net {
    let conv = Conv2d {
        weight: TensorId(0),
        bias: None,
        out_channels: 6,
        groups: 1,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
        activation: Activation::Identity,
    };
    let weights = |count: usize| (0..count).map(&fill).collect::<Vec<f32>>();
    Net::new(&[2, 5, 5])
        .conv("conv", conv, &weights(108), &[0.1; 6])
        .push("mean", Op::GlobalAvgPool)
        .linear("hidden", 1, &weights(6), None)
        .linear("fc", 3, &weights(3), None)
}

fn random() -> Net {
    let mut net = net(|_| 0.0);
    Init::KaimingNormal.apply(&mut net.0, 1);
    net
}

fn dataset(labelled: bool) -> Dataset {
    let pixels = (0..9 * 50).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let labels = (0..9).map(|i| i % 3).collect();
    Dataset::new(pixels, vec![2, 5, 5], Some(labels).filter(|_| labelled)).unwrap()
}

fn masks(
    net: &Net,
    method: &'static Method,
    seed: u64,
    samples: Option<&Calibration<'_>>,
) -> Result<Masks, PruneError> {
    let mut options = Recipe::default().options(Some(0.5));
    options.criterion = Criterion::new(method);
    options.seed = seed;
    Ok(choose(&net.0, |_| None, &options, samples)?.0)
}

fn pruned(masks: &Masks) -> usize {
    masks.iter().flat_map(|(_, mask)| mask).filter(|&&keep| !keep).count()
}

#[test]
fn counts_are_exact_and_masks_a_function_of_the_seed_on_any_number_of_threads() {
    let (net, dataset) = (random(), dataset(true));
    let samples = calibration(&dataset, PLAIN);
    for method in METHODS {
        let on = |threads: usize, seed| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| masks(&net, method, seed, Some(&samples)).unwrap())
        };
        let one = on(1, 7);
        assert_eq!(pruned(&one), prune_count(0.5, 117), "{}", method.name);
        assert_eq!(one, on(1, 7), "{}", method.name);
        assert_eq!(one, on(3, 7), "{}", method.name);
    }
    let random = Criterion::named("random").unwrap().method();
    let [one, other] = [1, 2].map(|seed| masks(&net, random, seed, None).unwrap());
    assert_ne!(one, other);
}

#[test]
fn all_zero_and_all_equal_weights_are_ranked_by_their_place() {
    let dataset = dataset(true);
    let samples = calibration(&dataset, PLAIN);
    for method in METHODS {
        for value in [0.0, 0.25] {
            let masks = masks(&net(|_| value), method, 0, Some(&samples)).unwrap();
            assert_eq!(pruned(&masks), prune_count(0.5, 117), "{} {value}", method.name);
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_with_their_layer() {
    let dataset = dataset(true);
    let samples = calibration(&dataset, PLAIN);
    for method in METHODS {
        for value in [f32::NAN, f32::INFINITY] {
            let mut net = random();
            net.0.tensors[2].data[3] = value;
            let error = masks(&net, method, 0, Some(&samples)).unwrap_err().to_string();
            assert!(error.contains("`hidden`") && error.contains(method.name), "{error}");
        }
    }
}

#[test]
fn scores_that_overflow_are_refused() {
    let net = net(|_| 1e30);
    let dataset = dataset(true);
    let samples = calibration(&dataset, PLAIN);
    for name in ["snip", "wanda"] {
        let error = net.scores(name, Some(&samples)).unwrap_err();
        assert!(matches!(error, CriterionError::Scores { .. }), "{name}: {error}");
    }
}

#[test]
fn each_needs_what_it_says() {
    let net = random();
    let (labelled, unlabelled) = (dataset(true), dataset(false));
    let all = [None, Some(&unlabelled), Some(&labelled)];
    for method in METHODS {
        let works = all.map(|dataset| {
            let samples = dataset.map(|dataset| calibration(dataset, PLAIN));
            match net.scores(method.name, samples.as_ref()) {
                Ok(_) => true,
                Err(CriterionError::NoSamples { .. }) => dataset.is_some(),
                Err(CriterionError::Samples { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        });
        let expected = match method.needs {
            Needs::Weights => [true; 3],
            Needs::Inputs => [false, true, true],
            Needs::Labels => [false, false, true],
        };
        assert_eq!(works, expected, "{}", method.name);
    }
}

#[test]
fn scopes_that_divide_by_scores_refuse_signs() {
    let (net, dataset) = (random(), dataset(true));
    let samples = calibration(&dataset, PLAIN);
    let mut options = Recipe::default().options(Some(0.5));
    options.criterion = Criterion::named("movement").unwrap();
    for scope in [Scope::Lamp, Scope::Owl] {
        options.scope = scope;
        let error = choose(&net.0, |_| None, &options, Some(&samples)).unwrap_err();
        assert!(matches!(error, PruneError::Signed { criterion: "movement" }), "{error}");
    }
}

#[test]
fn entries_are_described_and_every_form_of_them_is_read_again() {
    let schema = schema().to_string();
    let mut names: Vec<&str> = METHODS
        .iter()
        .flat_map(|method| [&[method.name], method.aliases].concat())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for method in METHODS {
        let name = method.name;
        assert!(
            !method.summary.is_empty() && method.source.contains(char::is_numeric),
            "{name}"
        );
        assert!(schema.contains(&format!("\"{name}\"")), "{name}");
        let criterion = Criterion::new(method);
        assert_eq!(criterion.to_string(), name);
        assert_eq!(name.parse(), Ok(criterion.clone()));
        let text = toml::to_string(&Recipe::default()).unwrap();
        let mut recipe: Recipe = toml::from_str(&text).unwrap();
        recipe.prune.criterion = criterion.clone();
        let again: Recipe = toml::from_str(&toml::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, recipe);
        for setting in method.settings {
            let mut same = criterion.clone();
            same.set(setting.name, &setting.default().into()).unwrap();
            assert_eq!(same, criterion, "{name} {}", setting.name);
            assert!(!setting.help.is_empty());
            assert!(
                same.set(setting.name, &"nonsense".into()).is_err(),
                "{name} {}",
                setting.name
            );
        }
    }
    let changed: Criterion = "ria:alpha=0.75".parse().unwrap();
    assert_eq!(changed.to_string(), "ria:alpha=0.75");
    for (text, problem) in [
        ("snap", "did you mean `snip`?"),
        ("ria:alhpa=1", "did you mean `alpha`?"),
        ("ria:alpha=3", "a number from 0 to 2"),
        ("ria:alpha", "NAME:KEY=VALUE"),
        ("magnitude:p=1", "it has none"),
        ("nmf:score=best", "one of recon, product, residual"),
        ("snip:rounds=1.5", "a whole number from 1 to 1000"),
    ] {
        let error = text.parse::<Criterion>().unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
}
