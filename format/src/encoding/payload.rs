//! Splits a payload into typed arrays.

use bytemuck::Pod;

use crate::bytes::first_nonzero;

/// Takes arrays off the front of a payload; each is followed by zero bytes up
/// to a multiple of four.
pub(crate) struct Payload<'a> {
    rest: &'a [u8],
    len: usize,
    dirty: Option<usize>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
            dirty: None,
        }
    }

    /// The next `len` elements, in place. `None` if there are fewer, or they are misaligned.
    pub(crate) fn array<T: Pod>(&mut self, len: usize) -> Option<&'a [T]> {
        let bytes = len.checked_mul(size_of::<T>())?;
        let (head, rest) = self.rest.split_at_checked(bytes)?;
        let (padding, rest) = rest.split_at_checked(bytes.next_multiple_of(4) - bytes)?;
        if let Some(at) = first_nonzero(padding) {
            self.dirty = self.dirty.or(Some(self.len - self.rest.len() + bytes + at));
        }
        self.rest = rest;
        bytemuck::try_cast_slice(head).ok()
    }

    /// Whether all padding was zero.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_none()
    }

    /// Offset of the first padding byte that was not zero.
    pub(crate) fn dirty_offset(&self) -> u64 {
        self.dirty.unwrap_or(0) as u64
    }
}
