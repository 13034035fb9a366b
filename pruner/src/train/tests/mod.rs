//! Tests of the interpreter against central differences of the f64 reference, which shares no
//! code with it.

mod golden;
mod gradients;
mod support;
mod threads;
mod training;
