//! Checked little-endian reads. Every multi-byte field of the file goes through here.

/// The `N` bytes at `offset`.
const fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    match bytes.split_at_checked(offset) {
        Some((_, rest)) => rest.first_chunk().copied(),
        None => None,
    }
}

pub(crate) const fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    match array_at(bytes, offset) {
        Some(b) => Some(u16::from_le_bytes(b)),
        None => None,
    }
}

pub(crate) const fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    match array_at(bytes, offset) {
        Some(b) => Some(u32::from_le_bytes(b)),
        None => None,
    }
}

pub(crate) const fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    match array_at(bytes, offset) {
        Some(b) => Some(u64::from_le_bytes(b)),
        None => None,
    }
}

/// Reads fields one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        u16_at(self.take(2)?, 0)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        u32_at(self.take(4)?, 0)
    }

    pub(crate) fn f32(&mut self) -> Option<f32> {
        self.u32().map(f32::from_bits)
    }

    pub(crate) fn array<T: Copy + Default, const N: usize>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<[T; N]> {
        let mut out = [T::default(); N];
        for slot in &mut out {
            *slot = read(self)?;
        }
        Some(out)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Offset of the first byte that is not zero.
pub(crate) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b != 0)
}
