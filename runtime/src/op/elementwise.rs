//! Activations, sums and products; a reshape is the identity. The output may
//! have taken over the memory of an input.

use secateur_format::Activation;

use super::Task;
use crate::RunError;
use crate::kernel::apply;

pub(super) fn activation(task: &mut Task<'_, '_>, activation: Activation) -> Result<(), RunError> {
    let input = task.input()?;
    let output = &mut *task.memory.output;
    match input.data {
        Some(x) => output.iter_mut().zip(x).for_each(|(y, &x)| *y = apply(activation, x)),
        None if activation == Activation::Identity => {}
        None => output.iter_mut().for_each(|y| *y = apply(activation, *y)),
    }
    Ok(())
}

pub(super) fn binary(
    task: &mut Task<'_, '_>,
    activation: Activation,
    combine: impl Fn(f32, f32) -> f32,
) -> Result<(), RunError> {
    let mut inputs = task.inputs();
    let (Some(a), Some(b)) = (inputs.next(), inputs.next()) else {
        return Err(task.internal());
    };
    let (a, b) = (task.read(a).data, task.read(b).data);
    let output = &mut *task.memory.output;
    let combine = |a, b| apply(activation, combine(a, b));
    match (a, b) {
        (Some(a), Some(b)) => output
            .iter_mut()
            .zip(a)
            .zip(b)
            .for_each(|((y, &a), &b)| *y = combine(a, b)),
        (None, Some(b)) => output.iter_mut().zip(b).for_each(|(y, &b)| *y = combine(*y, b)),
        (Some(a), None) => output.iter_mut().zip(a).for_each(|(y, &a)| *y = combine(a, *y)),
        (None, None) => output.iter_mut().for_each(|y| *y = combine(*y, *y)),
    }
    Ok(())
}
