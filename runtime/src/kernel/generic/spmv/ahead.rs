//! Memory that is asked for before it is needed.

use crate::kernel::vector::Vector;

/// Bytes that memory is asked for at a time.
const LINE: usize = 64;

/// A place in memory that moves on as something is read elsewhere.
///
/// It moves on evenly and in order, whatever the order of the reads: processors join in with
/// requests of their own where lines follow each other, and have fewer places for requests of
/// programs than it takes to use their memory fully.
#[derive(Clone, Copy)]
pub(super) struct Ahead(*const u8);

impl Ahead {
    /// Starts with the element `index` of a slice, which need not have it.
    #[inline(always)]
    pub(super) fn of<T>(slice: &[T], index: usize) -> Self {
        Self(slice.as_ptr().wrapping_add(index).cast())
    }

    /// Starts `bytes` behind `p`.
    #[cfg(feature = "alloc")]
    #[inline(always)]
    pub(super) fn from<T>(p: *const T, bytes: usize) -> Self {
        Self(p.cast::<u8>().wrapping_add(bytes))
    }

    /// Asks for the next `bytes`.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn pass<V: Vector>(&mut self, bytes: usize) {
        for at in (0..bytes).step_by(LINE) {
            // SAFETY: the caller's promise.
            unsafe { V::prefetch(self.0.wrapping_add(at)) }
        }
        self.0 = self.0.wrapping_add(bytes);
    }
}
