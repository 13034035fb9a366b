//! Header, section table and layout: each rule, broken.

use secateur_format::encoding::ValueType;
use secateur_format::{FormatError, Limits, Model, Place, Problem};

use crate::change::{Parts, error, put};
use crate::forge::{File, fix_crcs};
use crate::samples;

const GRAPH: u32 = 1;
const DATA: u32 = 4;
const INFO: u32 = 7;
/// Offset of the entry of section `index`.
const fn entry(index: usize) -> usize {
    64 + 32 * index
}

/// The refusal of a file whose bytes `change` changed, checksums made right.
fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> Option<FormatError> {
    let mut bytes = samples::encodings(ValueType::I8).file().bytes().to_vec();
    change(&mut bytes);
    fix_crcs(&mut bytes);
    Model::read(File::new(&bytes).bytes(), &Limits::HOST).err()
}

fn header(problem: Problem) -> Option<FormatError> {
    error(Place::Header, problem)
}

#[test]
fn header_fields() {
    assert_eq!(refusal(|b| b[3] = b'X'), header(Problem::Magic));
    assert_eq!(refusal(|b| b[8] = 2), header(Problem::Version { found: 2 }));
    assert_eq!(refusal(|b| b[10] = 9), None, "a newer minor version");
    assert_eq!(
        refusal(|b| b[12] = 65),
        header(Problem::Length {
            expected: 64,
            found: 65
        })
    );
    assert_eq!(refusal(|b| b[28] = 0x21), header(Problem::Features { unknown: 0x20 }));
    assert_eq!(refusal(|b| b[32] = 0x80), None, "a feature that may be ignored");
    assert_eq!(refusal(|b| b[40] = 1), header(Problem::NotZero { offset: 40 }));
    assert_eq!(refusal(|b| b[63] = 1), header(Problem::NotZero { offset: 63 }));
    assert_eq!(
        refusal(|b| put(b, 24, 1000u32.to_le_bytes())),
        header(Problem::Limit { limit: 64, found: 1000 })
    );
    assert_eq!(
        refusal(|b| b.truncate(9)),
        header(Problem::Truncated { needed: 64, found: 9 })
    );
}

#[test]
fn file_length() {
    let len = samples::encodings(ValueType::I8).file().bytes().len() as u64;
    assert_eq!(
        refusal(|b| b.push(0)),
        header(Problem::Length {
            expected: len,
            found: len + 1
        })
    );
    let cut = refusal(|b| b.truncate(len as usize - 1));
    assert_eq!(
        cut,
        header(Problem::Truncated {
            needed: len,
            found: len - 1
        })
    );
    let absurd = refusal(|b| put(b, 16, u64::MAX.to_le_bytes()));
    assert_eq!(
        absurd,
        header(Problem::Limit {
            limit: 4 << 30,
            found: u64::MAX
        })
    );
}

#[test]
fn limits_are_the_callers() {
    let file = samples::encodings(ValueType::I8).file();
    let len = file.bytes().len() as u64;
    let read = |limits| Model::read(file.bytes(), &limits).err();
    let small = Limits {
        file_bytes: len - 1,
        ..Limits::HOST
    };
    assert_eq!(
        read(small),
        header(Problem::Limit {
            limit: len - 1,
            found: len
        })
    );
    assert_eq!(
        read(Limits {
            sections: 4,
            ..Limits::HOST
        }),
        header(Problem::Limit { limit: 4, found: 5 })
    );
    let place = Place::Section(GRAPH);
    assert_eq!(
        read(Limits {
            values: 8,
            ..Limits::HOST
        }),
        error(place, Problem::Limit { limit: 8, found: 9 })
    );
    let tensors = Problem::Limit { limit: 7, found: 8 };
    assert_eq!(
        read(Limits {
            tensors: 7,
            ..Limits::HOST
        }),
        error(Place::Section(2), tensors)
    );
    let arena = Model::read(file.bytes(), &Limits::HOST).unwrap().plan().arena_bytes();
    let limit = Problem::Limit {
        limit: u64::from(arena) - 1,
        found: arena.into(),
    };
    assert_eq!(
        read(Limits {
            arena_bytes: arena - 1,
            ..Limits::HOST
        }),
        error(Place::Section(3), limit)
    );
    assert_eq!(
        read(Limits {
            arena_bytes: arena,
            file_bytes: len,
            sections: 5,
            values: 9,
            tensors: 8
        }),
        None
    );
}

#[test]
fn checksums() {
    let mut file = samples::encodings(ValueType::F32).file();
    let data = crate::forge::entry_range(file.bytes(), 3).unwrap();
    file.bytes_mut()[data.start] ^= 1;
    let found = Model::read(file.bytes(), &Limits::HOST).unwrap_err();
    assert!(matches!(
        found,
        FormatError {
            place: Place::Section(DATA),
            problem: Problem::Crc { .. }
        }
    ));
    file.bytes_mut()[data.start] ^= 1;
    file.bytes_mut()[entry(0)] ^= 1;
    let found = Model::read(file.bytes(), &Limits::HOST).unwrap_err();
    assert!(matches!(
        found,
        FormatError {
            place: Place::Header,
            problem: Problem::Crc { .. }
        }
    ));
}

#[test]
fn misaligned_bytes() {
    let mut shifted = vec![0; 8];
    shifted.extend(samples::encodings(ValueType::F32).file().bytes());
    let found = Model::read(&File::new(&shifted).bytes()[8..], &Limits::HOST).err();
    assert_eq!(found, error(Place::File, Problem::Misaligned));
}

#[test]
fn section_entries() {
    let at = |index, problem| error(Place::SectionEntry(index), problem);
    assert_eq!(refusal(|b| b[entry(0)] = 0), at(0, Problem::Code { found: 0 }));
    assert_eq!(refusal(|b| b[entry(1)] = 1), at(1, Problem::DuplicateSection));
    assert_eq!(refusal(|b| b[entry(2)] = 1), at(2, Problem::Code { found: 1 }));
    assert_eq!(refusal(|b| b[entry(1) + 4] = 2), at(1, Problem::NotZero { offset: 4 }));
    assert_eq!(
        refusal(|b| b[entry(1) + 28] = 1),
        at(1, Problem::NotZero { offset: 28 })
    );
    let absurd = refusal(|b| put(b, entry(4) + 16, u64::MAX.to_le_bytes()));
    assert!(matches!(
        absurd.unwrap().problem,
        Problem::Truncated { needed: u64::MAX, .. }
    ));
}

#[test]
fn sections_follow_each_other() {
    let at = |index, problem| error(Place::SectionEntry(index), problem);
    let start = |index| {
        let file = samples::encodings(ValueType::I8).file();
        crate::forge::entry_range(file.bytes(), index).unwrap().start as u64
    };
    let moved = |index: usize, found: u64| refusal(|b| put(b, entry(index) + 8, found.to_le_bytes()));
    for found in [start(0), start(1) + 64, start(1) - 64, start(1) + 1, 0, u64::MAX] {
        assert_eq!(
            moved(1, found),
            at(
                1,
                Problem::Offset {
                    expected: start(1),
                    found
                }
            )
        );
    }
    let gap = start(1) - 1;
    assert_eq!(
        refusal(|b| b[gap as usize] = 1),
        at(1, Problem::NotZero { offset: gap })
    );
}

#[test]
fn the_tail() {
    let len = samples::encodings(ValueType::I8).file().bytes().len();
    let file = |problem| error(Place::File, problem);
    assert_eq!(
        refusal(|b| b[len - 1] = 1),
        file(Problem::NotZero { offset: len as u64 - 1 })
    );
    for found in [len as u64 - 64, len as u64 + 64] {
        let resized = refusal(|b| {
            b.resize(found as usize, 0);
            put(b, 16, found.to_le_bytes());
        });
        assert_eq!(
            resized,
            file(Problem::Length {
                expected: len as u64,
                found
            })
        );
    }
}

#[test]
fn unknown_sections_say_whether_they_matter() {
    let with = |flags| {
        let mut parts = Parts::of(&samples::operators());
        parts.sections.push((18, flags, vec![1, 2, 3]));
        parts
    };
    assert_eq!(
        with(0).refusal(),
        error(Place::SectionEntry(8), Problem::UnknownSection)
    );
    assert_eq!(with(1).refusal(), None);
    let file = with(1).file();
    let model = Model::read(file.bytes(), &Limits::HOST).unwrap();
    assert_eq!(model.info().count(), 2, "known sections are found beside unknown ones");
}

#[test]
fn required_sections() {
    for kind in 1..=4 {
        let mut parts = Parts::of(&samples::operators());
        parts.sections.retain(|(k, ..)| *k != kind);
        assert_eq!(parts.refusal(), error(Place::File, Problem::MissingSection { kind }));
    }
    for kind in 5..=INFO {
        let mut parts = Parts::of(&samples::operators());
        parts.sections.retain(|(k, ..)| *k != kind);
        assert_eq!(parts.refusal(), None);
    }
}
