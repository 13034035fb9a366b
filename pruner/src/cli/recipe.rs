//! `secateur recipe`, and how flags become a recipe.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Output, table};
use crate::criterion::{self, METHODS, Needs};
use crate::dynamic;
use crate::recipe::{Layer, PRESETS, Recipe, parse, preset, schema};
use crate::reconstruct;
use crate::registry::{Entry, Setting};
use crate::source::nearest::suggestion;

#[derive(Debug, Args)]
pub(super) struct RecipeArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the presets, the criteria, and the methods that prune while a network trains
    List,
    /// Print a preset, or a recipe with nothing left out
    Show {
        /// A preset's name, or a file
        recipe: String,
    },
    /// Check a recipe
    Check {
        /// A preset's name, or a file
        recipe: String,
    },
    /// Print the JSON Schema of recipes
    Schema,
}

pub(super) fn run(args: &RecipeArgs, out: &Output) -> Result<(), CliError> {
    match &args.action {
        Action::List => {
            let presets: Vec<_> = PRESETS
                .iter()
                .map(|preset| json!({ "name": preset.name, "purpose": preset.purpose() }))
                .collect();
            let criteria: Vec<_> = METHODS.iter().map(criterion_json).collect();
            let methods: Vec<_> = dynamic::METHODS.iter().map(dynamic_json).collect();
            let reconstructions: Vec<_> = reconstruct::METHODS.iter().map(reconstruction_json).collect();
            out.result(
                &json!({
                    "presets": presets, "criteria": criteria, "dynamic": methods, "reconstructions": reconstructions,
                }),
                || {
                    let rows = PRESETS
                        .iter()
                        .map(|preset| vec![preset.name.to_owned(), preset.purpose().to_owned()]);
                    let presets = table(&["preset", "what it does"], 2, rows);
                    [presets, criteria_text(), dynamic_text(), reconstructions_text()].join("\n")
                },
            )?;
        }
        Action::Show { recipe } => {
            let layer = layer(recipe)?;
            let recipe = parse(std::slice::from_ref(&layer))?;
            let text = toml::to_string_pretty(&recipe).map_err(CliError::check)?;
            out.result(&json!(recipe), || text)?;
        }
        Action::Check { recipe } => {
            parse(&[layer(recipe)?])?;
            out.result(&json!({ "recipe": recipe, "valid": true }), || {
                format!("{recipe}: every key and value is right\n")
            })?;
        }
        Action::Schema => {
            let schema = schema();
            let text = serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n";
            out.result(&schema, || text)?;
        }
    }
    Ok(())
}

fn criterion_json(method: &criterion::Method) -> Value {
    json!({
        "name": method.name, "aliases": method.aliases, "needs": method.needs, "unit": method.unit.text(),
        "summary": method.summary, "source": method.source, "settings": settings_json(method.settings),
    })
}

fn dynamic_json(method: &dynamic::Method) -> Value {
    let scopes: Vec<_> = method.scopes.iter().map(|scope| scope.name()).collect();
    json!({
        "name": method.name, "patterns": method.patterns.text(), "scopes": scopes, "summary": method.summary,
        "source": method.source, "settings": settings_json(method.settings),
    })
}

fn reconstruction_json(method: &reconstruct::Method) -> Value {
    json!({
        "name": method.name, "needs": needs(method).text(), "summary": method.summary, "source": method.source,
    })
}

/// What a reconstruction looks at.
fn needs(method: &reconstruct::Method) -> Needs {
    match method.needs_labels() {
        true => Needs::Labels,
        false => Needs::Inputs,
    }
}

fn settings_json(settings: &[Setting]) -> Vec<Value> {
    let settings = settings.iter().map(|setting| {
        let default = toml::Value::from(setting.default());
        json!({ "name": setting.name, "default": default, "help": setting.help, "ours": setting.ours })
    });
    settings.collect()
}

/// A table of criteria, and one of their settings.
fn criteria_text() -> String {
    let rows = METHODS.iter().map(|method| {
        let cells = [
            method.name,
            method.needs.text(),
            method.summary,
            method.unit.text(),
            method.source,
        ];
        cells.map(str::to_owned).to_vec()
    });
    let columns = [
        "criterion",
        "needs",
        "score of a weight; the lowest go first",
        "of a block, kernel or channel",
        "source",
    ];
    table(&columns, 5, rows) + "\n" + &settings_text(METHODS)
}

/// A table of the methods that prune while a network trains, and one of their settings.
fn dynamic_text() -> String {
    let rows = dynamic::METHODS.iter().map(|method| {
        let scopes: Vec<_> = method.scopes.iter().map(|scope| scope.name()).collect();
        let scopes = scopes.join(", ");
        let cells = [
            method.name,
            method.patterns.text(),
            &scopes,
            method.summary,
            method.source,
        ];
        cells.map(str::to_owned).to_vec()
    });
    let columns = ["while training", "patterns", "scopes", "what it does", "source"];
    table(&columns, 5, rows) + "\n" + &settings_text(dynamic::METHODS)
}

/// A table of the methods that change the weights that stay.
fn reconstructions_text() -> String {
    let rows = reconstruct::METHODS.iter().map(|method| {
        let cells = [method.name, needs(method).text(), method.summary, method.source];
        cells.map(str::to_owned).to_vec()
    });
    table(&["reconstruct", "needs", "what it does", "source"], 4, rows)
}

fn settings_text<M: Entry>(methods: &[M]) -> String {
    let settings = methods.iter().flat_map(|method| {
        method.settings().iter().map(|setting| {
            let default = toml::Value::from(setting.default()).to_string();
            let ours = if setting.ours { "ours" } else { "the paper's" };
            vec![
                format!("{}.{}", method.name(), setting.name),
                default,
                ours.to_owned(),
                setting.help.to_owned(),
            ]
        })
    });
    table(&["setting", "default", "whose", "what it does"], 4, settings)
}

/// A preset, or else a file.
pub(super) fn layer(name: &str) -> Result<Layer, CliError> {
    if let Some(preset) = preset(name) {
        return Ok(Layer::file(preset.name, preset.text));
    }
    let path = Path::new(name);
    if !path.exists() {
        let near = suggestion(name, PRESETS.iter().map(|preset| preset.name));
        return Err(CliError::usage(format!(
            "`{name}` is neither a file nor a preset{near}; see `secateur recipe list`"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| CliError::io(path, &error))?;
    Ok(Layer::file(name, text))
}

/// The flags of `prune` that choose a recipe and a run.
#[derive(Debug, Default, Args)]
pub(super) struct RunArgs {
    /// A recipe file, or the name of a preset; other flags win over it
    #[arg(long, value_name = "FILE|NAME")]
    pub(super) recipe: Option<String>,
    /// A key of the recipe and its value (repeatable), such as prune.sparsity=0.9
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    /// The folder of the run: checkpoints, metrics, model, masks, report
    #[arg(long = "run", value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
    /// Continue the run of this folder
    #[arg(long, value_name = "DIR", conflicts_with = "folder")]
    pub(super) resume: Option<PathBuf>,
    /// Print the recipe, nothing left out, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The data to train and reconstruct on
    #[arg(long = "train", value_name = "D")]
    pub(super) train: Option<PathBuf>,
}

impl RunArgs {
    /// What `layers` ask a run to be continued with; without --recipe, they change the recipe it has.
    pub(super) fn continued(&self, folder: &Path, mut layers: Vec<Layer>) -> Result<Option<Recipe>, CliError> {
        if layers.is_empty() {
            return Ok(None);
        }
        if self.recipe.is_none() {
            layers.insert(0, layer(&folder.join("recipe.toml").display().to_string())?);
        }
        Ok(Some(parse(&layers)?))
    }

    /// What the recipe is made of: file or preset, then `flags`, then settings.
    pub(super) fn layers(&self, flags: Vec<Layer>) -> Result<Vec<Layer>, CliError> {
        let base = self.recipe.as_deref().map(layer).transpose()?;
        let settings = self.settings.iter().map(|setting| Layer::set(setting));
        Ok(base.into_iter().chain(flags).chain(settings).collect())
    }
}
