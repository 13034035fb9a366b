//! Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::CliError;

/// A flag that Ctrl-C sets; a second one ends the process at once.
pub(super) fn interruption() -> Result<Arc<AtomicBool>, CliError> {
    let flag = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&flag);
    let handler = move || {
        if own.swap(true, Ordering::Relaxed) {
            std::process::exit(super::error::INTERRUPTED.into());
        }
    };
    ctrlc::set_handler(handler).map_err(|error| CliError::check(format!("cannot listen to Ctrl-C: {error}")))?;
    Ok(flag)
}
