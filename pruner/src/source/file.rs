//! Reading whole files, within a size limit.

use super::error::{Fault, SourceError};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most bytes of a file: whatever is no regular file (a device, a pipe) must not fill the memory.
const MAX_BYTES: u64 = 4 << 30;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    let io = |source| SourceError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        let problem = format!("the file is larger than {} GiB", MAX_BYTES >> 30);
        return Err(Fault::unsupported(problem, "give a smaller model").in_file(path));
    }
    Ok(bytes)
}
