//! `docs/cli.md` and `--help` say the same.

use std::collections::BTreeSet;

use secateur::save::Overwrite;
use serde_json::Value;

use crate::support::{DATA, Folder, MODEL, bytes};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
const COMMANDS: [&str; 18] = [
    "inspect",
    "prune",
    "train",
    "convert",
    "run",
    "eval",
    "verify",
    "explain",
    "bench",
    "kernels",
    "demo",
    "recipe",
    "masks",
    "compare",
    "sensitivity",
    "difficulty",
    "dimension",
    "impact",
];

fn document() -> String {
    String::from_utf8(bytes(DOCUMENT)).unwrap()
}

/// The part of the document under a heading of the second level.
fn section<'d>(document: &'d str, title: &str) -> &'d str {
    let heading = format!("\n## {title}\n");
    let start = document.find(&heading).unwrap_or_else(|| panic!("no section {title}")) + heading.len();
    let rest = &document[start..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// Everything of the form `--flag`.
fn flags(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    text.match_indices("--")
        .filter(|&(at, _)| !text[..at].ends_with(|c: char| is_part(c) || c == '|'))
        .map(|(at, _)| {
            let rest = &text[at..];
            rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].to_owned()
        })
        .filter(|flag| flag.len() > 2 && !flag.ends_with('-'))
        .collect()
}

/// Flags of every command, told once.
fn common() -> BTreeSet<String> {
    ["--json", "--quiet", "--help", "--version"].map(str::to_owned).into()
}

#[test]
fn every_flag_is_documented_and_every_documented_flag_exists() {
    let (folder, document) = (Folder::new(), document());
    for command in COMMANDS {
        let help = flags(&folder.ok(&[command, "--help"]));
        let options = format!("{}\n{}", section(&document, command), shared(&document, command));
        let told = flags(&options);
        let missing: Vec<_> = help
            .difference(&told)
            .filter(|flag| !common().contains(*flag))
            .collect();
        assert!(missing.is_empty(), "{command}: {missing:?} are not in docs/cli.md");
        let invented: Vec<_> = told
            .difference(&help)
            .filter(|flag| !common().contains(*flag))
            .collect();
        assert!(invented.is_empty(), "{command}: {invented:?} do not exist");
    }
    let all = folder.ok(&["--help"]);
    assert!(flags(&all).is_subset(&common()));
    assert!(COMMANDS.iter().all(|command| all.contains(&format!("\n  {command} "))));
}

/// The flags that commands share are told once.
fn shared(document: &str, command: &str) -> String {
    let mut text = String::new();
    if ["prune", "convert"].contains(&command) {
        text += section(document, "Writing files");
    }
    if [
        "prune",
        "train",
        "convert",
        "eval",
        "compare",
        "sensitivity",
        "difficulty",
        "dimension",
        "impact",
    ]
    .contains(&command)
    {
        text += section(document, "Preprocessing");
    }
    if command == "bench" {
        text += section(document, "How models run");
    }
    text
}

fn collect_keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                collect_keys(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, into)),
        _ => {}
    }
}

#[test]
fn every_json_field_is_documented() {
    let (folder, document) = (Folder::new(), document());
    let x = secateur::data::npy::write_f32(&folder.path("x.npy"), &[1, 8, 8], &[0.0; 64], Overwrite::Keep);
    x.unwrap();
    let runs: [&[&str]; 13] = [
        &[
            "train",
            MODEL,
            "--data",
            DATA,
            "--test",
            DATA,
            "--out",
            "t",
            "--epochs",
            "1",
            "--profile",
        ],
        &[
            "prune",
            MODEL,
            "-o",
            "p.sct",
            "--sparsity",
            "0.5",
            "--structured",
            "0.5",
            "--data",
            DATA,
        ],
        &["convert", MODEL, "-o", "c.sct"],
        &["inspect", "c.sct"],
        &["run", "c.sct", "--input", "x.npy", "-o", "y.npy"],
        &["eval", "c.sct", "--data", DATA],
        &["verify", "c.sct", "--against", MODEL],
        &["explain", "c.sct"],
        &[
            "bench",
            "c.sct",
            "--runs",
            "1",
            "--seconds",
            "0",
            "--assert",
            "speedup>0",
        ],
        &["kernels"],
        &["difficulty", MODEL, "--data", DATA, "-o", "s.npy", "--runs", "1"],
        &["dimension", "c.sct", "--data", DATA, "--samples", "50"],
        &["impact", "c.sct", "c.sct", "--data", DATA, "--samples", "10"],
    ];
    for run in runs {
        let mut found = BTreeSet::new();
        collect_keys(&folder.json(run), &mut found);
        let text = match run[0] {
            "prune" | "explain" => format!("{}{}", section(&document, run[0]), section(&document, "convert")),
            command => section(&document, command).to_owned(),
        };
        let missing: Vec<_> = found.iter().filter(|key| !text.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "{}: {missing:?} are not in docs/cli.md", run[0]);
    }
}

#[test]
fn exit_codes_are_documented() {
    let document = document();
    let codes = section(&document, "Exit codes");
    for code in 0..=4 {
        assert!(codes.contains(&format!("| {code} |")), "{code}");
    }
}
