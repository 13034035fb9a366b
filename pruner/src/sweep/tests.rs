use super::*;
use crate::recipe::run::{Report, Variant};

const TEXT: &str = r#"
recipe = "lottery"
seeds = [1, 2]
sparsities = [0.9, 0.95]
[[method]]
name = "magnitude"
[[method]]
name = "2:4"
sparsities = []
set.prune.pattern = "2:4"
set.prune.criterion = "l2"
[[check]]
claim = "magnitude loses little"
better = "magnitude"
than = "dense"
within = "1pp"
[[check]]
claim = "magnitude beats 2:4"
better = "magnitude"
than = "2:4"
standard_errors = 2
"#;

fn outcome(cell: &Cell, accuracy: f64, bytes: usize) -> Outcome {
    let variant = |accuracy, bytes| Variant {
        accuracy: Some(accuracy),
        count: vec![100],
        correct: vec![90],
        bytes,
        macs: bytes as u64,
        median_us: 1.0,
    };
    Outcome {
        method: cell.method.clone(),
        sparsity: cell.sparsity,
        seed: cell.seed,
        seconds: Some(1.0),
        report: Report {
            dense: variant(0.9, 1000),
            sparse: variant(accuracy, bytes),
            sparsity: 0.9,
            collapsed: Vec::new(),
            structured: None,
            prediction_differences: Some(0),
            class_names: Vec::new(),
        },
    }
}

#[test]
fn a_grid_is_methods_by_sparsities_by_seeds() {
    let sweep = Sweep::parse("s.toml", TEXT).unwrap();
    let folders: Vec<String> = sweep
        .cells()
        .iter()
        .map(|cell| cell.folder().display().to_string())
        .collect();
    let wanted = [
        "runs/magnitude/0.9-seed1",
        "runs/magnitude/0.95-seed1",
        "runs/2:4/seed1",
        "runs/magnitude/0.9-seed2",
        "runs/magnitude/0.95-seed2",
        "runs/2:4/seed2",
    ];
    assert_eq!(folders, wanted);
    let cell = &sweep.cells()[2];
    let mut layers = vec![Layer::file("base", "prune.sparsity = 0.5\n[train]\nepochs = 1")];
    assert_eq!(sweep.base(cell), Some("lottery"));
    layers = sweep
        .settings(&sweep.cells()[1])
        .into_iter()
        .fold(layers, |mut all, one| {
            all.push(one);
            all
        });
    let recipe = crate::recipe::parse(&layers).unwrap();
    assert_eq!((recipe.prune.sparsity, recipe.seed), (Some(0.95), 1));
    let recipe = crate::recipe::parse(&sweep.settings(cell)).unwrap();
    assert_eq!(recipe.prune.pattern.to_string(), "2:4");
}

#[test]
fn what_is_wrong_is_named() {
    let wrong = |text: &str| Sweep::parse("s.toml", text).unwrap_err().to_string();
    assert!(wrong("seed = [1]\n[[method]]\nname = \"a\"").contains("line 1"));
    assert!(wrong("[[method]]\nname = \"a/b\"").contains("folders"));
    assert!(wrong("[[method]]\nname = \"a\"\n[[method]]\nname = \"a\"").contains("taken"));
    assert!(wrong("sparsities = [1.5]\n[[method]]\nname = \"a\"").contains("1.5"));
    assert!(wrong("seeds = [1, 1]\n[[method]]\nname = \"a\"").contains("twice"));
    assert!(wrong("sparsities = [0.9, 0.90]\n[[method]]\nname = \"a\"").contains("twice"));
    let check =
        "[[method]]\nname = \"a\"\n[[check]]\nclaim = \"c\"\nbetter = \"a\"\nthan = \"dense\"\nstandard_errors = 2";
    assert!(wrong(check).contains("two seeds"));
    let near = wrong("[[method]]\nname = \"wanda\"\n[[check]]\nclaim = \"c\"\nbetter = \"wonda\"\nthan = \"dense\"");
    assert!(near.contains("wanda"), "{near}");
}

#[test]
fn results_are_kept_replaced_and_averaged() {
    let sweep = Sweep::parse("s.toml", TEXT).unwrap();
    let cells = sweep.cells();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    let mut results = Results::open(&path).unwrap();
    for (index, cell) in cells.iter().enumerate() {
        results.add(outcome(cell, 0.5, 10)).unwrap();
        results.add(outcome(cell, 0.8 + index as f64 / 100.0, 100)).unwrap();
    }
    let results = Results::open(&path).unwrap();
    let rows = results.rows(&cells, |_| true);
    let names: Vec<_> = rows.iter().map(|row| (row.method.as_str(), row.sparsity)).collect();
    let wanted = [
        ("dense", None),
        ("magnitude", Some(0.9)),
        ("magnitude", Some(0.95)),
        ("2:4", None),
    ];
    assert_eq!(names, wanted);
    // Runs of one seed share a dense network; those that train none before pruning have none of interest.
    let dense = |trained: fn(&Cell) -> bool| results.rows(&cells, trained)[0].accuracy.unwrap().count;
    assert_eq!(dense(|_| true), 2);
    assert_eq!(dense(|cell| cell.seed == 1), 1);
    assert_eq!(dense(|_| false), 2);
    // 0.80 and 0.83: mean 0.815, deviation 0.03 / sqrt 2.
    let spread = rows[1].accuracy.unwrap();
    assert!((spread.mean - 0.815).abs() < 1e-12 && (spread.deviation - 0.021_213_203).abs() < 1e-9);
    assert!((spread.error() - 0.015).abs() < 1e-9);

    let verdicts: Vec<Verdict> = sweep.checks().iter().flat_map(|check| check.verdicts(&rows)).collect();
    // 0.815 and 0.825 against 0.9; then against 0.835, with errors of 0.015 each.
    let found: Vec<(Option<f64>, bool)> = verdicts.iter().map(|v| (v.sparsity, v.holds)).collect();
    assert_eq!(
        found,
        [
            (Some(0.9), false),
            (Some(0.95), false),
            (Some(0.9), false),
            (Some(0.95), false)
        ]
    );
    assert!((verdicts[2].wanted - 2.0 * 0.015 * 2f64.sqrt()).abs() < 1e-9);
}

#[test]
fn a_check_that_finds_nothing_does_not_hold() {
    let text = TEXT.replace("within = \"1pp\"", "within = \"100pp\"\nsparsities = [0.96]");
    let sweep = Sweep::parse("s.toml", &text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut results = Results::open(&folder.path().join("results.jsonl")).unwrap();
    let cells = sweep.cells();
    cells
        .iter()
        .for_each(|cell| results.add(outcome(cell, 0.8, 10)).unwrap());
    let verdicts = sweep.checks()[0].verdicts(&results.rows(&cells, |_| true));
    assert!(matches!(
        verdicts.as_slice(),
        [Verdict {
            holds: false,
            difference: None,
            ..
        }]
    ));
}

#[test]
fn the_front_is_what_nothing_beats() {
    let sweep = Sweep::parse("s.toml", TEXT).unwrap();
    let cells = sweep.cells();
    let folder = tempfile::tempdir().unwrap();
    let mut results = Results::open(&folder.path().join("results.jsonl")).unwrap();
    for (cell, (accuracy, bytes)) in cells.iter().zip([(0.8, 100), (0.7, 200), (0.6, 50)]) {
        results.add(outcome(cell, accuracy, bytes)).unwrap();
    }
    // The dense network is the most accurate, 0.7 at 200 bytes is beaten by 0.8 at 100.
    assert_eq!(
        front(&results.rows(&cells, |_| true), Cost::Bytes),
        [true, true, false, true]
    );
}
