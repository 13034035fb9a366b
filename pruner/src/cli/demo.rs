//! `secateur demo`: the whole way, with nothing but what the tool carries.

use std::path::Path;
use std::time::Duration;

use secateur_format::encoding::ValueType;
use secateur_runtime::{ArenaBuf, Model};
use serde_json::json;

use super::args::DemoArgs;
use super::convert::{check_output, save};
use super::error::CliError;
use super::eval::evaluate;
use super::model::read;
use super::output::{Output, percent, table, thousands};
use crate::bench::{BenchOptions, measure};
use crate::criterion::Criterion;
use crate::data::{self, Loaded};
use crate::emit::{EmitOptions, Emitted, EncodingChoice, Family, emit};
use crate::engine::Engine;
use crate::mask::{Bounds, Pattern, Scope};
use crate::prune::{Fallback, PruneOptions, prune};
use crate::source::{self, Model as Source};

/// The files of `assets/digits`.
const ASSETS: [(&str, &[u8]); 4] = [
    ("cnn.safetensors", include_bytes!("../../assets/digits/cnn.safetensors")),
    ("model.toml", include_bytes!("../../assets/digits/model.toml")),
    (
        "digits.safetensors",
        include_bytes!("../../assets/digits/digits.safetensors"),
    ),
    ("data.toml", include_bytes!("../../assets/digits/data.toml")),
];

/// A line of the table: pattern, sparsity, value type. The first is the baseline.
const VARIANTS: [(Pattern, f64, ValueType); 7] = [
    (Pattern::Unstructured, 0.0, ValueType::F32),
    (Pattern::Unstructured, 0.5, ValueType::F32),
    (Pattern::Unstructured, 0.7, ValueType::F32),
    (Pattern::Unstructured, 0.8, ValueType::F32),
    (Pattern::Nm { n: 2, m: 4 }, 0.5, ValueType::F32),
    (Pattern::Block { r: 4, c: 1 }, 0.6, ValueType::F32),
    (Pattern::Unstructured, 0.7, ValueType::F16),
];

/// The variant that is written to disk.
const WRITTEN: usize = 2;

pub(super) fn run(args: &DemoArgs, out: &Output) -> Result<(), CliError> {
    if let Some(path) = &args.output {
        check_output(path, false)?;
    }
    let folder = tempfile::tempdir().map_err(|e| CliError::io(&std::env::temp_dir(), &e))?;
    for (name, bytes) in ASSETS {
        let path = folder.path().join(name);
        save(&path, false, bytes)?;
    }
    let source = source::load(&folder.path().join("model.toml"))?;
    let data = data::load(&folder.path().join("data.toml"))?;
    let emitted: Vec<Emitted> = VARIANTS
        .iter()
        .map(|&(pattern, sparsity, values)| make(&source, pattern, sparsity, values))
        .collect::<Result<_, _>>()?;
    let temporary = folder.path().join("digits.sct");
    let path = args.output.as_deref().unwrap_or(&temporary);
    report(&source, &data, &emitted, path, args.output.is_some(), out)
}

fn make(source: &Source, pattern: Pattern, sparsity: f64, values: ValueType) -> Result<Emitted, CliError> {
    let mut graph = source.graph.clone();
    let mut options = EmitOptions {
        values,
        ..EmitOptions::default()
    };
    if sparsity > 0.0 {
        let options = PruneOptions {
            sparsity: Some(sparsity),
            alpha: None,
            pattern,
            criterion: Criterion::default(),
            scope: Scope::Global,
            fallback: Fallback::Dense,
            bounds: Bounds::default(),
            rules: Vec::new(),
            seed: 0,
        };
        prune(&mut graph, &options, None)?;
    } else {
        options.encoding = EncodingChoice::Only(Family::Dense);
    }
    Ok(emit(&graph, &options)?)
}

fn report(
    source: &Source,
    data: &Loaded,
    emitted: &[Emitted],
    path: &Path,
    kept: bool,
    out: &Output,
) -> Result<(), CliError> {
    let preprocess = data
        .preprocess
        .clone()
        .or_else(|| source.preprocess.clone())
        .unwrap_or_default();
    let bytes: Vec<ArenaBuf> = emitted.iter().map(|e| ArenaBuf::copy_of(&e.bytes)).collect();
    let models = bytes
        .iter()
        .map(|bytes| read(bytes.as_ref(), path))
        .collect::<Result<Vec<Model<'_>>, _>>()?;
    let engine = Engine::default();
    let accuracies = models
        .iter()
        .map(|model| evaluate(model, &engine, &data.dataset, &preprocess, "eval", out))
        .collect::<Result<Vec<_>, _>>()?;
    let options = BenchOptions {
        runs: 200,
        time: Duration::from_secs(1),
        batch: 1,
    };
    let references: Vec<&Model<'_>> = models.iter().collect();
    let times = measure(&references, &engine, &options).map_err(|e| CliError::unreadable(path, e))?;

    let rows: Vec<_> = VARIANTS
        .iter()
        .zip(emitted)
        .zip(accuracies.iter().zip(&times))
        .map(|((&(pattern, asked, values), emitted), (accuracy, time))| {
            let nonzeros: u64 = emitted.choices.iter().map(|c| c.nonzeros).sum();
            let weights: u64 = emitted.choices.iter().map(|c| c.weights()).sum();
            let name = if asked == 0.0 {
                "dense".to_owned()
            } else {
                pattern.to_string()
            };
            let sparsity = 1.0 - nonzeros as f64 / weights.max(1) as f64;
            (
                format!("{name} {values}"),
                sparsity,
                emitted,
                accuracy,
                time.total.median_us,
            )
        })
        .collect();
    // Last, so that nothing is left behind by what fails before.
    save(path, false, &emitted[WRITTEN].bytes)?;
    let (dense_bytes, dense_us) = (rows[0].2.bytes.len() as f64, rows[0].4);
    let json = json!({
        "output": kept.then_some(path),
        "samples": data.dataset.len(),
        "variants": rows.iter().map(|(name, sparsity, emitted, accuracy, us)| json!({
            "name": name, "sparsity": sparsity, "accuracy": accuracy.fraction(),
            "bytes": emitted.bytes.len(), "arena_bytes": emitted.arena_bytes,
            "median_us": us, "speedup": dense_us / us,
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let cells = rows.iter().map(|(name, sparsity, emitted, accuracy, us)| {
            let bytes = emitted.bytes.len();
            vec![
                name.clone(),
                percent(*sparsity),
                percent(accuracy.fraction()),
                thousands(bytes as u64),
                format!("1/{:.2}", dense_bytes / bytes as f64),
                thousands(emitted.arena_bytes),
                format!("{us:.1}"),
                format!("{:.2}", dense_us / us),
            ]
        });
        let header = [
            "weights",
            "zeros",
            "accuracy",
            "file bytes",
            "of dense",
            "arena bytes",
            "median us",
            "speedup",
        ];
        let file = match kept {
            true => format!("`{}` at {} zeros is in {}", rows[WRITTEN].0, percent(rows[WRITTEN].1), path.display()),
            false => "keep one of the files with -o FILE.sct".to_owned(),
        };
        let (name, samples, table) = (&source.name, data.dataset.len(), table(&header, 1, cells));
        format!(
            "{name}: handwritten digits, 8x8, {samples} test images that the network has not seen\n\
             one-shot magnitude pruning without retraining: what is lost in accuracy is shown, not repaired\n\n{table}\n\
             every file was read back, run with every list of kernels and compared with the dense reference;\n{file}\n"
        )
    })?;
    Ok(())
}
