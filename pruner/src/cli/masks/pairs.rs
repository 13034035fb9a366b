//! How alike several masks are.

use std::path::Path;

use serde_json::{Value, json};

use super::{Kept, Masked, alike};
use crate::chart::{Axes, Series, draw};
use crate::cli::error::CliError;
use crate::cli::output::{Output, percent, table};
use crate::mask::{Overlap, overlap};
use crate::save::{Overwrite, write_file};

/// Two masks.
struct Pair {
    /// The numbers of both.
    of: [usize; 2],
    layers: Vec<Overlap>,
    /// All layers together, after each round that both runs had.
    rounds: Vec<Overlap>,
}

impl Pair {
    fn new(of: [usize; 2], masked: &[Masked]) -> Self {
        let [first, second] = of.map(|index| &masked[index]);
        let rounds = first.rounds.iter().zip(&second.rounds);
        Self {
            of,
            layers: overlaps(&first.kept, &second.kept),
            rounds: rounds.map(|(first, second)| sum(&overlaps(first, second))).collect(),
        }
    }

    /// What tables and charts call it.
    fn name(&self) -> String {
        format!("{}-{}", self.of[0] + 1, self.of[1] + 1)
    }
}

fn overlaps(first: &Kept, second: &Kept) -> Vec<Overlap> {
    let layers = first.iter().zip(second);
    layers
        .map(|(first, second)| overlap(first.iter().copied(), second.iter().copied()))
        .collect()
}

fn sum(layers: &[Overlap]) -> Overlap {
    let mut all = Overlap::default();
    layers.iter().for_each(|&of| all.add(of));
    all
}

pub(super) fn show(masked: &[Masked], svg: Option<&Path>, out: &Output) -> Result<(), CliError> {
    if let Some(other) = masked.iter().find(|other| !alike(&masked[0].layers, &other.layers)) {
        return Err(CliError::usage(format!(
            "{} and {} have other layers: masks can only be compared of the same network",
            masked[0].name, other.name
        )));
    }
    let count = masked.len();
    let all = (0..count).flat_map(|first| (first + 1..count).map(move |second| [first, second]));
    let pairs: Vec<Pair> = all.map(|of| Pair::new(of, masked)).collect();
    if let Some(path) = svg {
        if pairs.iter().all(|pair| pair.rounds.is_empty()) {
            return Err(CliError::usage(
                "--svg draws how alike masks are over rounds: give the folders of two runs of iterative pruning",
            ));
        }
        write_file(path, chart(&pairs).as_bytes(), Overwrite::Replace).map_err(|error| CliError::io(path, &error))?;
    }
    let names: Vec<&str> = masked[0].layers.iter().map(|layer| layer.name.as_str()).collect();
    let json = json!({
        "models": masked.iter().map(|one| json!({ "model": one.name, "sparsity": one.sparsity() })).collect::<Vec<_>>(),
        "pairs": pairs.iter().map(|pair| json!({
            "first": masked[pair.of[0]].name,
            "second": masked[pair.of[1]].name,
            "layers": names.iter().zip(&pair.layers).map(|(name, of)| row(name, of)).collect::<Vec<_>>(),
            "all": row("all", &sum(&pair.layers)),
            "rounds": (1..).zip(&pair.rounds).map(|(round, of)| json!({
                "round": round, "jaccard": of.jaccard(), "chance": of.chance(),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    });
    out.result(&json, || text(masked, &names, &pairs))?;
    Ok(())
}

fn row(name: &str, of: &Overlap) -> Value {
    json!({
        "name": name, "weights": of.weights, "kept_first": of.first, "kept_second": of.second,
        "kept_both": of.both, "jaccard": of.jaccard(), "chance": of.chance(),
    })
}

/// A column for each pair.
fn text(masked: &[Masked], names: &[&str], pairs: &[Pair]) -> String {
    let cell = |of: &Overlap| format!("{:.4} ({:.4})", of.jaccard(), of.chance());
    let columns: Vec<String> = pairs.iter().map(Pair::name).collect();
    let tabled = |first: &str, rows: Vec<(String, Vec<String>)>| {
        let header: Vec<&str> = std::iter::once(first)
            .chain(columns.iter().map(String::as_str))
            .collect();
        table(
            &header,
            1,
            rows.into_iter().map(|(name, cells)| [vec![name], cells].concat()),
        )
    };
    let layer = |index: usize| pairs.iter().map(|pair| cell(&pair.layers[index])).collect();
    let mut rows: Vec<_> = (0..names.len())
        .map(|index| (names[index].to_owned(), layer(index)))
        .collect();
    rows.push((
        "all".into(),
        pairs.iter().map(|pair| cell(&sum(&pair.layers))).collect(),
    ));
    let models = (1..).zip(masked).map(|(number, one)| {
        let zeros = percent(one.sparsity());
        vec![number.to_string(), one.name.clone(), zeros]
    });
    let mut text = format!(
        "{}\nJaccard similarity of what stays (by chance)\n{}",
        table(&["", "model", "zeros"], 2, models),
        tabled("layer", rows)
    );
    let rounds = pairs.iter().map(|pair| pair.rounds.len()).max().unwrap_or(0);
    if rounds > 0 {
        let of = |round: usize| {
            let overlaps = pairs.iter().map(|pair| pair.rounds.get(round));
            overlaps.map(|of| of.map_or_else(String::new, cell)).collect()
        };
        let rows = (0..rounds).map(|round| ((round + 1).to_string(), of(round)));
        text += &format!("\nall layers, after each round\n{}", tabled("round", rows.collect()));
    }
    text
}

/// Two lines for each pair: similarity, and what it would be by chance.
fn chart(pairs: &[Pair]) -> String {
    let line = |pair: &Pair, name: String, value: fn(&Overlap) -> f64| Series {
        name,
        points: (1..)
            .zip(&pair.rounds)
            .map(|(round, of)| (f64::from(round), value(of)))
            .collect(),
        marked: Vec::new(),
    };
    let series = pairs.iter().filter(|pair| !pair.rounds.is_empty()).flat_map(|pair| {
        [
            line(pair, pair.name(), Overlap::jaccard),
            line(pair, format!("{} by chance", pair.name()), Overlap::chance),
        ]
    });
    let axes = Axes {
        title: "Similarity of masks",
        x: "round",
        y: "Jaccard",
        log_x: false,
    };
    draw(axes, &series.collect::<Vec<_>>())
}
