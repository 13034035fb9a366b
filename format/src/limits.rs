//! What a reader lets a file ask for.

/// Upper bounds that a file must respect, chosen by the caller, so that a small
/// hostile file cannot ask for gigabytes of memory, nor for minutes of
/// validation. Nothing here bounds the arithmetic of a run: shapes, and weights
/// that many nodes share, may ask for far more of it than the file's length suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest file, in bytes.
    pub file_bytes: u64,
    /// Most sections.
    pub sections: u32,
    /// Most values (graph inputs and nodes). Validation of the memory plan takes
    /// time quadratic in this number.
    pub values: u32,
    /// Most constant tensors.
    pub tensors: u32,
    /// Largest arena, in bytes.
    pub arena_bytes: u32,
}

impl Limits {
    /// For microcontrollers: 4 MiB files, 1 MiB arenas.
    pub const EMBEDDED: Self = Self {
        file_bytes: 4 << 20,
        sections: 16,
        values: 512,
        tensors: 1024,
        arena_bytes: 1 << 20,
    };
    /// For hosts: 4 GiB files, 1 GiB arenas.
    pub const HOST: Self = Self {
        file_bytes: 4 << 30,
        sections: 64,
        values: 8192,
        tensors: 16384,
        arena_bytes: 1 << 30,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::HOST
    }
}
