//! A file taken apart, changed and put together again with right checksums, so
//! that one rule at a time is broken.

use secateur_format::container::{ENTRY_LEN, HEADER_LEN, SECTION_ALIGN};
use secateur_format::{FormatError, Limits, Model, Place, Problem};

use crate::forge::{File, entry_range, fix_crcs, u32_at};
use crate::samples::Sample;

/// The sections of a file.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) minor: u16,
    pub(crate) features: u32,
    /// Features that a reader may ignore.
    pub(crate) optional: u32,
    /// Kind, flags, content.
    pub(crate) sections: Vec<(u32, u32, Vec<u8>)>,
}

impl Parts {
    pub(crate) fn of(sample: &Sample) -> Self {
        let file = sample.file();
        let bytes = file.bytes();
        let field = |at| u32_at(bytes, at).unwrap();
        let section = |index: usize| {
            let entry = HEADER_LEN + index * ENTRY_LEN;
            (
                field(entry),
                field(entry + 4),
                bytes[entry_range(bytes, index).unwrap()].to_vec(),
            )
        };
        Self {
            minor: (field(8) >> 16) as u16,
            features: field(28),
            optional: field(32),
            sections: (0..field(24) as usize).map(section).collect(),
        }
    }

    pub(crate) fn section(&mut self, kind: u32) -> &mut Vec<u8> {
        &mut self.sections.iter_mut().find(|(k, ..)| *k == kind).unwrap().2
    }

    /// The file, laid out as SPEC.md says: not with the writer's code.
    pub(crate) fn file(&self) -> File {
        let mut bytes = vec![0; HEADER_LEN + self.sections.len() * ENTRY_LEN];
        bytes[..8].copy_from_slice(b"\x89SCT\r\n\x1a\n");
        for (index, (kind, flags, content)) in self.sections.iter().enumerate() {
            bytes.resize(bytes.len().next_multiple_of(SECTION_ALIGN), 0);
            let entry = HEADER_LEN + index * ENTRY_LEN;
            put(&mut bytes, entry, kind.to_le_bytes());
            put(&mut bytes, entry + 4, flags.to_le_bytes());
            let offset = bytes.len() as u64;
            put(&mut bytes, entry + 8, offset.to_le_bytes());
            put(&mut bytes, entry + 16, (content.len() as u64).to_le_bytes());
            bytes.extend(content);
        }
        bytes.resize(bytes.len().next_multiple_of(SECTION_ALIGN) + SECTION_ALIGN, 0);
        let len = bytes.len() as u64;
        put(&mut bytes, 8, 1u16.to_le_bytes());
        put(&mut bytes, 10, self.minor.to_le_bytes());
        put(&mut bytes, 12, (HEADER_LEN as u32).to_le_bytes());
        put(&mut bytes, 16, len.to_le_bytes());
        put(&mut bytes, 24, (self.sections.len() as u32).to_le_bytes());
        put(&mut bytes, 28, self.features.to_le_bytes());
        put(&mut bytes, 32, self.optional.to_le_bytes());
        fix_crcs(&mut bytes);
        File::new(&bytes)
    }

    /// Why the file is refused; `None` if it is not.
    pub(crate) fn refusal(&self) -> Option<FormatError> {
        Model::read(self.file().bytes(), &Limits::HOST).err()
    }

    /// The refusal after a change to one section.
    pub(crate) fn changed(&self, kind: u32, change: impl FnOnce(&mut Vec<u8>)) -> Option<FormatError> {
        let mut parts = self.clone();
        change(parts.section(kind));
        parts.refusal()
    }
}

/// Overwrites the bytes at `at`.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}

pub(crate) fn error(place: Place, problem: Problem) -> Option<FormatError> {
    Some(FormatError { place, problem })
}

#[test]
fn a_file_put_together_again_is_the_same() {
    for (name, sample) in crate::samples::all() {
        assert_eq!(Parts::of(&sample).file().bytes(), sample.file().bytes(), "{name}");
    }
}
