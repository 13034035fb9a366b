//! Model files on a host: read into memory, or mapped.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;
use secateur_format::{FormatError, Limits, Model};

use crate::ArenaBuf;

/// A model file in memory.
#[derive(Debug)]
pub struct ModelFile {
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Read(ArenaBuf),
    Mapped(Mmap),
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
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`LoadError::Io`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = std::fs::read(path).map_err(LoadError::Io)?;
        Ok(Self {
            bytes: Bytes::Read(ArenaBuf::copy_of(&bytes)),
        })
    }

    /// Maps the file at `path`: nothing is copied, and pages are loaded as they
    /// are used.
    ///
    /// # Errors
    /// [`LoadError::Io`].
    ///
    /// # Safety
    /// Nobody may change or truncate the file while it is mapped. To replace a
    /// model, write another file and rename it, as `secateur` does.
    #[allow(unsafe_code)]
    pub unsafe fn map(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::Io)?;
        // SAFETY:
        // - the map is never written through, and `self` owns it as long as it is used;
        // - that the file does not change meanwhile is this function's own contract.
        let map = unsafe { Mmap::map(&file) }.map_err(LoadError::Io)?;
        Ok(Self {
            bytes: Bytes::Mapped(map),
        })
    }

    /// Validates the file and returns the model.
    ///
    /// # Errors
    /// [`LoadError::Format`].
    pub fn model(&self, limits: &Limits) -> Result<Model<'_>, LoadError> {
        Model::read(self.bytes(), limits).map_err(LoadError::Format)
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Read(bytes) => bytes.as_ref(),
            Bytes::Mapped(map) => map,
        }
    }
}
