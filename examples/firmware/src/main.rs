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
use secateur_runtime::kernel::SCALAR_F32;
use secateur_runtime::{Aligned, Limits, Model, Session, arena_bytes, include_model};
use semihosting::process::ExitCode;

/// The model file, in flash.
static MODEL: &[u8] = include_model!(concat!(env!("OUT_DIR"), "/model.sct"));

/// A handwritten digit: 8 × 8 pixels from 0 to 16.
static DIGIT: &[u8; 64] = include_bytes!("../digit.bin");

/// Bytes of working memory for one inference, read off the model by the compiler.
const ARENA_BYTES: usize = arena_bytes(include_bytes!(concat!(env!("OUT_DIR"), "/model.sct")));

#[entry]
fn main() -> ! {
    // `entry` runs once, which lets it hand out this static as `&'static mut`.
    static mut ARENA: Aligned<[u8; ARENA_BYTES]> = Aligned([0; ARENA_BYTES]);

    Line::new("model").number(MODEL.len()).print();
    Line::new("arena").number(ARENA_BYTES).print();
    // Unknown to the optimiser, so that "no panic path" holds for any model, not just this one.
    let status = match run(black_box(MODEL), &mut ARENA.0) {
        Some(()) => ExitCode::SUCCESS,
        None => {
            Line::new("error").print();
            ExitCode::FAILURE
        }
    };
    Line::new("stack").number(stack::peak_bytes()).print();
    status.exit_process()
}

/// Classifies the digit and prints the bits of every logit; `None` if the model cannot be run.
fn run(model: &[u8], arena: &mut [u8]) -> Option<()> {
    let model = Model::read(model, &Limits::EMBEDDED).ok()?;
    let mut session = Session::with_kernels(&model, arena, SCALAR_F32).ok()?;
    let input = session.input_mut(0).ok()?;
    for (x, &pixel) in input.iter_mut().zip(DIGIT) {
        *x = f32::from(pixel) / 16.0;
    }
    session.run().ok()?;
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &logit) in session.output(0).ok()?.iter().enumerate() {
        Line::new("output").hex(logit.to_bits()).print();
        if logit > best.1 {
            best = (class, logit);
        }
    }
    Line::new("class").number(best.0).print();
    Some(())
}
