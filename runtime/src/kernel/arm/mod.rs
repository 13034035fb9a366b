//! Arm instruction sets.

pub(super) mod neon;
