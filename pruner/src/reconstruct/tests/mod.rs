//! Worked examples, golden errors of a plain NumPy implementation, and what must hold for any weights and inputs.

mod examples;
mod golden;
mod permutation;
mod properties;

use super::{METHODS, Method, Removal};
use crate::mask::Pattern;

const NM: Pattern = Pattern::Nm { n: 2, m: 4 };

fn unstructured(units: usize) -> Removal {
    let pattern = Pattern::Unstructured;
    Removal { pattern, units }
}

fn method(name: &str) -> &'static Method {
    METHODS.iter().find(|method| method.name == name).unwrap()
}
