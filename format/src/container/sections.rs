//! Header and section table: parsing, and the layout rules they obey.

use super::{ENTRY_LEN, HEADER_LEN, KNOWN_FEATURES, MAGIC, MAJOR, SECTION_ALIGN, crc::crc32c};
use crate::bytes::{first_nonzero, u16_at, u32_at, u64_at};
use crate::{FormatError, Limits, MODEL_ALIGN, Place, Problem};

/// Section kinds of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Section {
    /// Values and nodes.
    Graph = 1,
    /// Descriptions of the constant tensors.
    Tensors = 2,
    /// Memory plan.
    Plan = 3,
    /// Payloads of the constant tensors.
    Data = 4,
    /// Names of graph inputs and nodes. Strippable.
    Names = 5,
    /// How inputs are scaled and normalised. Strippable.
    Preprocess = 6,
    /// Free key-value text. Strippable.
    Info = 7,
    /// Kernels that were fastest on the machine that wrote the file. Strippable.
    Tuning = 17,
}

/// Section flag: a reader that does not know the kind may ignore the section.
pub(super) const MAY_IGNORE: u32 = 1;

const KINDS: [(Section, &str); 8] = [
    (Section::Graph, "graph"),
    (Section::Tensors, "tensors"),
    (Section::Plan, "plan"),
    (Section::Data, "data"),
    (Section::Names, "names"),
    (Section::Preprocess, "preprocess"),
    (Section::Info, "info"),
    (Section::Tuning, "tuning"),
];

/// The name of a section kind, `unknown` if this version does not know it.
pub fn section_name(kind: u32) -> &'static str {
    KINDS
        .iter()
        .find(|(section, _)| *section as u32 == kind)
        .map_or("unknown", |(_, name)| name)
}

impl Section {
    /// Whether a file is complete without the section.
    pub fn is_strippable(self) -> bool {
        matches!(self, Self::Names | Self::Preprocess | Self::Info | Self::Tuning)
    }
}

/// The sections of a file, found and checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sections<'a> {
    found: [Option<&'a [u8]>; KINDS.len()],
}

impl<'a> Sections<'a> {
    pub(super) fn get(&self, section: Section) -> Option<&'a [u8]> {
        let index = KINDS.iter().position(|(kind, _)| *kind == section)?;
        self.found.get(index).copied().flatten()
    }

    pub(super) fn require(&self, section: Section) -> Result<&'a [u8], FormatError> {
        let missing = Problem::MissingSection { kind: section as u32 };
        self.get(section).ok_or(FormatError::new(Place::File, missing))
    }

    /// Checks header, table, layout and checksums.
    pub(super) fn read(file: &'a [u8], limits: &Limits) -> Result<Self, FormatError> {
        let header = |problem| FormatError::new(Place::Header, problem);
        if !file.starts_with(&MAGIC) {
            return Err(header(Problem::Magic));
        }
        let truncated = Problem::Truncated {
            needed: HEADER_LEN as u64,
            found: file.len() as u64,
        };
        let (head, _) = file.split_at_checked(HEADER_LEN).ok_or(header(truncated))?;
        let (Some(major), Some(header_len), Some(file_len), Some(count), Some(must), Some(stored)) = (
            u16_at(head, 8),
            u32_at(head, 12),
            u64_at(head, 16),
            u32_at(head, 24),
            u32_at(head, 28),
            u32_at(head, 36),
        ) else {
            return Err(header(truncated));
        };
        if major != MAJOR {
            return Err(header(Problem::Version { found: major }));
        }
        if header_len as usize != HEADER_LEN {
            return Err(header(Problem::Length {
                expected: HEADER_LEN as u64,
                found: header_len.into(),
            }));
        }
        if file_len > limits.file_bytes {
            return Err(header(Problem::Limit {
                limit: limits.file_bytes,
                found: file_len,
            }));
        }
        if file_len > file.len() as u64 {
            return Err(header(Problem::Truncated {
                needed: file_len,
                found: file.len() as u64,
            }));
        }
        if file_len != file.len() as u64 {
            return Err(header(Problem::Length {
                expected: file_len,
                found: file.len() as u64,
            }));
        }
        if count > limits.sections {
            return Err(header(Problem::Limit {
                limit: limits.sections.into(),
                found: count.into(),
            }));
        }
        let table_end = HEADER_LEN + count as usize * ENTRY_LEN;
        let table = file.get(HEADER_LEN..table_end).ok_or(header(Problem::Truncated {
            needed: table_end as u64,
            found: file.len() as u64,
        }))?;
        let (Some(before), Some(after)) = (head.get(..36), head.get(40..)) else {
            return Err(header(truncated));
        };
        let computed = crc32c(&[before, &[0; 4], after, table]);
        if computed != stored {
            return Err(header(Problem::Crc { stored, computed }));
        }
        if must & !KNOWN_FEATURES != 0 {
            return Err(header(Problem::Features {
                unknown: must & !KNOWN_FEATURES,
            }));
        }
        if let Some(at) = first_nonzero(after) {
            return Err(header(Problem::NotZero { offset: 40 + at as u64 }));
        }
        if !(file.as_ptr() as usize).is_multiple_of(MODEL_ALIGN) {
            return Err(FormatError::new(Place::File, Problem::Misaligned));
        }
        Self::read_table(file, table, table_end)
    }

    fn read_table(file: &'a [u8], table: &[u8], table_end: usize) -> Result<Self, FormatError> {
        let mut sections = Self::default();
        let mut end = table_end as u64;
        let mut last_kind = 0;
        for (i, entry) in table.chunks_exact(ENTRY_LEN).enumerate() {
            let fail = |problem| FormatError::new(Place::SectionEntry(i as u32), problem);
            let (Some(kind), Some(flags), Some(offset), Some(len), Some(stored), Some(reserved)) = (
                u32_at(entry, 0),
                u32_at(entry, 4),
                u64_at(entry, 8),
                u64_at(entry, 16),
                u32_at(entry, 24),
                u32_at(entry, 28),
            ) else {
                return Err(fail(Problem::Truncated {
                    needed: ENTRY_LEN as u64,
                    found: 0,
                }));
            };
            if kind < last_kind || kind == 0 {
                return Err(fail(Problem::Code { found: kind }));
            }
            if kind == last_kind {
                return Err(fail(Problem::DuplicateSection));
            }
            if flags & !MAY_IGNORE != 0 || reserved != 0 {
                return Err(fail(Problem::NotZero {
                    offset: if reserved != 0 { 28 } else { 4 },
                }));
            }
            let known = KINDS.iter().position(|(section, _)| *section as u32 == kind);
            if known.is_none() && flags & MAY_IGNORE == 0 {
                return Err(fail(Problem::UnknownSection));
            }
            let expected = end.next_multiple_of(SECTION_ALIGN as u64);
            if offset != expected {
                return Err(fail(Problem::Offset {
                    expected,
                    found: offset,
                }));
            }
            let bytes = check_gap(file, end, offset)
                .and_then(|()| {
                    slice(file, offset, len).ok_or(Problem::Truncated {
                        needed: len,
                        found: file.len() as u64 - offset,
                    })
                })
                .map_err(fail)?;
            let computed = crc32c(&[bytes]);
            if computed != stored {
                return Err(FormatError::new(
                    Place::Section(kind),
                    Problem::Crc { stored, computed },
                ));
            }
            if let Some(slot) = known.and_then(|known| sections.found.get_mut(known)) {
                *slot = Some(bytes);
            }
            end = offset + len;
            last_kind = kind;
        }
        let expected = end.next_multiple_of(SECTION_ALIGN as u64) + SECTION_ALIGN as u64;
        let found = file.len() as u64;
        if expected != found {
            return Err(FormatError::new(Place::File, Problem::Length { expected, found }));
        }
        check_gap(file, end, found).map_err(|problem| FormatError::new(Place::File, problem))?;
        Ok(sections)
    }
}

fn slice(file: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    file.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

/// Padding between sections is zero.
fn check_gap(file: &[u8], start: u64, end: u64) -> Result<(), Problem> {
    let len = end.saturating_sub(start);
    let found = file.len() as u64;
    let gap = slice(file, start, len).ok_or(Problem::Truncated { needed: end, found })?;
    match first_nonzero(gap) {
        Some(at) => Err(Problem::NotZero {
            offset: start + at as u64,
        }),
        None => Ok(()),
    }
}

/// The arena a model needs, in bytes, from its unvalidated bytes: for sizing a
/// static arena at compile time. A `const` item turns the panic into a compile
/// error; at run time use [`crate::Model::read`] and its plan instead.
///
/// ```ignore
/// static MODEL: &[u8] = secateur_runtime::include_model!("m.sct");
/// const ARENA: usize = secateur_runtime::arena_bytes(include_bytes!("m.sct"));
/// ```
///
/// # Panics
/// If the bytes have no memory plan, so that a wrong file stops the build.
pub const fn arena_bytes(file: &[u8]) -> usize {
    match find_arena_bytes(file) {
        Some(bytes) => bytes as usize,
        None => panic!("not a Secateur model, or one without a memory plan"),
    }
}

const fn find_arena_bytes(file: &[u8]) -> Option<u32> {
    let mut i = 0;
    while i < MAGIC.len() {
        if file.len() <= i || file[i] != MAGIC[i] {
            return None;
        }
        i += 1;
    }
    let Some(count) = u32_at(file, 24) else { return None };
    let mut entry = 0;
    // The kinds ascend and the plan is the third: no need to look further.
    while entry < count && entry < Section::Plan as u32 {
        let at = HEADER_LEN + entry as usize * ENTRY_LEN;
        match (u32_at(file, at), u64_at(file, at + 8)) {
            (Some(kind), Some(offset)) if kind == Section::Plan as u32 => {
                return if offset < file.len() as u64 {
                    u32_at(file, offset as usize)
                } else {
                    None
                };
            }
            (Some(_), Some(_)) => entry += 1,
            _ => return None,
        }
    }
    None
}
