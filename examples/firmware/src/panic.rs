//! Turns a surviving panic into a link error.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: no such function exists, so a program that can get here does not link.
    unsafe extern "C" {
        safe fn secateur_firmware_has_a_panic_path() -> !;
    }
    secateur_firmware_has_a_panic_path()
}
