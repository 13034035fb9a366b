//! The container: header, section table, sections. Layout in `SPEC.md` §3.

pub mod reader;
#[cfg(feature = "alloc")]
pub mod writer;

mod crc;
mod host;
mod node;
mod sections;

pub use crc::crc32c;
pub use host::{PreprocessView, TunedNode, TuningView};
pub use sections::{Section, arena_bytes, section_name};

/// First eight bytes of every file: a byte that is no ASCII, the name, and line
/// ends that reveal a text-mode transfer.
pub const MAGIC: [u8; 8] = *b"\x89SCT\r\n\x1a\n";
/// Major format version: a reader refuses any other.
pub const MAJOR: u16 = 1;
/// Minor format version: additions that older readers may ignore.
pub const MINOR: u16 = 0;
/// Length of the header.
pub const HEADER_LEN: usize = 64;
/// Length of an entry of the section table.
pub const ENTRY_LEN: usize = 32;
/// Sections start at multiples of this many bytes; so many zero bytes follow
/// the last one, so that kernels may read past the end of an array.
pub const SECTION_ALIGN: usize = 64;
/// Payloads in the data section start at multiples of this many bytes.
pub const PAYLOAD_ALIGN: usize = 16;

/// Must-understand bit: weights in i8 with row scales occur.
pub const FEATURE_I8: u32 = 1;
/// All must-understand bits that this version knows.
pub const KNOWN_FEATURES: u32 = FEATURE_I8;
