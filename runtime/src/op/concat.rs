//! Concatenation along an axis.

use super::Task;
use crate::RunError;

pub(super) fn run(task: &mut Task<'_, '_>, axis: usize) -> Result<(), RunError> {
    let internal = task.internal();
    // Elements behind the axis are contiguous in every input.
    let joined: usize = task
        .output_shape()
        .dims()
        .iter()
        .skip(axis)
        .map(|&d| d as usize)
        .product();
    let mut first = 0;
    for id in task.inputs() {
        let input = task.read(id);
        let x = input.data.ok_or(internal)?;
        let len: usize = input.shape.dims().iter().skip(axis).map(|&d| d as usize).product();
        let lines = task
            .memory
            .output
            .chunks_exact_mut(joined.max(1))
            .zip(x.chunks_exact(len.max(1)));
        for (target, source) in lines {
            target.iter_mut().skip(first).zip(source).for_each(|(y, x)| *y = *x);
        }
        first += len;
    }
    Ok(())
}
