//! `secateur compare`

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde_json::json;

use super::args::PreprocessArgs;
use super::error::CliError;
use super::model::{Opened, dense_options};
use super::output::{Output, percent, table};
use crate::data;
use crate::engine::Engine;
use crate::eval::{Predictions, predictions};
use crate::recipe::Points;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The model to compare with
    first: PathBuf,
    /// The model that is compared
    second: PathBuf,
    /// A data.toml, or an idx, CIFAR-10 .bin, .npz or .safetensors file
    #[arg(long, value_name = "D")]
    data: PathBuf,
    /// Fail if the second is less accurate by more than this, such as 0.5pp
    #[arg(long, value_name = "POINTS", value_parser = Points::from_str)]
    max_drop: Option<Points>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

pub(super) fn run(args: &CompareArgs, out: &Output) -> Result<(), CliError> {
    let loaded = data::load(&args.data)?;
    let predict = |path: &PathBuf| -> Result<Predictions, CliError> {
        let opened = Opened::new(path, out)?;
        let preprocess = opened.preprocess(args.preprocess.get(), loaded.preprocess.clone())?;
        let runnable = opened.runnable(&dense_options())?;
        let model = runnable.model(path)?;
        Ok(predictions(
            &model,
            &Engine::default(),
            &loaded.dataset,
            &preprocess,
            || (),
        )?)
    };
    let (first, second) = (predict(&args.first)?, predict(&args.second)?);
    let labels = loaded.dataset.labels().unwrap_or_default();
    let pairs = Pairs::of(&first, &second, labels);
    let accuracies = [first, second].map(|found| found.accuracy(labels));
    let [a, b] = &accuracies;
    let (drop, half) = (a.fraction() - b.fraction(), pairs.half_width());
    let within = args.max_drop.map(|most| drop <= most.fraction() + 1e-12);
    let names = loaded.dataset.class_names();
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let classes = (0..a.count.len().min(b.count.len())).filter(|&class| a.count[class] > 0);
    let share = |correct: usize, class: usize| correct as f64 / a.count[class] as f64;
    let json = json!({
        "count": a.total(),
        "accuracy_first": a.fraction(),
        "accuracy_second": b.fraction(),
        "drop": drop,
        "drop_interval": [drop - half, drop + half],
        "flips": pairs.flips,
        "lost": pairs.lost,
        "won": pairs.won,
        "within": within,
        "per_class": classes.clone().map(|class| json!({
            "class": class, "name": name(class), "count": a.count[class],
            "accuracy_first": share(a.correct[class], class), "accuracy_second": share(b.correct[class], class),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || {
        let rows = classes.map(|class| {
            let [first, second] = [a, b].map(|found| percent(share(found.correct[class], class)));
            vec![name(class), a.count[class].to_string(), first, second]
        });
        format!(
            "{}\naccuracy {} and {} of {}: {:.2} points less, 95 % interval {:.2} to {:.2}\n\
             {} predictions differ; {} were right and are wrong, {} the other way round\n",
            table(&["class", "of", "first", "second"], 1, rows),
            percent(a.fraction()),
            percent(b.fraction()),
            a.total(),
            100.0 * drop,
            100.0 * (drop - half),
            100.0 * (drop + half),
            pairs.flips,
            pairs.lost,
            pairs.won,
        )
    })?;
    match (within, args.max_drop) {
        (Some(false), Some(most)) => Err(CliError::check(format!(
            "the second model loses {:.2} points, more than {most}",
            100.0 * drop
        ))),
        _ => Ok(()),
    }
}

/// What two models make of the same samples.
struct Pairs {
    count: usize,
    flips: usize,
    /// Right in the first, wrong in the second.
    lost: usize,
    won: usize,
}

impl Pairs {
    fn of(first: &Predictions, second: &Predictions, labels: &[u32]) -> Self {
        let mut pairs = Self {
            count: labels.len(),
            flips: first.differences(second),
            lost: 0,
            won: 0,
        };
        for ((a, b), &label) in first.classes.iter().zip(&second.classes).zip(labels) {
            let right = [a, b].map(|class| *class == Some(label as usize));
            pairs.lost += usize::from(right == [true, false]);
            pairs.won += usize::from(right == [false, true]);
        }
        pairs
    }

    /// Half of the 95 % interval of the drop, by the variance of paired differences (McNemar).
    fn half_width(&self) -> f64 {
        let count = self.count.max(1) as f64;
        let mean = (self.lost as f64 - self.won as f64) / count;
        let variance = (self.lost + self.won) as f64 / count - mean * mean;
        1.96 * (variance.max(0.0) / count).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_paired_differences() {
        // 30 lost and 10 won of 1000: mean 0.02, variance 0.04 - 0.0004, standard error 0.006293.
        let pairs = Pairs {
            count: 1000,
            flips: 50,
            lost: 30,
            won: 10,
        };
        assert!((pairs.half_width() - 1.96 * 0.006_292_853).abs() < 1e-8);
    }
}
