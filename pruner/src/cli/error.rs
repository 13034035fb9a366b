//! Errors with an exit code.

use std::io;
use std::path::Path;

use crate::collapse::CollapseError;
use crate::data::DataError;
use crate::digest::DigestError;
use crate::emit::{CheckError, EmitError};
use crate::eval::EvalError;
use crate::impact::ImpactError;
use crate::prune::PruneError;
use crate::recipe::RecipeError;
use crate::recipe::run::RunError as RecipeRunError;
use crate::reconstruct::ReconstructError;
use crate::source::SourceError;
use crate::structured::ChannelError;
use crate::sweep::SweepError;
use crate::train::{CheckpointError, RunError, SubsetError, TrainError};

/// A check failed.
pub(super) const CHECK: u8 = 1;
/// Wrong usage.
pub(super) const USAGE: u8 = 2;
/// An unreadable or unsupported model or data file.
pub(super) const UNREADABLE: u8 = 3;
/// Input or output failed.
pub(super) const IO: u8 = 4;

/// Ctrl-C, as shells report it.
pub(super) const INTERRUPTED: u8 = 130;

/// What is told to the user, and the exit code.
#[derive(Debug)]
pub(super) struct CliError {
    pub(super) code: u8,
    pub(super) message: String,
    broken_pipe: bool,
}

impl CliError {
    fn new(code: u8, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
            broken_pipe: false,
        }
    }

    pub(super) fn check(message: impl ToString) -> Self {
        Self::new(CHECK, message)
    }

    pub(super) fn usage(message: impl ToString) -> Self {
        Self::new(USAGE, message)
    }

    pub(super) fn interrupted(message: impl ToString) -> Self {
        Self::new(INTERRUPTED, message)
    }

    pub(super) fn unreadable(path: &Path, message: impl std::fmt::Display) -> Self {
        Self::new(UNREADABLE, format!("{}: {message}", path.display()))
    }

    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::new(IO, format!("{}: {error}", path.display()))
    }

    /// Stdout went away, as when it is piped to `head`: no error.
    pub(super) fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self {
            broken_pipe,
            ..Self::new(IO, format!("cannot write the result: {error}"))
        }
    }
}

impl From<SweepError> for CliError {
    fn from(error: SweepError) -> Self {
        let code = match error {
            SweepError::Text { .. } => USAGE,
            SweepError::Results { .. } => IO,
        };
        Self::new(code, error)
    }
}

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        let code = if matches!(error, SourceError::Io { .. }) {
            IO
        } else {
            UNREADABLE
        };
        Self::new(code, error)
    }
}

impl From<DataError> for CliError {
    fn from(error: DataError) -> Self {
        let code = if matches!(error, DataError::Io { .. }) {
            IO
        } else {
            UNREADABLE
        };
        Self::new(code, error)
    }
}

impl From<PruneError> for CliError {
    fn from(error: PruneError) -> Self {
        let code = match error {
            PruneError::Graph(_) | PruneError::NoLayers => UNREADABLE,
            _ => USAGE,
        };
        Self::new(code, error)
    }
}

impl From<ReconstructError> for CliError {
    fn from(error: ReconstructError) -> Self {
        Self::new(UNREADABLE, error)
    }
}

impl From<CollapseError> for CliError {
    fn from(error: CollapseError) -> Self {
        let code = match error {
            CollapseError::NoChain { .. } => USAGE,
            _ => UNREADABLE,
        };
        Self::new(code, error)
    }
}

impl From<ChannelError> for CliError {
    fn from(error: ChannelError) -> Self {
        let code = match error {
            ChannelError::Graph(_) => UNREADABLE,
            _ => USAGE,
        };
        Self::new(code, error)
    }
}

impl From<EmitError> for CliError {
    fn from(error: EmitError) -> Self {
        let code = if matches!(error, EmitError::Check(_)) {
            CHECK
        } else {
            UNREADABLE
        };
        Self::new(code, error)
    }
}

impl From<CheckError> for CliError {
    fn from(error: CheckError) -> Self {
        let code = if matches!(error, CheckError::Unsupported(_)) {
            UNREADABLE
        } else {
            CHECK
        };
        Self::new(code, error)
    }
}

impl From<CheckpointError> for CliError {
    fn from(error: CheckpointError) -> Self {
        let code = if matches!(error, CheckpointError::Io { .. }) {
            IO
        } else {
            UNREADABLE
        };
        Self::new(code, error)
    }
}

impl From<DigestError> for CliError {
    fn from(error: DigestError) -> Self {
        match error {
            DigestError::Changed { .. } => Self::usage(error),
            DigestError::Unreadable { .. } => Self::new(UNREADABLE, error),
            DigestError::Io { .. } => Self::new(IO, error),
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Exists { .. } => Self::usage(error),
            RunError::Setup { .. } => Self::new(UNREADABLE, error),
            RunError::Model(error) => error.into(),
            RunError::Checkpoint(error) => error.into(),
        }
    }
}

impl From<TrainError> for CliError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Checkpoint(error) => error.into(),
            TrainError::Prune(error) => error.into(),
            TrainError::Teacher { .. } => Self::usage(error),
            TrainError::Diverged { .. } => Self::check(error),
            error => Self::new(UNREADABLE, error),
        }
    }
}

impl From<EvalError> for CliError {
    fn from(error: EvalError) -> Self {
        Self::new(UNREADABLE, error)
    }
}

impl From<ImpactError> for CliError {
    fn from(error: ImpactError) -> Self {
        match error {
            ImpactError::Parameters => Self::usage(error),
            ImpactError::Eval(error) => error.into(),
        }
    }
}

impl From<SubsetError> for CliError {
    fn from(error: SubsetError) -> Self {
        let code = match error {
            SubsetError::NoLabels(_) | SubsetError::NaN(_) => UNREADABLE,
            _ => USAGE,
        };
        Self::new(code, error)
    }
}

impl From<RecipeError> for CliError {
    fn from(error: RecipeError) -> Self {
        Self::usage(error)
    }
}

impl From<RecipeRunError> for CliError {
    fn from(error: RecipeRunError) -> Self {
        match error {
            RecipeRunError::Exists { .. } | RecipeRunError::Changed { .. } => Self::usage(error),
            RecipeRunError::Interrupted { .. } => Self::interrupted(error),
            RecipeRunError::Budget { .. } => Self::check(error),
            RecipeRunError::Recipe(error) => error.into(),
            RecipeRunError::Model(error) => error.into(),
            RecipeRunError::Prune(error) => error.into(),
            RecipeRunError::Collapse(error) => error.into(),
            RecipeRunError::Channels(error) => error.into(),
            RecipeRunError::Reconstruct(error) => error.into(),
            RecipeRunError::Train(error) => error.into(),
            RecipeRunError::Checkpoint(error) => error.into(),
            RecipeRunError::Eval(error) => error.into(),
            RecipeRunError::Emit(error) => error.into(),
            RecipeRunError::Graph(_) | RecipeRunError::Run(_) => Self::new(UNREADABLE, error),
        }
    }
}
