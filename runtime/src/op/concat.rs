//! Concatenation along an axis.

use secateur_format::chunks::{chunks, chunks_mut};

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
        let lines = chunks_mut(task.memory.output, joined).zip(chunks(x, len));
        for (target, source) in lines {
            target.iter_mut().skip(first).zip(source).for_each(|(y, x)| *y = *x);
        }
        first += len;
    }
    Ok(())
}
