//! Activations, sums and products; a reshape is the identity. The output may
//! have taken over the memory of an input.

use secateur_format::Activation;

use super::Task;
use crate::RunError;
use crate::kernel::{Combine, Map, Problem, Run, apply, weightless};

pub(super) fn activation(task: &mut Task<'_, '_>, activation: Activation) -> Result<(), RunError> {
    let x = task.input()?.data;
    // Nothing to do where the output already is the input.
    if x.is_some() || activation != Activation::Identity {
        map(task, Combine::First, activation, x, None);
    }
    Ok(())
}

pub(super) fn binary(task: &mut Task<'_, '_>, combine: Combine, activation: Activation) -> Result<(), RunError> {
    let mut inputs = task.inputs();
    let (Some(a), Some(b)) = (inputs.next(), inputs.next()) else {
        return Err(task.internal());
    };
    let (a, b) = (task.read(a).data, task.read(b).data);
    map(task, combine, activation, a, b);
    Ok(())
}

/// With the list's kernel, if it has one.
fn map(task: &mut Task<'_, '_>, combine: Combine, activation: Activation, a: Option<&[f32]>, b: Option<&[f32]>) {
    let y = &mut *task.memory.output;
    match weightless(task.kernels, Problem::Map).map(|kernel| kernel.run) {
        Some(Run::Map(run)) => run(&mut Map {
            combine,
            activation,
            a,
            b,
            y,
        }),
        _ => match combine {
            Combine::First => zip(y, a, None, |a, _| apply(activation, a)),
            Combine::Sum => zip(y, a, b, |a, b| apply(activation, a + b)),
            Combine::Product => zip(y, a, b, |a, b| apply(activation, a * b)),
        },
    }
}

/// One number at a time; `None` is what is in `y`.
fn zip(y: &mut [f32], a: Option<&[f32]>, b: Option<&[f32]>, combine: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        (Some(a), Some(b)) => y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = combine(a, b)),
        (None, Some(b)) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = combine(*y, b)),
        (Some(a), None) => y.iter_mut().zip(a).for_each(|(y, &a)| *y = combine(a, *y)),
        (None, None) => y.iter_mut().for_each(|y| *y = combine(*y, *y)),
    }
}
