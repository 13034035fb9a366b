//! Memory-mapped model files.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;
use secateur_format::{FormatError, Limits, Model};

/// A model file in memory, mapped rather than read.
#[derive(Debug)]
pub struct ModelFile {
    map: Mmap,
}

/// Why a model file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be opened or mapped.
    Io(io::Error),
    /// The file is not a valid model.
    Format(FormatError),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Format(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

impl ModelFile {
    /// Maps the file at `path`. It must not be changed while it is mapped; to
    /// replace it, write another file and rename it, as `secateur` does.
    ///
    /// # Errors
    /// [`LoadError::Io`].
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::Io)?;
        // SAFETY:
        // - the map is private to this process and never written through;
        // - it stays valid for the life of `self`, which owns it;
        // - that nobody truncates or rewrites the file meanwhile is the caller's
        //   duty, documented above: no system call can promise it.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(LoadError::Io)?;
        Ok(Self { map })
    }

    /// Validates the file and returns the model.
    ///
    /// # Errors
    /// [`LoadError::Format`].
    pub fn model(&self, limits: &Limits) -> Result<Model<'_>, LoadError> {
        Model::read(&self.map, limits).map_err(LoadError::Format)
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}
