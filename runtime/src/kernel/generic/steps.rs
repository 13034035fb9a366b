//! Walking through the steps of strips, one strip after the other.

use crate::kernel::panel::{OFFSET_UNIT, Panel};

/// Couples whose offsets are read before they are needed.
///
/// Processors serve loads in program order as they become ready. An offset that is read where it is
/// used comes behind the loads of the couples before, and its own loads wait for it: on Zen 5
/// such kernels reach 1.3 multiply-adds a cycle, with offsets read so far ahead 1.7.
const AHEAD: usize = 4;
/// Words of a couple.
pub(super) const COUPLE: usize = 3;

/// An entry of a couple.
pub(super) struct Entry {
    pub(super) value: *const f32,
    /// Numbers from the start of the panel.
    pub(super) place: usize,
}

/// The steps of some strips.
pub(super) struct Steps<'t> {
    panel: &'t Panel<'t>,
    /// Words of a step.
    words: usize,
    step: *const u32,
    /// If they are couples: of the next ones.
    offsets: [u32; AHEAD],
}

// SAFETY of every block here: starts are ascending and inside the words of the strips, which have words for
// `AHEAD` couples behind the last step.
impl<'t> Steps<'t> {
    /// The steps of `words` words from the first strip on.
    ///
    /// # Safety
    /// There is a strip, and its steps have as many words.
    #[inline(always)]
    pub(super) unsafe fn new(panel: &'t Panel<'t>, words: usize) -> Self {
        let mut steps = Self {
            panel,
            words,
            step: core::ptr::null(),
            offsets: [0; AHEAD],
        };
        // SAFETY: see the impl.
        unsafe {
            steps.step = steps.end(0);
            for (i, offsets) in steps.offsets.iter_mut().enumerate() {
                *offsets = *steps.step.add(i * COUPLE);
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
            strips.words.as_ptr().add(self.words * steps)
        }
    }

    /// The next step.
    ///
    /// # Safety
    /// There is one, and no couple was read.
    #[inline(always)]
    pub(super) unsafe fn next(&mut self) -> *const u32 {
        let step = self.step;
        // SAFETY: see the impl.
        self.step = unsafe { step.add(self.words) };
        step
    }

    /// The next step, a couple.
    ///
    /// # Safety
    /// There is one, and all are couples.
    #[inline(always)]
    pub(super) unsafe fn couple(&mut self) -> [Entry; 2] {
        let [offsets, a, b, c] = self.offsets;
        // SAFETY: see the impl.
        unsafe {
            // Volatile: a compiler would move the load to where its result is used.
            self.offsets = [a, b, c, self.step.add(AHEAD * COUPLE).read_volatile()];
            let values: *const f32 = self.next().add(1).cast();
            let entry = |i: usize, offset: u32| Entry {
                value: values.add(i),
                place: offset as usize * OFFSET_UNIT,
            };
            [entry(0, offsets & 0xffff), entry(1, offsets >> 16)]
        }
    }
}
