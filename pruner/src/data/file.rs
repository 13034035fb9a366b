//! Reading whole files, unpacked, within a size limit.

use super::error::{DataError, Defect};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes any file, unpacked archive member or decoded array may take.
///
/// It keeps a small hostile file (a gzip or zip bomb) from filling the memory.
pub(super) const MAX_BYTES: u64 = 4 << 30;

/// Reads a file; a name ending in `.gz` is unpacked.
///
/// # Errors
///
/// `Io` when the file cannot be opened or read, `Invalid` when it is not sound gzip or exceeds
/// [`MAX_BYTES`], packed or unpacked.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io {
        path: path.to_owned(),
        action: "read",
        source,
    };
    let file = File::open(path).map_err(io)?;
    let stored = read_at_most(file, MAX_BYTES)
        .map_err(io)?
        .ok_or_else(|| too_large().in_file(path))?;
    if !is_gzip(path) {
        return Ok(stored);
    }
    // The packed bytes are in memory, so every error from here on is one of content.
    gunzip(&stored, MAX_BYTES).map_err(|defect| defect.in_file(path))
}

/// Whether the name says that the file is packed.
pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Reads to the end without ever holding more than `limit` + 1 bytes; `None` if there are more.
pub(super) fn read_at_most(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// The defect of content above [`MAX_BYTES`].
pub(super) fn too_large() -> Defect {
    Defect::new(
        format!("takes more than {} GiB in memory", MAX_BYTES >> 30),
        "split the data set into smaller files, or select part of it with `rows` in a data.toml",
    )
}

fn gunzip(packed: &[u8], limit: u64) -> Result<Vec<u8>, Defect> {
    read_at_most(MultiGzDecoder::new(packed), limit)
        .map_err(|error| {
            Defect::new(
                format!("is not a sound gzip file ({error})"),
                "fetch the file again; if it is not packed, take `.gz` off its name",
            )
        })?
        .ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gunzip_refuses_every_truncation() {
        let packed = gzip(b"sixteen bytes ok");
        assert_eq!(gunzip(&packed, 16).unwrap(), b"sixteen bytes ok");
        for length in 1..packed.len() {
            assert!(gunzip(&packed[..length], 16).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn gunzip_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert_eq!(gunzip(&bomb, 1000).unwrap_err(), too_large());
    }

    #[test]
    fn a_missing_file_is_an_io_error() {
        let error = read(Path::new("no/such/file")).unwrap_err();
        assert!(matches!(error, DataError::Io { .. }));
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
