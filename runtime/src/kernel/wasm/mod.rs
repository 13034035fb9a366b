//! WebAssembly instruction sets.

pub(super) mod simd128;
