//! Graph descriptions: `model.toml`, which names its weights file. See `docs/model-toml.md`.

mod attributes;
mod builder;
mod ops;
#[cfg(test)]
mod tests;
mod write;

pub use write::{Written, write};

use super::error::{Fault, SourceError};
use super::weights::Weights;
use super::{Model, file, stem};
use crate::data::Preprocess;
use builder::Builder;
use secateur_format::Shape;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::{Spanned, Value};

/// The only version of the format.
const FORMAT: i64 = 1;

/// A node's table: attributes by name.
type Table = BTreeMap<String, Spanned<Value>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: Spanned<i64>,
    name: Option<String>,
    weights: Option<PathBuf>,
    input: Option<InputTable>,
    inputs: Option<Vec<InputTable>>,
    outputs: Option<Vec<Spanned<String>>>,
    preprocess: Option<Preprocess>,
    #[serde(default)]
    node: Vec<Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputTable {
    name: Spanned<String>,
    shape: Spanned<Vec<u32>>,
}

/// The text, for saying where in it something is.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl Text<'_> {
    /// Line and column of a place.
    fn place(self, span: Range<usize>) -> String {
        let before = self.0.get(..span.start).unwrap_or(self.0);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}")
    }
}

/// Reads the description at `path`: its text, and what it says.
fn read(path: &Path) -> Result<(String, Description), SourceError> {
    let in_file = |fault: Fault| fault.in_file(path);
    let text = String::from_utf8(file::read(path)?).map_err(|error| {
        in_file(Fault::unreadable(
            format!("not a text file ({error})"),
            "save it as UTF-8",
        ))
    })?;
    let description = parse(&text).map_err(in_file)?;
    Ok((text, description))
}

/// The network of a description that names no weights, with zeros; `None` if it names some.
pub(super) fn untrained(path: &Path) -> Result<Option<Model>, SourceError> {
    let (text, description) = read(path)?;
    if description.weights.is_some() {
        return Ok(None);
    }
    assemble(path, &text, description, &mut Weights::undrawn()).map(Some)
}

/// Loads the description at `path`, with the weights at `weights` or else where it says.
pub(super) fn load(path: &Path, weights: Option<&Path>) -> Result<Model, SourceError> {
    let in_file = |fault: Fault| fault.in_file(path);
    let (text, description) = read(path)?;
    let weights_path = match (weights, &description.weights) {
        (Some(path), _) => path.to_owned(),
        // Relative to the description, wherever that lies.
        (None, Some(name)) => path.with_file_name("").join(name),
        (None, None) => {
            let remedy = "add `weights = \"<file>.safetensors\"` before the first table, or give that file instead; \
                          `secateur train` draws weights and trains them";
            return Err(in_file(Fault::unreadable("it names no weights file", remedy)));
        }
    };
    let bytes = file::read(&weights_path)?;
    let mut weights = Weights::open(&bytes).map_err(|fault| fault.in_file(&weights_path))?;
    assemble(path, &text, description, &mut weights)
}

fn assemble(
    path: &Path,
    text: &str,
    description: Description,
    weights: &mut Weights<'_>,
) -> Result<Model, SourceError> {
    let name = description.name.clone().unwrap_or_else(|| stem(path));
    let preprocess = description.preprocess.clone();
    let graph = build(Text(text), description, weights).map_err(|fault| fault.in_file(path))?;
    Ok(Model {
        name,
        graph,
        preprocess,
        unused: weights.unused(),
    })
}

fn parse(text: &str) -> Result<Description, Fault> {
    let description: Description = toml::from_str(text).map_err(|error| {
        // The message holds line and column, and the line itself.
        Fault::unreadable(
            error.to_string().trim_end(),
            "see docs/model-toml.md for what it may hold",
        )
    })?;
    let format = *description.format.get_ref();
    if format != FORMAT {
        let fault = Fault::unsupported(format!("format is {format}"), "this version of Secateur reads format 1");
        return Err(fault.within(Text(text).place(description.format.span())));
    }
    Ok(description)
}

fn build(
    text: Text<'_>,
    description: Description,
    weights: &mut Weights<'_>,
) -> Result<secateur_format::graph::Graph, Fault> {
    let mut builder = Builder::new(text, weights);
    let inputs = match (description.input, description.inputs) {
        (Some(input), None) => vec![input],
        (None, Some(inputs)) if !inputs.is_empty() => inputs,
        _ => {
            let remedy =
                "write `input = { name = \"input\", shape = [3, 32, 32] }`, or `inputs = [...]` with such tables";
            return Err(Fault::unreadable("it must have either `input` or `inputs`", remedy));
        }
    };
    for input in inputs {
        let place = text.place(input.shape.span());
        let unusable =
            |error| Fault::unsupported(error, "inputs have 1 to 4 dimensions, without the batch").within(place);
        let shape = Shape::new(input.shape.get_ref()).map_err(unusable)?;
        builder.add_input(&input.name, shape)?;
    }
    if let Some(preprocess) = &description.preprocess
        && let Some(channels) = builder.first_channels()
    {
        preprocess
            .validate(channels as usize)
            .map_err(|defect| Fault::unreadable(defect.problem, &defect.remedy).within("[preprocess]"))?;
    }
    for node in description.node {
        builder.add_node(node)?;
    }
    builder.finish(description.outputs.as_deref())
}
