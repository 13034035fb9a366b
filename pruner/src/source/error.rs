//! What can go wrong with a model, and what to do about it.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Most characters of a name from a file that a message shows.
const MAX_SHOWN: usize = 120;

/// A model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The content is damaged, or is not what the file should hold.
    #[error("{}: {message}", path.display())]
    Unreadable {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong, where, and how to mend it.
        message: String,
    },
    /// The content is sound, but uses something that Secateur does not have.
    #[error("{}: {message}", path.display())]
    Unsupported {
        /// The file concerned.
        path: PathBuf,
        /// What is not supported, where, and what to do instead.
        message: String,
    },
}

/// A [`SourceError`] that does not know its file yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    supported: bool,
    message: String,
}

impl Fault {
    /// The content is damaged or wrong.
    pub(super) fn unreadable(problem: impl Display, remedy: &str) -> Self {
        Self {
            supported: true,
            message: format!("{problem}; {remedy}"),
        }
    }

    /// The content may be right, but is not supported.
    pub(super) fn unsupported(problem: impl Display, remedy: &str) -> Self {
        Self {
            supported: false,
            message: format!("{problem}; {remedy}"),
        }
    }

    /// Adds where in the file it is.
    pub(super) fn within(mut self, place: impl Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Adds the file.
    pub(super) fn in_file(self, path: &Path) -> SourceError {
        let (path, message) = (path.to_owned(), self.message);
        if self.supported {
            SourceError::Unreadable { path, message }
        } else {
            SourceError::Unsupported { path, message }
        }
    }
}

/// A name from a file, in quotes, such that it can neither flood nor control the terminal.
pub(super) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        text.push('…');
    }
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[2J"), "`a\\u{1b}[2J`");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN + 3);
    }

    #[test]
    fn faults_say_where() {
        let fault = Fault::unsupported("too new", "wait").within("node `x`");
        let error = fault.in_file(Path::new("a/b.onnx"));
        assert!(matches!(error, SourceError::Unsupported { .. }));
        assert_eq!(error.to_string(), "a/b.onnx: node `x`: too new; wait");
    }
}
