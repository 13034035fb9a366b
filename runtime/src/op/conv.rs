//! Convolution: packs its input into phase planes where the plan grants the
//! memory, and runs as SpMM; directly on the input otherwise.

use secateur_format::Shape;
use secateur_format::chunks::{chunks, chunks_mut};
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

use super::Task;
use crate::RunError;
use crate::kernel::{Depthwise, DirectConv, Offsets, Problem, Run, Spmm};

/// The problem a convolution is run as, given the scratch memory it got.
pub(super) fn problem(conv: &Conv2d, input: Shape, scratch_bytes: u32) -> Problem {
    match ConvGeometry::new(conv, input) {
        Ok(geometry) if geometry.scratch_bytes(conv) == scratch_bytes => Problem::Spmm,
        _ => Problem::DirectConv,
    }
}

/// Whether each output channel reads one input channel of many.
pub(crate) fn is_depthwise(conv: &Conv2d, input: Shape) -> bool {
    conv.groups > 1 && input.chw().is_some_and(|(channels, ..)| channels == conv.groups)
}

pub(super) fn run(task: &mut Task<'_, '_>, conv: &Conv2d) -> Result<(), RunError> {
    let internal = task.internal();
    let (shape, x) = task.input_data()?;
    let geometry = ConvGeometry::new(conv, shape).map_err(|_| internal)?;
    let matrix = task.matrix(conv.weight)?;
    let bias = task.bias(conv.bias);
    let kernel = task.kernel()?;
    let y = &mut *task.memory.output;
    match kernel.run {
        Run::DirectConv(run) => run(
            &matrix,
            &mut DirectConv {
                conv,
                geometry: &geometry,
                bias,
                x,
                y,
            },
        ),
        Run::Depthwise(run) => run(
            &matrix,
            &mut Depthwise {
                conv,
                geometry: &geometry,
                bias,
                x,
                first: 0,
                y,
            },
        ),
        Run::Spmm(run) => {
            let scratch = &mut *task.memory.scratch;
            let (packed, table) = scratch.split_at_mut_checked(geometry.packed_elems()).ok_or(internal)?;
            let table: &mut [u32] = bytemuck::try_cast_slice_mut(table).map_err(|_| internal)?;
            let offsets = if table.is_empty() {
                Offsets::Stride(geometry.channel_stride())
            } else {
                fill_table(conv, &geometry, table);
                Offsets::Table(table)
            };
            if geometry.packs {
                pack(conv, &geometry, x, packed);
            }
            let mut spmm = Spmm {
                bias,
                activation: conv.activation,
                x: if geometry.packs { packed } else { x },
                offsets,
                group_rows: conv.out_channels.checked_div(conv.groups).unwrap_or(1).max(1) as usize,
                group_stride: geometry.group_channels as usize * geometry.channel_stride(),
                span: geometry.span(),
                line: geometry.row as usize,
                keep: geometry.output.2 as usize,
                y,
            };
            run(&matrix, &mut spmm);
        }
        _ => return Err(internal),
    }
    Ok(())
}

/// The offset of each weight column of a group; none for 1×1 kernels.
#[cfg(feature = "alloc")]
pub(crate) fn column_offsets(conv: &Conv2d, geometry: &ConvGeometry) -> alloc::vec::Vec<u32> {
    let mut table = alloc::vec![0; geometry.table_len(conv)];
    fill_table(conv, geometry, &mut table);
    table
}

/// Writes the offset of each weight column of a group.
fn fill_table(conv: &Conv2d, geometry: &ConvGeometry, table: &mut [u32]) {
    let stride = geometry.channel_stride();
    let [kh, kw] = conv.kernel.map(u32::from);
    let positions = (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx)));
    for ((ky, kx), offsets) in positions.zip(chunks_mut(table, geometry.group_channels as usize)) {
        let position = geometry.position_offset(conv, ky, kx);
        for (ci, offset) in offsets.iter_mut().enumerate() {
            *offset = (position + ci * stride) as u32;
        }
    }
}

/// Copies channels of the input into zero-padded phase planes.
pub(crate) fn pack(conv: &Conv2d, geometry: &ConvGeometry, x: &[f32], packed: &mut [f32]) {
    let ((_, h, w), row) = (geometry.input, geometry.row as usize);
    let channels = chunks(x, h as usize * w as usize);
    for (plane, target) in channels.zip(chunks_mut(packed, geometry.channel_stride())) {
        let phases = chunks_mut(target, geometry.plane_rows as usize * row);
        for (phase, target) in phases.enumerate() {
            let (phase_y, phase_x) = geometry.phase_origin(conv, phase);
            for (i, line) in chunks_mut(target, row).enumerate() {
                let y = i * usize::from(conv.stride[0]) + phase_y;
                let source = y
                    .checked_sub(usize::from(conv.pads[0]))
                    .and_then(|y| plane.get(y.checked_mul(w as usize)?..(y + 1).checked_mul(w as usize)?));
                pack_line(conv, source.unwrap_or(&[]), phase_x, line);
            }
        }
    }
}

/// Copies every stride-th element of an input line, zero where there is padding.
fn pack_line(conv: &Conv2d, source: &[f32], phase_x: usize, line: &mut [f32]) {
    let (stride, left) = (usize::from(conv.stride[1]).max(1), usize::from(conv.pads[1]));
    // Element `i` holds padded column `i · stride + phase_x`.
    let padding = left.saturating_sub(phase_x).div_ceil(stride).min(line.len());
    let first = (padding * stride + phase_x).saturating_sub(left);
    let (zeros, rest) = line.split_at_mut_checked(padding).unwrap_or((&mut [], &mut []));
    let source = source.get(first..).unwrap_or(&[]);
    let copied = source.len().div_ceil(stride).min(rest.len());
    let (rest, behind) = rest.split_at_mut_checked(copied).unwrap_or((&mut [], &mut []));
    zeros.fill(0.0);
    behind.fill(0.0);
    // The usual strides as constants: loops that the compiler turns into vectors.
    match stride {
        1 => rest.iter_mut().zip(source).for_each(|(to, from)| *to = *from),
        2 => {
            let (pairs, last) = source.as_chunks::<2>();
            let evens = pairs.iter().map(|[even, _]| even).chain(last);
            rest.iter_mut().zip(evens).for_each(|(to, from)| *to = *from);
        }
        _ => rest
            .iter_mut()
            .zip(source.iter().step_by(stride))
            .for_each(|(to, from)| *to = *from),
    }
}
