//! Every model × pattern × encoding: the file holds exactly the pruned weights in exactly the
//! predicted bytes, and the runtime computes what the dense reference computes.

use secateur::criterion::Criterion;
use secateur::emit::{EmitOptions, Emitted, EncodingChoice, Family, TOLERANCE};
use secateur::lower::lower;
use secateur::mask::{Bounds, Pattern, Scope};
use secateur::prune::{Fallback, PruneOptions, prune};
use secateur::reference;
use secateur::source::sct;
use secateur_format::Limits;
use secateur_format::encoding::ValueType;
use secateur_format::graph::{Graph, Tensor};
use secateur_runtime::kernel::{ALL, SCALAR};
use secateur_runtime::{ArenaBuf, Model};

use crate::predict::{self, FAMILIES, Matrix, data_section, expected_sections, file_len, sections};
use crate::support::{difference, emitted, golden, graph, run, wide, without_softmax};
use crate::{structure, support};

/// Pattern and sparsity (that of N:M follows from it).
const PATTERNS: [(&str, f64); 8] = [
    ("unstructured", 0.5),
    ("unstructured", 0.8),
    ("unstructured", 0.95),
    ("2:4", 0.5),
    ("1:4", 0.75),
    ("4x1", 0.7),
    ("1x4", 0.7),
    ("16x1", 0.7),
];

/// A pruned network, and all that follows from it before a file is written.
struct Case {
    label: String,
    pruned: Graph,
    /// Lowered, weights rounded to the value type.
    lowered: Graph,
    values: ValueType,
    input: Vec<f32>,
    expected: Vec<f64>,
    dense_file: Vec<u8>,
}

impl Case {
    fn new(model: &str, (pattern, sparsity): (&str, f64), fallback: Fallback, values: ValueType) -> Self {
        let label = format!("{model} {pattern} {sparsity} {values}");
        let source = graph(model);
        // Behind a softmax, errors vanish.
        let source = without_softmax(&source).unwrap_or(source);
        let pattern: Pattern = pattern.parse().unwrap();
        let mut pruned = source.clone();
        let options = PruneOptions {
            sparsity: Some(sparsity),
            alpha: None,
            pattern,
            criterion: Criterion::default(),
            scope: Scope::Global,
            fallback,
            bounds: Bounds::default(),
            rules: Vec::new(),
            seed: 0,
        };
        let report = prune(&mut pruned, &options, None).unwrap();
        let substitute = fallback == Fallback::Unstructured;
        structure::check(&source, &pruned, pattern, sparsity, substitute, &report);

        let mut lowered = lower(&pruned).unwrap();
        for i in predict::weights(&lowered) {
            let weights = lowered.tensors[i].data.iter_mut();
            weights.for_each(|w| *w = rounded(*w, values));
        }
        let input = golden(model).remove(0).0;
        // In f32 nothing is rounded: then the reference is the network as imported.
        let reference = if values == ValueType::F32 { &pruned } else { &lowered };
        let expected = reference::run(reference, &[&input]).unwrap().remove(0);
        let dense_file = emitted(&pruned, &options_of(Some(Family::Dense), values)).bytes;
        Self {
            label,
            pruned,
            lowered,
            values,
            input,
            expected,
            dense_file,
        }
    }

    /// Emits with a family (`None` is free choice) and checks everything. Returns the layers
    /// that are not dense, and the largest error.
    fn check(&self, family: Option<Family>) -> (usize, f64) {
        let label = format!("{} as {family:?}", self.label);
        let emitted = emitted(&self.pruned, &options_of(family, self.values));
        assert!(emitted.check.error <= TOLERANCE, "{label}");
        let sparse = self.check_sizes(family, &emitted, &label);

        let aligned = ArenaBuf::copy_of(&emitted.bytes);
        let model = Model::read(aligned.as_ref(), &Limits::HOST).unwrap();
        let stored = sct::graph(&model).unwrap().tensors;
        for (stored, lowered) in stored.iter().zip(&self.lowered.tensors) {
            assert!(stored.data == lowered.data, "{label}: {}", lowered.name);
        }
        let errors = [ALL, SCALAR].map(|kernels| {
            let found = run(&emitted.bytes, kernels, &[&self.input]).remove(0);
            difference(&self.expected, &wide(&found))
        });
        let worst = errors[0].max(errors[1]);
        assert!(worst <= TOLERANCE, "{label}: {worst:e}");
        (sparse, worst)
    }

    /// Payloads, sections and the file have the lengths that follow from the weights.
    fn check_sizes(&self, family: Option<Family>, emitted: &Emitted, label: &str) -> usize {
        let value_bytes = if self.values == ValueType::F32 { 4 } else { 2 };
        let chosen = |tensor: &Tensor| {
            let matrix = Matrix {
                weights: &tensor.data,
                cols: tensor.cols as usize,
                value_bytes,
            };
            matrix.chosen(family)
        };
        let weights = predict::weights(&self.lowered);
        assert_eq!(weights.len(), emitted.choices.len(), "{label}");
        let mut sparse = 0;
        for (id, choice) in weights.into_iter().zip(&emitted.choices) {
            let tensor = &self.lowered.tensors[id];
            let (bytes, is_sparse) = chosen(tensor);
            let encoding = choice.chosen.desc.encoding;
            let place = format!("{label}: {} as {encoding}", choice.node);
            assert_eq!(choice.chosen.bytes as usize, bytes, "{place}");
            assert_eq!(!Family::Dense.contains(encoding), is_sparse, "{place}");
            assert!(
                !is_sparse || family.is_none_or(|family| family.contains(encoding)),
                "{place}"
            );
            let nonzeros = tensor.data.iter().filter(|&&w| w != 0.0).count();
            assert_eq!(choice.nonzeros as usize, nonzeros, "{place}");
            sparse += usize::from(is_sparse);
        }
        let data = data_section(&self.lowered, |tensor| chosen(tensor).0);
        let expected = expected_sections(&self.lowered, &self.dense_file, data);
        assert_eq!(sections(&emitted.bytes), expected, "{label}");
        assert_eq!(emitted.bytes.len(), file_len(&expected), "{label}");
        assert_eq!(emitted.dense_bytes as usize, self.dense_file.len(), "{label}");
        sparse
    }
}

fn rounded(weight: f32, values: ValueType) -> f32 {
    match values {
        ValueType::F16 => half::f16::from_f32(weight).to_f32(),
        ValueType::Bf16 => half::bf16::from_f32(weight).to_f32(),
        _ => weight,
    }
}

fn options_of(family: Option<Family>, values: ValueType) -> EmitOptions {
    EmitOptions {
        encoding: family.map_or(EncodingChoice::Auto, EncodingChoice::Only),
        values,
        ..EmitOptions::default()
    }
}

/// Whether a family must be smaller than dense for at least one layer.
fn must_appear(family: Option<Family>, (pattern, sparsity): (&str, f64), values: ValueType) -> bool {
    match family {
        Some(Family::Dense) => false,
        // A column index of two bytes beside a value of two.
        Some(Family::Csr16) => values == ValueType::F32 || sparsity > 0.5,
        Some(Family::Nm(_)) => pattern.contains(':'),
        Some(Family::Block(_)) => pattern.contains('x'),
        _ => true,
    }
}

fn check_model(model: &str, patterns: &[(&str, f64)], fallback: Fallback, values: &[ValueType]) {
    let mut worst = 0.0f64;
    for &values in values {
        for &pattern in patterns {
            let case = Case::new(model, pattern, fallback, values);
            for family in FAMILIES.into_iter().map(Some).chain([None]) {
                let (sparse, error) = case.check(family);
                worst = worst.max(error);
                assert!(
                    sparse > 0 || !must_appear(family, pattern, values),
                    "{}: no layer is {family:?}",
                    case.label
                );
                assert!(sparse == 0 || family != Some(Family::Dense), "{}", case.label);
            }
        }
    }
    println!("{model} {values:?}: worst error {worst:.1e} of the largest output");
}

const F32: &[ValueType] = &[ValueType::F32];

#[test]
fn resnet20() {
    check_model("resnet20", &PATTERNS, Fallback::Dense, F32);
}

#[test]
fn resnet56_unstructured() {
    check_model("resnet56", &PATTERNS[..3], Fallback::Dense, F32);
}

#[test]
fn resnet56_n_of_m() {
    check_model("resnet56", &PATTERNS[3..5], Fallback::Dense, F32);
}

#[test]
fn resnet56_blocks() {
    check_model("resnet56", &PATTERNS[5..], Fallback::Dense, F32);
}

#[test]
fn resnet8() {
    check_model("resnet8", &PATTERNS, Fallback::Dense, F32);
}

#[test]
fn dscnn_kws() {
    check_model("dscnn_kws", &PATTERNS, Fallback::Dense, F32);
}

#[test]
fn vww_96() {
    check_model("vww_96", &PATTERNS, Fallback::Dense, F32);
}

#[test]
fn ad01() {
    check_model("ad01", &PATTERNS, Fallback::Dense, F32);
}

#[test]
fn layers_that_do_not_fit_are_pruned_unstructured_if_asked() {
    check_model("resnet20", &[("2:4", 0.5)], Fallback::Unstructured, F32);
    check_model("dscnn_kws", &[("4x1", 0.7)], Fallback::Unstructured, F32);
    check_model("vww_96", &[("16x1", 0.7)], Fallback::Unstructured, F32);
}

#[test]
fn weights_of_sixteen_bits() {
    let patterns = [("unstructured", 0.8), ("2:4", 0.5), ("4x1", 0.7)];
    for model in ["resnet8", "dscnn_kws", "ad01"] {
        check_model(model, &patterns, Fallback::Dense, &[ValueType::F16, ValueType::Bf16]);
    }
}

/// What the tool is for.
#[test]
fn residual_networks_shrink_as_promised() {
    for (model, pattern, promised) in [
        ("resnet20", "unstructured", Some(7.0)),
        ("resnet20", "4x1", Some(8.5)),
        ("resnet56", "unstructured", None),
        ("resnet56", "4x1", None),
    ] {
        let mut pruned = support::graph(model);
        let options = PruneOptions {
            sparsity: Some(0.9),
            alpha: None,
            pattern: pattern.parse().unwrap(),
            criterion: Criterion::default(),
            scope: Scope::Global,
            fallback: Fallback::Dense,
            bounds: Bounds::default(),
            rules: Vec::new(),
            seed: 0,
        };
        let report = prune(&mut pruned, &options, None).unwrap();
        let dense = emitted(&pruned, &options_of(Some(Family::Dense), ValueType::F32))
            .bytes
            .len();
        let bytes = emitted(&pruned, &options_of(None, ValueType::F32)).bytes.len();
        let ratio = dense as f64 / bytes as f64;
        println!(
            "{model} {pattern} {:.4}: {bytes} of {dense} bytes, 1/{ratio:.2}",
            report.sparsity
        );
        assert!(
            promised.is_none_or(|promised| ratio >= promised),
            "{model} {pattern}: 1/{ratio}"
        );
    }
    assert_eq!(predict::file_len(&[(1, 0)]), 192);
}
