//! Models to prune: from ONNX files, and from graph descriptions with safetensors weights.
//!
//! | path | what is read |
//! |---|---|
//! | `*.onnx` | the file, opset 13 or later |
//! | `*.toml` | the graph description and the safetensors file that it names |
//! | a folder | its `model.toml` |
//! | `*.safetensors` | these weights, with `<stem>.toml` or else `model.toml` beside them |
//!
//! The description file is documented in `docs/model-toml.md`.
//!
//! Files are not trusted: a damaged or hostile file gives an error, never a panic, and takes no
//! more memory than a small multiple of its own size.

mod description;
mod error;
mod file;
pub(crate) mod nearest;
mod onnx;
pub mod sct;
mod weights;

pub use description::{Written, write};
pub use error::SourceError;

use crate::data::Preprocess;
use error::Fault;
use secateur_format::graph::Graph;
use std::path::Path;

/// The description's name in a folder that holds a model.
const FOLDER_DESCRIPTION: &str = "model.toml";

/// A model as it comes from its source, its graph checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What it is called: in the description, or else the file name without its extension.
    pub name: String,
    /// The network. [`Graph::shapes`] of it is `Ok`, and every weight is finite.
    pub graph: Graph,
    /// How stored samples become network inputs, where the source says so.
    pub preprocess: Option<Preprocess>,
    /// Tensors of the weights file that no node uses: worth a warning, as a node may be missing.
    pub unused: Vec<String>,
}

/// Loads a model; the module's documentation says from what.
///
/// # Errors
/// [`SourceError::Io`] when a file cannot be read, [`SourceError::Unreadable`] when it is damaged
/// or wrong, [`SourceError::Unsupported`] when it needs something that Secateur does not have.
pub fn load(path: &Path) -> Result<Model, SourceError> {
    if path.is_dir() {
        return load_folder(path);
    }
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "onnx" => load_onnx(path),
        "toml" => description::load(path, None),
        "safetensors" => description::load(&description_beside(path), Some(path)),
        _ => Err(Fault::unsupported(
            "the file name does not end in .onnx, .toml or .safetensors",
            "give one of these, or a folder that holds a model.toml",
        )
        .in_file(path)),
    }
}

/// The network of a description without weights (`model.toml`, or the folder that holds it), all of them zero: they are
/// to be drawn. `None` for any other model.
///
/// # Errors
/// As [`load`].
pub fn untrained(path: &Path) -> Result<Option<Model>, SourceError> {
    let own = path.join(FOLDER_DESCRIPTION);
    let path = if path.is_dir() && own.exists() { &own } else { path };
    match path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
    {
        true => description::untrained(path),
        false => Ok(None),
    }
}

fn load_onnx(path: &Path) -> Result<Model, SourceError> {
    let graph = onnx::import(file::read(path)?).map_err(|fault| fault.in_file(path))?;
    Ok(Model {
        name: stem(path),
        graph,
        preprocess: None,
        unused: Vec::new(),
    })
}

fn load_folder(path: &Path) -> Result<Model, SourceError> {
    let description = path.join(FOLDER_DESCRIPTION);
    if !description.exists() {
        let remedy = "give the model file itself, or write a model.toml (see docs/model-toml.md)";
        return Err(Fault::unreadable("the folder holds no model.toml", remedy).in_file(path));
    }
    description::load(&description, None)
}

/// The description that belongs to a weights file.
fn description_beside(weights: &Path) -> std::path::PathBuf {
    let own = weights.with_extension("toml");
    if own.exists() {
        own
    } else {
        weights.with_file_name(FOLDER_DESCRIPTION)
    }
}

/// The file name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
