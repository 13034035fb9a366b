//! Reads arbitrary bytes as a model and uses whatever the reader accepts.
//! The second read has the checksums made right, so that the checks behind
//! them are reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_format::{Limits, Model};

#[path = "../../format/tests/suite/forge.rs"]
mod forge;

const LIMITS: Limits = Limits {
    arena_bytes: 64 << 20,
    values: 1024,
    ..Limits::HOST
};

fn read(file: &[u8]) {
    match Model::read(file, &LIMITS) {
        Ok(model) => forge::walk(&model),
        Err(error) => drop(error.to_string()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut file = forge::File::new(bytes);
    read(file.bytes());
    forge::fix_crcs(file.bytes_mut());
    read(file.bytes());
});
