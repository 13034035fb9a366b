//! What can go wrong with a data set, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A file of the data set could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused: the file is missing, unreadable or cannot be written.
    #[error("cannot {action} {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What was tried, as a verb: `"read"` or `"write"`.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file was read, but its content is not usable.
    #[error("{}: {defect}", path.display())]
    Invalid {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        defect: Defect,
    },
}

/// Something wrong with data, and how to mend it; [`DataError::Invalid`] adds the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct Defect {
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub remedy: String,
}

impl Defect {
    pub(super) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn in_file(self, path: &Path) -> DataError {
        DataError::Invalid {
            path: path.to_owned(),
            defect: self,
        }
    }
}
