//! How much stack the program has used, read back from the paint that start-up left on it.

use core::ptr;

use cortex_m_rt::STACK_PAINT_VALUE;

// SAFETY: the linker script of cortex-m-rt defines both; only their addresses are used.
unsafe extern "C" {
    /// Lowest word of the stack, from the linker script.
    static _stack_end: u32;
    /// One past the highest word of the stack, from the linker script.
    static _stack_start: u32;
}

/// The most stack the program has used so far, in bytes.
pub(crate) fn peak_bytes() -> usize {
    let top = (&raw const _stack_start).addr();
    let mut word = (&raw const _stack_end).addr();
    while word < top {
        let at = ptr::with_exposed_provenance::<u32>(word);
        // SAFETY: the linker script sets aside `_stack_end.._stack_start`, aligned to words, for
        // the stack and nothing else. It is RAM, and a volatile read accepts whatever it holds.
        if unsafe { at.read_volatile() } != STACK_PAINT_VALUE {
            break;
        }
        word += size_of::<u32>();
    }
    top - word
}
