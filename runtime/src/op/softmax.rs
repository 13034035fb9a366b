//! Softmax along an axis, shifted by the maximum.

use secateur_format::chunks::chunks_mut;

use super::Task;
use crate::RunError;

pub(super) fn run(task: &mut Task<'_, '_>, axis: usize) -> Result<(), RunError> {
    let input = task.input()?;
    let output = &mut *task.memory.output;
    if let Some(x) = input.data {
        output.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
    }
    let dims = input.shape.dims();
    let inner: usize = dims.iter().skip(axis + 1).map(|&d| d as usize).product();
    let extent = dims.get(axis).copied().unwrap_or(1) as usize;
    for block in chunks_mut(output, extent * inner) {
        for first in 0..inner {
            let line = || block.iter().skip(first).step_by(inner.max(1));
            let max = line().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
            let mut sum = 0.0;
            for x in block.iter_mut().skip(first).step_by(inner.max(1)) {
                *x = libm::expf(*x - max);
                sum += *x;
            }
            block
                .iter_mut()
                .skip(first)
                .step_by(inner.max(1))
                .for_each(|x| *x /= sum);
        }
    }
    Ok(())
}
