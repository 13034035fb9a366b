//! Walking through the steps of strips, one strip after the other.

use crate::kernel::panel::{OFFSET_UNIT, Panel, QUAD_BYTES};
use crate::kernel::vector::Vector;

/// Quads whose offsets are read before they are needed.
///
/// Processors serve loads in program order as they become ready. An offset that is read where it is
/// used comes behind the loads of the entries before, and its own loads wait for it: on Zen 5
/// such kernels reach 1.3 multiply-adds a cycle, with offsets read so far ahead 1.8.
const AHEAD: usize = 2;
/// Words of a quad.
const QUAD: usize = QUAD_BYTES / 4;
/// Bytes of an entry, a quarter of a quad.
pub(super) const ENTRY_BYTES: usize = QUAD_BYTES / 4;

/// The offsets of a quad, 16 bits each.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Offsets(u64);

/// The steps of some strips.
pub(super) struct Steps<'t> {
    panel: &'t Panel<'t>,
    /// Bytes of a step.
    bytes: usize,
    step: *const u32,
    /// If they are quads: of the next ones.
    offsets: [Offsets; AHEAD],
}

// SAFETY of every block here: starts are ascending and inside the words of the strips, which have words for
// `AHEAD` quads behind the last step.
impl<'t> Steps<'t> {
    /// The steps of `bytes` bytes from the first strip on.
    ///
    /// # Safety
    /// There is a strip, and its steps have as many bytes.
    #[inline(always)]
    pub(super) unsafe fn new(panel: &'t Panel<'t>, bytes: usize) -> Self {
        let mut steps = Self {
            panel,
            bytes,
            step: core::ptr::null(),
            offsets: [Offsets(0); AHEAD],
        };
        let strips = &panel.strips;
        // SAFETY: see the impl.
        unsafe {
            let first = *strips.starts.get_unchecked(0) as usize;
            // The end of the quad before may be empty.
            let first = first.next_multiple_of(strips.shape.together());
            steps.step = strips.words.as_ptr().byte_add(bytes * first);
            for (i, offsets) in steps.offsets.iter_mut().enumerate() {
                *offsets = steps.step.add(i * QUAD).cast::<Offsets>().read();
            }
        }
        steps
    }

    /// Where the next step lies.
    #[inline(always)]
    pub(super) fn at(&self) -> *const u32 {
        self.step
    }

    /// The end of the steps of `loops` loops, counted over all strips.
    ///
    /// # Safety
    /// There are as many loops.
    #[inline(always)]
    pub(super) unsafe fn end(&self, loops: usize) -> *const u32 {
        let strips = &self.panel.strips;
        // SAFETY: see the impl.
        unsafe {
            let steps = *strips.starts.get_unchecked(loops) as usize;
            strips.words.as_ptr().byte_add(self.bytes * steps)
        }
    }

    /// The next step.
    ///
    /// # Safety
    /// There is one, and no quad was read.
    #[inline(always)]
    pub(super) unsafe fn next(&mut self) -> *const u32 {
        let step = self.step;
        // SAFETY: see the impl.
        self.step = unsafe { step.byte_add(self.bytes) };
        step
    }

    /// Whether a whole quad comes before `end`. (A part of one is left to straight code behind the loop: fewer
    /// branches in each quad.)
    #[inline(always)]
    pub(super) fn has_quad(&self, end: *const u32) -> bool {
        self.step.wrapping_byte_add(3 * ENTRY_BYTES) < end
    }

    /// Entries before `end`.
    #[inline(always)]
    pub(super) fn left(&self, end: *const u32) -> usize {
        (end as usize).wrapping_sub(self.step as usize) / ENTRY_BYTES
    }

    /// The next quad: where its lines begin, and its values in all lanes. Of entries behind the end of its loop,
    /// neither means anything.
    ///
    /// # Safety
    /// There is one, and all steps are entries of quads; the CPU has the instruction set of `V`.
    #[inline(always)]
    pub(super) unsafe fn quad<V: Vector>(&mut self) -> ([*const f32; 4], [V; 4]) {
        // SAFETY: see the impl.
        unsafe {
            let lines = self.lines();
            let values = V::splat_four(self.step.add(2).cast());
            self.step = self.step.add(QUAD);
            (lines, values)
        }
    }

    /// Where the lines of the next quad begin.
    #[inline(always)]
    unsafe fn lines(&mut self) -> [*const f32; 4] {
        let [Offsets(offsets), next] = self.offsets;
        // SAFETY: see the impl.
        unsafe {
            // Volatile: a compiler would move the load to where its result is used.
            let ahead = self.step.add(AHEAD * QUAD).cast::<Offsets>().read_volatile();
            self.offsets = [next, ahead];
            let line = |i: usize| {
                let offset = (offsets >> (16 * i)) & 0xffff;
                self.panel.x.as_ptr().add(offset as usize * OFFSET_UNIT)
            };
            [line(0), line(1), line(2), line(3)]
        }
    }
}
