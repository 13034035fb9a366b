//! Damaged files: cut anywhere, every bit flipped, with and without checksums
//! that hide it.

use secateur_format::{Limits, Model};

use crate::forge::{File, fix_crcs, walk};
use crate::samples;

#[test]
fn cut_files_are_refused() {
    for (name, sample) in samples::all() {
        let file = sample.file();
        for len in 0..file.bytes().len() {
            let cut = File::new(&file.bytes()[..len]);
            assert!(
                Model::read(cut.bytes(), &Limits::HOST).is_err(),
                "{name} cut to {len} bytes"
            );
        }
        let mut longer = file.bytes().to_vec();
        longer.push(0);
        assert!(
            Model::read(File::new(&longer).bytes(), &Limits::HOST).is_err(),
            "{name} with a byte more"
        );
    }
}

#[test]
fn checksums_catch_every_flipped_bit() {
    for (name, sample) in samples::all() {
        let mut file = sample.file();
        for bit in 0..8 * file.bytes().len() {
            file.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            assert!(Model::read(file.bytes(), &Limits::HOST).is_err(), "{name}, bit {bit}");
            file.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn without_checksums_flipped_bits_are_refused_or_harmless() {
    for (name, sample) in samples::all() {
        let file = sample.file();
        let (mut refused, bits) = (0, 8 * file.bytes().len());
        for bit in 0..bits {
            let mut flipped = file.clone();
            flipped.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            fix_crcs(flipped.bytes_mut());
            match Model::read(flipped.bytes(), &Limits::HOST) {
                Ok(model) => walk(&model),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        assert!(refused > bits / 4, "{name}: only {refused} of {bits} refused");
    }
}

/// Damage that one bit does not reach: bytes overwritten with extreme values.
#[test]
fn without_checksums_extreme_fields_are_refused_or_harmless() {
    for (_, sample) in samples::all() {
        let file = sample.file();
        for at in (0..file.bytes().len()).step_by(2) {
            for extreme in [0u32, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFC1, u32::MAX] {
                let mut changed = file.clone();
                let Some(field) = changed.bytes_mut().get_mut(at..at + 4) else {
                    continue;
                };
                field.copy_from_slice(&extreme.to_le_bytes());
                fix_crcs(changed.bytes_mut());
                let unlimited = Limits {
                    file_bytes: u64::MAX,
                    arena_bytes: u32::MAX,
                    ..Limits::HOST
                };
                if let Ok(model) = Model::read(changed.bytes(), &unlimited) {
                    walk(&model);
                }
            }
        }
    }
}
