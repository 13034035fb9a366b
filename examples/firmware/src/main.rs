//! One sparse model on a Cortex-M board: no heap, no allocation, no panic path.
//!
//! The model is part of the program, so it stays in flash and its tensors are read in place. All
//! working memory is one arena whose size is fixed here, so the linker says whether it fits.
#![no_std]
#![no_main]

mod faults;
mod panic;
mod report;
mod stack;

use core::hint::black_box;

use cortex_m_rt::entry;
use report::Line;
use semihosting::process::ExitCode;

/// Bytes of working memory for one inference.
const ARENA_BYTES: usize = 4096;

/// Storage as aligned as the runtime wants its model and its arena.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// The model file, in flash.
static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/model.sct")));

#[entry]
fn main() -> ! {
    // `entry` runs once, which lets it hand out this static as `&'static mut`.
    static mut ARENA: Aligned<[u8; ARENA_BYTES]> = Aligned([0; ARENA_BYTES]);

    Line::new("model").number(MODEL.0.len()).print();
    Line::new("arena").number(ARENA_BYTES).print();
    // Unknown to the optimiser, so that "no panic path" holds for any model, not just this one.
    let model = black_box(&MODEL.0);
    let status = match run(model, &mut ARENA.0) {
        Some(output) => {
            Line::new("output").hex(output).print();
            ExitCode::SUCCESS
        }
        None => {
            Line::new("error").print();
            ExitCode::FAILURE
        }
    };
    Line::new("stack").number(stack::peak_bytes()).print();
    status.exit_process()
}

/// Stand-in for a session run: copies the model through the arena and returns its CRC-32.
fn run(model: &[u8], arena: &mut [u8]) -> Option<u32> {
    let mut crc = u32::MAX;
    for chunk in model.chunks(ARENA_BYTES) {
        let copy = arena.get_mut(..chunk.len())?;
        copy.copy_from_slice(chunk);
        for &byte in &*copy {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            }
        }
    }
    Some(!crc)
}
