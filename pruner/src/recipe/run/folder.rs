//! The folder of a run.
//!
//! | file | content |
//! |---|---|
//! | `recipe.toml` | the recipe, nothing left out |
//! | `environment.json` | version, machine and what its CPU can run, threads |
//! | `inputs.json` | digests of model, data and teacher |
//! | `initial.toml`, `initial.safetensors` | the model before anything |
//! | `checkpoints/NNNN.safetensors` | the state in phase NNNN; others: `dense`, `rewind`, `best` |
//! | `masks/round-NNNN.safetensors` | the masks of a round of iterative pruning |
//! | `metrics.jsonl` | one line per epoch, pruning and trial |
//! | `log.txt` | what was shown, with the time |
//! | `model.toml`, `model.safetensors`, `masks.safetensors`, `dense.sct`, `model.sct`, `report.json` | the result |

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secateur_format::graph::Graph;
use secateur_runtime::prepared::cpu_name;
use serde_json::{Value, json};

use super::{RunError, masks};
use crate::digest::{DigestError, Digests};
use crate::engine::instruction_sets;
use crate::prune::Masks;
use crate::recipe::{Layer, Recipe, difference, parse};
use crate::save::{Overwrite, write_file};
use crate::source::{self, Model};
use crate::train::{CheckpointError, State};

const RECIPE: &str = "recipe.toml";
const INPUTS: &str = "inputs.json";
const METRICS: &str = "metrics.jsonl";
/// Which weights of the result stay.
pub(super) const MASKS: &str = "masks.safetensors";
/// The state after the training before pruning.
pub(super) const DENSE: &str = "dense";
/// The state that rewinding goes back to.
pub(super) const REWIND: &str = "rewind";

/// The folder, and the lines of its metrics.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    pub(super) metrics: Vec<Value>,
}

impl Folder {
    /// Begins a run; returns the model as the folder holds it, which is how every continuation will see it.
    ///
    /// # Errors
    /// A [`RunError`].
    pub fn create(path: &Path, recipe: &Recipe, model: &Model) -> Result<(Self, Model), RunError> {
        if path.join(RECIPE).exists() {
            return Err(RunError::Exists { path: path.into() });
        }
        let checkpoints = path.join("checkpoints");
        fs::create_dir_all(&checkpoints).map_err(|error| io_error(&checkpoints, "write", error))?;
        let folder = Self {
            path: path.into(),
            metrics: Vec::new(),
        };
        folder.write_model("initial", model)?;
        let environment = json!({
            "secateur": env!("CARGO_PKG_VERSION"),
            "os": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "cpu": cpu_name(),
            "instruction_sets": instruction_sets(),
            "threads": rayon::current_num_threads(),
        });
        folder.write("environment.json", format!("{environment:#}\n").as_bytes())?;
        let text = toml::to_string_pretty(recipe).map_err(|error| io_error(path, "write", io::Error::other(error)))?;
        // Last: a folder with a recipe is a run.
        folder.write(RECIPE, text.as_bytes())?;
        let model = folder.initial()?;
        Ok((folder, model))
    }

    /// Opens a run to continue it; `asked`, if given, must be its recipe.
    ///
    /// # Errors
    /// A [`RunError`].
    pub fn open(path: &Path, asked: Option<&Recipe>) -> Result<(Self, Recipe, Model), RunError> {
        let file = path.join(RECIPE);
        let text = fs::read_to_string(&file).map_err(|error| io_error(&file, "read", error))?;
        let recipe = parse(&[Layer::file(file.display().to_string(), text)])?;
        if let Some(asked) = asked {
            let changes = difference(&recipe, asked);
            if !changes.is_empty() {
                let lines = changes
                    .iter()
                    .map(|(key, was, is)| format!("\n  {key}: {was} there, {is} now"));
                return Err(RunError::Changed {
                    path: path.into(),
                    changes: lines.collect(),
                });
            }
        }
        let metrics = fs::read_to_string(path.join(METRICS)).unwrap_or_default();
        let folder = Self {
            path: path.into(),
            metrics: metrics
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
        };
        let model = folder.initial()?;
        Ok((folder, recipe, model))
    }

    /// Takes over the network that another run has trained, and says whether it has one, of the same inputs; the
    /// recipes must train the same ([`Recipe::trains_as`]).
    ///
    /// # Errors
    /// A [`RunError`].
    pub fn take_training(&mut self, from: &Path, digests: &Digests) -> Result<bool, RunError> {
        let graph = self.initial()?.graph;
        let other = Self::open(from, None)?.0;
        if !other.has(DENSE) || other.keep_inputs(digests).is_err() {
            return Ok(false);
        }
        if other.has(REWIND) {
            self.save(REWIND, &other.load(REWIND, &graph)?)?;
        }
        self.metrics.clone_from(&other.metrics);
        self.metrics.retain(|line| line["phase"] == 0);
        self.write_metrics()?;
        // Last: who has it does not train.
        self.save(DENSE, &other.load(DENSE, &graph)?)?;
        Ok(true)
    }

    /// Whether the run of a folder has done its training before pruning.
    pub fn has_trained(path: &Path) -> bool {
        checkpoint(path, DENSE).exists()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.checkpoint(name).exists()
    }

    /// Keeps what the run reads besides its folder, or finds that it is not what it was.
    ///
    /// # Errors
    /// A [`DigestError`].
    pub fn keep_inputs(&self, digests: &Digests) -> Result<(), DigestError> {
        digests.keep(&self.file(INPUTS))
    }

    fn initial(&self) -> Result<Model, RunError> {
        Ok(source::load(&self.path.join("initial.toml"))?)
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn checkpoint(&self, name: &str) -> PathBuf {
        checkpoint(&self.path, name)
    }

    pub(super) fn save(&self, name: &str, state: &State) -> Result<(), CheckpointError> {
        state.save(&self.checkpoint(name))
    }

    pub(super) fn load(&self, name: &str, graph: &Graph) -> Result<State, CheckpointError> {
        State::load(&self.checkpoint(name), graph.clone())
    }

    /// Saves the state of a phase, then drops that of the phase before.
    pub(super) fn save_phase(&self, phase: usize, state: &State) -> Result<(), CheckpointError> {
        self.save(&phase_name(phase), state)?;
        if let Some(before) = phase.checked_sub(1) {
            let _ = fs::remove_file(self.checkpoint(&phase_name(before)));
        }
        Ok(())
    }

    /// The last phase that has a state.
    pub(super) fn last_phase(&self) -> Result<Option<usize>, RunError> {
        let path = self.path.join("checkpoints");
        let entries = fs::read_dir(&path).map_err(|error| io_error(&path, "read", error))?;
        let number = |name: &str| name.strip_suffix(".safetensors")?.parse::<usize>().ok();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| number(&name)).max())
    }

    /// The state of a phase, if it has one.
    pub(super) fn phase(&self, phase: usize, graph: &Graph) -> Result<Option<State>, CheckpointError> {
        let name = phase_name(phase);
        self.has(&name).then(|| self.load(&name, graph)).transpose()
    }

    /// Keeps the masks of a round.
    pub(super) fn keep_round(&self, round: u32, state: &State) -> Result<(), CheckpointError> {
        let path = self.path.join("masks");
        fs::create_dir_all(&path).map_err(|error| io_error(&path, "write", error))?;
        self.write(&round_name(round), &masks::to_bytes(state)?)
    }

    /// The masks of the rounds that are done, the first round first, for a graph whose layers are those of the run.
    ///
    /// # Errors
    /// A [`CheckpointError`].
    pub fn rounds(&self, graph: &Graph) -> Result<Vec<Masks>, CheckpointError> {
        let files = (1..).map(|round| self.file(&round_name(round)));
        let files = files.take_while(|file| file.exists());
        files.map(|file| masks::read(&file, graph)).collect()
    }

    /// The masks of the result.
    ///
    /// # Errors
    /// A [`CheckpointError`].
    pub fn masks(&self, graph: &Graph) -> Result<Masks, CheckpointError> {
        masks::read(&self.file(MASKS), graph)
    }

    /// Adds a line to the metrics.
    pub(super) fn record(&mut self, line: Value) -> Result<(), CheckpointError> {
        self.metrics.push(line);
        self.write_metrics()
    }

    pub(super) fn write_metrics(&self) -> Result<(), CheckpointError> {
        let lines: String = self.metrics.iter().map(|line| format!("{line}\n")).collect();
        self.write(METRICS, lines.as_bytes())
    }

    /// Adds a line to the log. It is not worth an error.
    pub(super) fn log(&self, line: &str) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.map_or(0, |now| now.as_secs());
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("log.txt"));
        let _ = file.and_then(|mut file| writeln!(file, "{seconds} {line}"));
    }

    /// Writes a model's description and weights.
    pub(super) fn write_model(&self, stem: &str, model: &Model) -> Result<(), CheckpointError> {
        let weights = format!("{stem}.safetensors");
        let written = source::write(model, &weights)
            .map_err(|error| io_error(&self.file(&weights), "write", io::Error::other(error)))?;
        self.write(&weights, &written.weights)?;
        self.write(&format!("{stem}.toml"), written.text.as_bytes())
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        let path = self.file(name);
        write_file(&path, bytes, Overwrite::Replace).map_err(|error| io_error(&path, "write", error))
    }
}

fn checkpoint(path: &Path, name: &str) -> PathBuf {
    path.join("checkpoints").join(format!("{name}.safetensors"))
}

fn phase_name(phase: usize) -> String {
    format!("{phase:04}")
}

fn round_name(round: u32) -> String {
    format!("masks/round-{round:04}.safetensors")
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.into(),
        action,
        source,
    }
}
