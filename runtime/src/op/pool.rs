//! Maximum, average and global average pooling.

use secateur_format::chunks::{chunks, chunks_mut};
use secateur_format::op::{Pool, PoolKind};

use super::Task;
use crate::RunError;
use crate::kernel::{Pooling, Problem, Run, weightless};

pub(super) fn run(task: &mut Task<'_, '_>, pool: &Pool) -> Result<(), RunError> {
    let internal = task.internal();
    let (shape, x) = task.input_data()?;
    let ((_, h, w), (_, out_h, out_w)) = (shape.chw().ok_or(internal)?, task.output_shape().chw().ok_or(internal)?);
    let [top, left, ..] = pool.pads;
    let mut pooling = Pooling {
        kind: pool.kind,
        kernel: pool.kernel.map(usize::from),
        stride: pool.stride.map(usize::from),
        pads: [top, left].map(usize::from),
        input: [h, w].map(|extent| extent as usize),
        output: [out_h, out_w].map(|extent| extent as usize),
        x,
        y: &mut *task.memory.output,
    };
    match weightless(task.kernels, Problem::Pool).map(|kernel| kernel.run) {
        Some(Run::Pool(run)) => run(&mut pooling),
        _ => plain(&mut pooling),
    }
    Ok(())
}

pub(super) fn global_average(task: &mut Task<'_, '_>) -> Result<(), RunError> {
    let (shape, x) = task.input_data()?;
    let plane: usize = shape.dims().iter().skip(1).map(|&d| d as usize).product();
    let y = &mut *task.memory.output;
    match weightless(task.kernels, Problem::Pool).map(|kernel| kernel.run) {
        // A plane is a line that one window covers.
        Some(Run::Pool(run)) => run(&mut Pooling {
            kind: PoolKind::Average,
            kernel: [1, plane],
            stride: [1, 1],
            pads: [0, 0],
            input: [1, plane],
            output: [1, 1],
            x,
            y,
        }),
        _ => {
            for (slot, plane) in y.iter_mut().zip(chunks(x, plane)) {
                *slot = plane.iter().sum::<f32>() / plane.len() as f32;
            }
        }
    }
    Ok(())
}

/// One window at a time.
fn plain(task: &mut Pooling<'_>) {
    let ([h, w], [out_h, out_w], [kh, kw]) = (task.input, task.output, task.kernel);
    let planes = chunks(task.x, h * w);
    let outputs = chunks_mut(task.y, out_h * out_w);
    for (plane, output) in planes.zip(outputs) {
        for (oy, line) in chunks_mut(output, out_w).enumerate() {
            let [vertical, horizontal] = task.stride;
            let [top, left] = task.pads;
            let rows = window(oy, kh, vertical, top, h);
            for (ox, slot) in line.iter_mut().enumerate() {
                let cols = window(ox, kw, horizontal, left, w);
                let lines = chunks(plane, w).take(rows.1).skip(rows.0);
                let inside = lines.flat_map(|line| line.get(cols.0..cols.1).unwrap_or(&[]));
                *slot = match task.kind {
                    PoolKind::Max => {
                        inside.fold(f32::NEG_INFINITY, |max, &x| if x > max || x.is_nan() { x } else { max })
                    }
                    PoolKind::Average => {
                        let count = rows.1.saturating_sub(rows.0) * cols.1.saturating_sub(cols.0);
                        inside.sum::<f32>() / count.max(1) as f32
                    }
                    PoolKind::AverageWithPadding => inside.sum::<f32>() / (kh as f32 * kw as f32),
                };
            }
        }
    }
}

/// Input indices `start..end` of window `out` along one axis.
fn window(out: usize, kernel: usize, stride: usize, pad: usize, extent: usize) -> (usize, usize) {
    let first = out * stride;
    let end = (first + kernel).saturating_sub(pad).min(extent);
    (first.saturating_sub(pad), end)
}
