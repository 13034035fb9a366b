//! Fully connected layers: SpMV for one token, SpMM for many.

use secateur_format::Shape;
use secateur_format::op::Linear;

use super::Task;
use crate::RunError;
use crate::kernel::{Offsets, Run, Spmm, Spmv};

/// Columns of the input: `[features]` has one, `[features, tokens]` many.
pub(crate) fn tokens(input: Shape) -> usize {
    match input.dims() {
        &[_, tokens] => tokens as usize,
        _ => 1,
    }
}

pub(super) fn run(task: &mut Task<'_, '_>, linear: &Linear) -> Result<(), RunError> {
    let (shape, x) = task.input_data()?;
    let matrix = task.matrix(linear.weight)?;
    let bias = task.bias(linear.bias);
    let activation = linear.activation;
    let kernel = task.kernel()?;
    let y = &mut *task.memory.output;
    match kernel.run {
        Run::Spmv(run) => run(&matrix, &mut Spmv { bias, activation, x, y }),
        Run::Spmm(run) => {
            let tokens = tokens(shape);
            let mut spmm = Spmm {
                bias,
                activation,
                x,
                offsets: Offsets::Stride(tokens),
                group_rows: (linear.out_features as usize).max(1),
                group_stride: 0,
                span: tokens,
                line: tokens,
                keep: tokens,
                y,
            };
            run(&matrix, &mut spmm);
        }
        _ => return Err(task.internal()),
    }
    Ok(())
}
