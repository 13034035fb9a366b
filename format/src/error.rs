//! One flat, `Copy` error: where in the file, and what is wrong there.

use core::fmt;

use crate::ShapeError;

/// Why a file was refused: the place and the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Where in the file.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

impl FormatError {
    pub(crate) const fn new(place: Place, problem: Problem) -> Self {
        Self { place, problem }
    }
}

/// A place in a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The file as a whole.
    File,
    /// The 64-byte header.
    Header,
    /// An entry of the section table.
    SectionEntry(u32),
    /// A section, by its kind number (SPEC.md §3).
    Section(u32),
    /// A value of the graph.
    Value(u32),
    /// A node of the graph.
    Node(u32),
    /// A constant tensor.
    Tensor(u32),
    /// A row (or block row) of a constant tensor.
    TensorRow {
        /// The tensor.
        tensor: u32,
        /// The row, counted in rows of the encoding (block rows for `block`).
        row: u32,
    },
    /// The memory plan of a value.
    PlanValue(u32),
    /// The scratch memory of a node.
    PlanNode(u32),
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes do not begin with the magic number.
    Magic,
    /// The bytes do not start at a multiple of [`crate::MODEL_ALIGN`] in memory.
    Misaligned,
    /// The major version is not the one this reader knows.
    Version {
        /// The file's major version.
        found: u16,
    },
    /// Must-understand feature bits that this reader does not know.
    Features {
        /// The unknown bits.
        unknown: u32,
    },
    /// A checksum (CRC-32C) does not match.
    Crc {
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Fewer bytes than announced.
    Truncated {
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        found: u64,
    },
    /// A length is not what the rest of the file implies.
    Length {
        /// The length implied.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// An offset is not what the layout rules imply (order, alignment, no gap, no overlap).
    Offset {
        /// The offset implied.
        expected: u64,
        /// The offset found.
        found: u64,
    },
    /// A limit given by the caller is exceeded.
    Limit {
        /// The limit.
        limit: u64,
        /// What the file asks for.
        found: u64,
    },
    /// A byte that must be zero (reserved or padding) is not.
    NotZero {
        /// Offset of the byte within the place.
        offset: u64,
    },
    /// A required section is missing.
    MissingSection {
        /// Its kind number.
        kind: u32,
    },
    /// A section kind occurs twice.
    DuplicateSection,
    /// A section that must be understood has an unknown kind.
    UnknownSection,
    /// An operator, activation, encoding or value type code is unknown.
    Code {
        /// The code.
        found: u32,
    },
    /// An index is not greater than the one before.
    NotAscending {
        /// The index.
        found: u32,
    },
    /// An index points outside its table, or at a value that does not exist yet.
    Index {
        /// The first invalid index.
        bound: u32,
        /// The index found.
        found: u32,
    },
    /// Shapes that do not fit the operator.
    Shape(ShapeError),
    /// A constant has other dimensions than its operator needs.
    TensorShape {
        /// Rows and columns needed.
        expected: (u32, u32),
        /// Rows and columns found.
        found: (u32, u32),
    },
    /// An encoding's parameters are out of range or do not divide the matrix.
    Encoding,
    /// Counts contradict each other: of stored weights (row starts, window
    /// counts, mask bits), names, or preprocessing numbers and channels.
    Count {
        /// The count implied.
        expected: u32,
        /// The count found.
        found: u32,
    },
    /// Column indices are not strictly ascending, or reach past the last column.
    Columns,
    /// A number that must be finite (in preprocessing, scale and std non-zero too) is not.
    NotFinite,
    /// Two values that live at the same time overlap in the arena.
    Overlap {
        /// The other value.
        with: u32,
    },
    /// Text that is not UTF-8.
    Utf8,
}

impl From<ShapeError> for Problem {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Header => f.write_str("header"),
            Self::SectionEntry(i) => write!(f, "section table entry {i}"),
            Self::Section(kind) => {
                write!(f, "section {} ({kind})", crate::container::section_name(*kind))
            }
            Self::Value(i) => write!(f, "value {i}"),
            Self::Node(i) => write!(f, "node {i}"),
            Self::Tensor(i) => write!(f, "tensor {i}"),
            Self::TensorRow { tensor, row } => write!(f, "tensor {tensor}, row {row}"),
            Self::PlanValue(i) => write!(f, "memory plan of value {i}"),
            Self::PlanNode(i) => write!(f, "memory plan of node {i}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a Secateur model (wrong magic number)"),
            Self::Misaligned => write!(
                f,
                "the bytes must start at a multiple of {} in memory (use include_model! or a memory map)",
                crate::MODEL_ALIGN
            ),
            Self::Version { found } => write!(
                f,
                "format version {found} is not supported (this reader knows {})",
                crate::container::MAJOR
            ),
            Self::Features { unknown } => {
                write!(f, "needs features this reader does not know (bits {unknown:#x})")
            }
            Self::Crc { stored, computed } => {
                write!(f, "damaged: checksum {computed:#010x}, stored {stored:#010x}")
            }
            Self::Truncated { needed, found } => write!(f, "truncated: {needed} bytes needed, {found} there"),
            Self::Length { expected, found } => write!(f, "length {found}, expected {expected}"),
            Self::Offset { expected, found } => write!(f, "offset {found}, expected {expected}"),
            Self::Limit { limit, found } => write!(f, "asks for {found}, the caller's limit is {limit}"),
            Self::NotZero { offset } => write!(f, "byte {offset} must be zero"),
            Self::MissingSection { kind } => {
                write!(f, "section {} is missing", crate::container::section_name(*kind))
            }
            Self::DuplicateSection => f.write_str("the section occurs twice"),
            Self::UnknownSection => f.write_str("an unknown section that must be understood"),
            Self::Code { found } => write!(f, "unknown code {found}"),
            Self::NotAscending { found } => write!(f, "index {found} does not ascend"),
            Self::Index { bound, found } => write!(f, "index {found} is not below {bound}"),
            Self::Shape(error) => error.fmt(f),
            Self::TensorShape { expected, found } => write!(
                f,
                "constant is {}x{}, the operator needs {}x{}",
                found.0, found.1, expected.0, expected.1
            ),
            Self::Encoding => f.write_str("encoding parameters are out of range or do not divide the matrix"),
            Self::Count { expected, found } => write!(f, "count {found}, expected {expected}"),
            Self::Columns => f.write_str("columns are not strictly ascending within the matrix"),
            Self::NotFinite => f.write_str("a number is not finite, or is a scale or std of zero"),
            Self::Overlap { with } => write!(f, "overlaps value {with}, which lives at the same time"),
            Self::Utf8 => f.write_str("text is not UTF-8"),
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl core::error::Error for FormatError {}
