//! Chunks of a slice, without a division.
//!
//! `slice::chunks_exact` divides by the chunk length to know how many chunks
//! there are, and panics if that is zero. Firmware must link without any panic
//! path, at any optimisation level, on cores that have no divider.

/// Iterator over chunks of a fixed length; what is left over is not visited,
/// nor is anything if the length is zero.
#[derive(Clone, Debug)]
pub struct Chunks<'a, T> {
    rest: &'a [T],
    len: usize,
}

/// Chunks of `len` elements of `items`.
#[inline(always)]
pub fn chunks<T>(items: &[T], len: usize) -> Chunks<'_, T> {
    Chunks {
        rest: if len == 0 { &[] } else { items },
        len,
    }
}

impl<'a, T> Iterator for Chunks<'a, T> {
    type Item = &'a [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [T]> {
        if self.rest.is_empty() {
            return None;
        }
        let (head, rest) = self.rest.split_at_checked(self.len)?;
        self.rest = rest;
        Some(head)
    }
}

/// As [`Chunks`], mutable.
#[derive(Debug)]
pub struct ChunksMut<'a, T> {
    rest: &'a mut [T],
    len: usize,
}

/// Mutable chunks of `len` elements of `items`.
#[inline(always)]
pub fn chunks_mut<T>(items: &mut [T], len: usize) -> ChunksMut<'_, T> {
    ChunksMut {
        rest: if len == 0 { &mut [] } else { items },
        len,
    }
}

impl<'a, T> Iterator for ChunksMut<'a, T> {
    type Item = &'a mut [T];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a mut [T]> {
        let rest = core::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        let (head, rest) = rest.split_at_mut_checked(self.len)?;
        self.rest = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_as_chunks_exact() {
        let items: [u8; 7] = core::array::from_fn(|i| i as u8);
        for len in 1..9 {
            assert!(chunks(&items, len).eq(items.chunks_exact(len)));
            assert!(chunks_mut(&mut items.clone(), len).eq(items.clone().chunks_exact_mut(len)));
        }
        assert_eq!(chunks(&items, 0).count() + chunks_mut(&mut items.clone(), 0).count(), 0);
    }
}
