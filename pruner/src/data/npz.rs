//! NumPy's `.npz` files: zip archives of `.npy` members.

use super::archive::Archive;
use super::error::Defect;
use super::file::{MAX_BYTES, read_at_most, too_large};
use super::npy;
use super::tensor::RawTensor;
use std::io::Cursor;
use zip::ZipArchive;

/// An open `.npz` file.
pub(super) struct Npz(ZipArchive<Cursor<Vec<u8>>>);

impl Npz {
    /// Opens the content of a `.npz` file.
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, Defect> {
        ZipArchive::new(Cursor::new(bytes)).map(Self).map_err(unsound)
    }
}

impl Archive for Npz {
    fn names(&self) -> Vec<String> {
        self.0
            .file_names()
            .filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned()))
            .collect()
    }

    fn tensor(&mut self, name: &str) -> Result<RawTensor, Defect> {
        let member = self.0.by_name(&format!("{name}.npy")).map_err(unsound)?;
        // The announced size is not to be trusted; what comes out is counted.
        let bytes = read_at_most(member, MAX_BYTES)
            .map_err(unsound)?
            .ok_or_else(too_large)?;
        npy::parse(&bytes).map_err(|defect| Defect::new(format!("`{name}` {}", defect.problem), defect.remedy))
    }
}

fn unsound(error: impl std::error::Error) -> Defect {
    Defect::new(
        format!("is not a sound .npz file ({error})"),
        "write it again with numpy.savez",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use ndarray_npy::WriteNpyExt;
    use std::io::Write;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    fn npz(method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file("x.npy", options).unwrap();
        array![[1.0_f32, 2.0], [3.0, 4.0]].write_npy(&mut zip).unwrap();
        zip.start_file("y.npy", options).unwrap();
        array![0_i64, 9].write_npy(&mut zip).unwrap();
        zip.start_file("junk.npy", options).unwrap();
        zip.write_all(b"junk").unwrap();
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn stored_and_deflated_members_are_read() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let mut archive = Npz::open(npz(method)).unwrap();
            let inputs = archive.inputs(None).unwrap();
            assert_eq!(inputs.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
            let labels = archive.required_labels(None).unwrap();
            assert_eq!(labels.to_labels().unwrap(), [0, 9]);
            let error = archive.inputs(Some("junk")).unwrap_err();
            assert!(error.problem.starts_with("`junk` is not"), "{error}");
        }
    }

    #[test]
    fn truncations_and_flipped_bytes_do_not_panic() {
        let bytes = npz(CompressionMethod::Deflated);
        let read = |bytes: Vec<u8>| {
            let mut archive = Npz::open(bytes)?;
            archive.inputs(None)?.to_f32()?;
            archive.required_labels(None)?.to_labels()
        };
        for length in 0..bytes.len() {
            assert!(read(bytes[..length].to_vec()).is_err(), "{length} bytes");
        }
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 0xFF;
            _ = read(flipped);
        }
    }
}
