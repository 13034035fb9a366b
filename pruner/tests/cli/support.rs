//! Runs the command in folders of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// The digit classifier that comes with the tool.
pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/model.toml");
/// Its weights.
pub(crate) const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/cnn.safetensors");
/// Another model of the same shapes.
pub(crate) const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/tiny.toml");
/// Its test data.
pub(crate) const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/data.toml");
/// A network with batch norms, residuals and a softmax.
pub(crate) const ONNX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models/resnet8.onnx");

/// What a run of the command gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder in which the command runs.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with the digit classifier, pruned, as `a.sct`.
    pub(crate) fn with_pruned() -> Self {
        let folder = Self::new();
        folder.ok(&["prune", MODEL, "-o", "a.sct", "--sparsity", "0.7"]);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Names of all files, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_secateur"))
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!outcome.stderr.contains("panicked"), "{args:?}: {}", outcome.stderr);
        outcome
    }

    /// Runs what must succeed, and returns what it prints.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
        outcome.stdout
    }

    /// The JSON of a run that must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let stdout = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {stdout}"))
    }

    /// Runs what must fail: the code, a message, nothing on stdout, no file more or less.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let before = self.files();
        let outcome = self.run(args);
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{args:?}");
        assert!(outcome.stderr.contains("error: "), "{args:?}: {}", outcome.stderr);
        assert_eq!(self.files(), before, "{args:?}");
        outcome.stderr
    }
}

/// The keys of an object, in order.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A field that is a number.
pub(crate) fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("{field}: {value}"))
}

/// The bytes of a file.
pub(crate) fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// The digits that it was trained on.
pub(crate) const TRAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/digits.safetensors");

/// A `data.toml` of the first digits.
pub(crate) fn digits(count: usize) -> String {
    format!(
        "file = '{TRAIN}'\ninputs_key = 'images'\nlabels_key = 'labels'\nrows = [0, {count}]\n[preprocess]\n\
         scale = 0.0625\n"
    )
}

/// A folder with `recipe.toml`: two rounds with rewinding, trained on the digits.
pub(crate) fn recipe_folder() -> Folder {
    let folder = Folder::new();
    folder.write("train.toml", digits(256).as_bytes());
    let recipe = format!(
        "model = '{MODEL}'\n[data]\ntrain = 'train.toml'\ntest = '{DATA}'\n[prune]\nsparsity = 0.8\n[schedule]\n\
         kind = 'iterative'\nrounds = 2\nbetween = 'rewind'\nrewind_to = '5it'\n[train]\nepochs = 2\nbatch = 16\n\
         [retrain]\nepochs = 2\nschedule = 'lrw'\n[correct]\nnorms = true\nbiases = true\n"
    );
    folder.write("recipe.toml", recipe.as_bytes());
    folder
}

/// The fields of a layer that every report of layers has.
pub(crate) const LAYER: [&str; 11] = [
    "bytes",
    "cols",
    "dense_bytes",
    "encoding",
    "node",
    "nonzeros",
    "op",
    "reason",
    "rows",
    "sparsity",
    "values",
];
