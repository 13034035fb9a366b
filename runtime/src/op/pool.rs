//! Maximum, average and global average pooling.

use secateur_format::chunks::{chunks, chunks_mut};
use secateur_format::op::{Pool, PoolKind};

use super::Task;
use crate::RunError;

/// Input indices `start..end` of window `out` along one axis.
fn window(out: usize, kernel: u16, stride: u16, pad: u16, extent: usize) -> (usize, usize) {
    let first = out * usize::from(stride);
    let end = (first + usize::from(kernel))
        .saturating_sub(usize::from(pad))
        .min(extent);
    (first.saturating_sub(usize::from(pad)), end)
}

pub(super) fn run(task: &mut Task<'_, '_>, pool: &Pool) -> Result<(), RunError> {
    let internal = task.internal();
    let (shape, x) = task.input_data()?;
    let ((_, h, w), (_, out_h, out_w)) = (shape.chw().ok_or(internal)?, task.output_shape().chw().ok_or(internal)?);
    let (h, w, out_w) = (h as usize, w as usize, out_w as usize);
    let [top, left, ..] = pool.pads;
    let planes = chunks(x, h * w);
    let outputs = chunks_mut(task.memory.output, out_h as usize * out_w);
    for (plane, output) in planes.zip(outputs) {
        for (oy, line) in chunks_mut(output, out_w).enumerate() {
            let rows = window(oy, pool.kernel[0], pool.stride[0], top, h);
            for (ox, slot) in line.iter_mut().enumerate() {
                let cols = window(ox, pool.kernel[1], pool.stride[1], left, w);
                let lines = chunks(plane, w).take(rows.1).skip(rows.0);
                let inside = lines.flat_map(|line| line.get(cols.0..cols.1).unwrap_or(&[]));
                *slot = match pool.kind {
                    PoolKind::Max => {
                        inside.fold(f32::NEG_INFINITY, |max, &x| if x > max || x.is_nan() { x } else { max })
                    }
                    PoolKind::Average => {
                        let count = rows.1.saturating_sub(rows.0) * cols.1.saturating_sub(cols.0);
                        inside.sum::<f32>() / count.max(1) as f32
                    }
                    PoolKind::AverageWithPadding => {
                        inside.sum::<f32>() / (f32::from(pool.kernel[0]) * f32::from(pool.kernel[1]))
                    }
                };
            }
        }
    }
    Ok(())
}

pub(super) fn global_average(task: &mut Task<'_, '_>) -> Result<(), RunError> {
    let (shape, x) = task.input_data()?;
    let plane: usize = shape.dims().iter().skip(1).map(|&d| d as usize).product();
    for (slot, plane) in task.memory.output.iter_mut().zip(chunks(x, plane)) {
        *slot = plane.iter().sum::<f32>() / plane.len() as f32;
    }
    Ok(())
}
