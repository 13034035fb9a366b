//! One product with repacked weights.

use alloc::vec::Vec;
use core::ops::Range;

use secateur_format::Activation;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

use super::columns::PanelColumns;
use super::select::Task;
use super::threads::Threads;
use crate::kernel::panel::{Finish, Output, Pack, Panel, PanelKernel, Planes, Residual, Shape, Strips, Taps};
use crate::kernel::{Kernel, Offsets, Run};

/// How a product is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Most vectors of a panel.
    pub vectors: usize,
    /// Weight columns of a window.
    pub window: usize,
}

/// A matrix prepared for one panel kernel and one form of input.
#[derive(Debug)]
pub struct Layer {
    kernel: &'static Kernel,
    panel: PanelKernel,
    tiling: Tiling,
    groups: Vec<Strips>,
    panels: Vec<PanelColumns>,
    columns: usize,
    stride: usize,
    /// Sums of a row of a panel.
    sums: usize,
    /// Panels that are packed together, so that weights that do not fit the
    /// cache are read once for all of them.
    batch: usize,
    /// Blocks of rows that run through all windows before the next one does, so that the sums between windows
    /// stay in the second-level cache.
    blocks: usize,
    split: Split,
    /// Multiply-adds of a vector.
    steps: usize,
    /// Distance of two pixels in the input.
    step: usize,
    /// Of a direct kernel: distance of two channels in the input.
    channel_stride: Option<usize>,
}

/// What a line of a panel is.
#[derive(Clone, Copy)]
enum Cut {
    /// The columns of one weight column, so many numbers apart.
    Lines(usize),
    /// The planes of one channel, for strips of that shape.
    Planes(Shape, Taps, Planes),
}

/// What threads divide among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Rows,
    Columns,
}

/// The greatest size of parts, at most `most`, of which `total` makes a multiple of `threads`.
fn shared(total: usize, most: usize, threads: usize) -> usize {
    let parts = total.div_ceil(most.max(1)).next_multiple_of(threads.max(1));
    total.div_ceil(parts.max(1)).max(1)
}

/// Whether no thread has more than a tenth above its share of the columns.
fn is_even(panels: &[PanelColumns], threads: usize) -> bool {
    let columns = |panels: &[PanelColumns]| panels.iter().map(|panel| panel.columns).sum::<usize>();
    let all = columns(panels);
    (0..threads).all(|thread| {
        let share = panels.get(share(panels.len(), thread, threads)).map_or(0, columns);
        10 * threads * share <= 11 * all
    })
}

/// What a thread of `threads` has of `count` things.
fn share(count: usize, thread: usize, threads: usize) -> Range<usize> {
    count * thread / threads..count * (thread + 1) / threads
}

/// What a layer is run on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'t> {
    /// The input, padded where the layer needs it.
    pub x: &'t [f32],
    /// Where the run of each weight column starts.
    pub offsets: Offsets<'t>,
    /// Distance of two groups in `x`.
    pub group_stride: usize,
    /// One number per row, or none.
    pub bias: Option<&'t [f32]>,
    /// Added to the result, element by element.
    pub residual: Residual<'t>,
    /// Applied last.
    pub activation: Activation,
}

/// Packed panels that are used together fit this many bytes: a share of the
/// second-level cache.
const BATCH_BYTES: usize = 256 << 10;
/// So do their sums between windows, except those of a single panel.
const KEPT_BYTES: usize = 200 << 10;
/// Weights that are used for several panels in a row: another share.
const CHUNK_BYTES: usize = 256 << 10;
/// Sums of a block of rows between windows: another share.
const PARTIAL_BYTES: usize = 400 << 10;
/// Rows that are worth packing panels for once more.
const LEAST_BLOCK: usize = 512;

impl Layer {
    /// Repacks the weights of `task` for `kernel`; `None` if that is not a panel kernel, or
    /// a direct one and the task no convolution it can run.
    pub fn new(kernel: &'static Kernel, task: &Task<'_>, tiling: Tiling, threads: usize) -> Option<Self> {
        let Run::Panel(panel) = kernel.run else { return None };
        let vectors = tiling.vectors.clamp(1, panel.vectors);
        let cut = |threads: usize| match panel.shape {
            shape @ Shape::Direct { .. } => {
                let taps = task.taps?;
                let one = Planes::new(&taps, task.lines.keep, 1, panel.lanes);
                let most = one.lines_of(vectors.min(panel.vectors_for(&one)));
                let most = shared(task.lines.lines, Some(most).filter(|&lines| lines > 0)?, threads);
                // A plane may be larger than offsets reach.
                let longest = panel.shape.most_cols(1);
                let (bands, planes) = task.lines.bands(most, &taps, panel.lanes, longest)?;
                Some((bands, Cut::Planes(shape, taps, planes)))
            }
            _ => {
                let dense = matches!(panel.shape, Shape::Dense { .. });
                let vectors = shared(task.lines.vectors(panel.lanes, dense).0, vectors, threads);
                let panels = task.lines.panels(panel.lanes, vectors, dense);
                let widest = panels.iter().map(|p| p.columns).max()?;
                Some((panels, Cut::Lines(widest.next_multiple_of(panel.lanes))))
            }
        };
        // Threads that share columns pack only their own; but few panels cannot be shared out evenly.
        let (split, (panels, cut)) = match Some(cut(threads)?).filter(|(panels, _)| is_even(panels, threads)) {
            Some(by_columns) => (Split::Columns, by_columns),
            None => (Split::Rows, cut(1)?),
        };
        let (stride, sums, step, cols) = match cut {
            Cut::Lines(stride) => (stride, stride, task.lines.step, task.rows.cols()),
            Cut::Planes(_, taps, planes) => {
                let lines = panels.iter().map(|panel| panel.columns / planes.keep.max(1)).max()?;
                let sums = planes.vectors_of(lines) * panel.lanes;
                (planes.plane, sums, taps.stride[1], taps.channels)
            }
        };
        let window = Strips::window(panel.shape, cols, tiling.window, stride);
        let panel_bytes = 4 * panel.panel_len(window, stride);
        let per_group = task.rows.len().checked_div(task.groups)?;
        let kept = match window < cols {
            true => (4 * per_group * sums).max(1),
            false => 1,
        };
        let batch = (BATCH_BYTES / panel_bytes)
            .min(KEPT_BYTES / kept)
            .clamp(1, panels.len());
        let blocks = match window < cols {
            true => (4 * per_group * sums * batch)
                .div_ceil(PARTIAL_BYTES)
                .min(per_group / LEAST_BLOCK)
                .max(1),
            false => 1,
        };
        let parts = match split {
            Split::Rows => threads * blocks,
            Split::Columns => blocks,
        };
        let groups: Vec<Strips> = (0..task.groups)
            .map(|g| task.rows.range(g * per_group, (g + 1) * per_group))
            .map(|rows| match cut {
                Cut::Lines(stride) => Strips::new(&rows, panel.shape, tiling.window, stride, parts),
                Cut::Planes(shape, taps, planes) => Strips::direct(&rows, shape, &taps, planes, tiling.window, parts),
            })
            .collect();
        Some(Self {
            kernel,
            panel,
            tiling,
            groups,
            panels,
            columns: task.lines.columns(),
            stride,
            sums,
            batch,
            blocks,
            split,
            steps: match panel.shape {
                Shape::Dense { .. } => task.rows.len() * task.rows.cols(),
                _ => task.rows.nnz(),
            } * task.lines.columns().div_ceil(panel.lanes),
            step,
            channel_stride: match cut {
                Cut::Planes(_, taps, _) => Some(taps.input.iter().product()),
                Cut::Lines(_) => None,
            },
        })
    }

    /// The kernel.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Whether the layer pads its input itself.
    pub fn pads(&self) -> bool {
        self.channel_stride.is_some()
    }

    /// Copies the input into zero-padded phase planes, for a layer that does not pad.
    pub(super) fn pad(
        &self,
        conv: &Conv2d,
        geometry: &ConvGeometry,
        x: &[f32],
        packed: &mut [f32],
        threads: &mut Threads,
    ) {
        let plane = geometry.input.1 as usize * geometry.input.2 as usize;
        let count = threads.worth(self.steps);
        threads.split(count, packed, geometry.channel_stride(), |first, part| {
            self.panel
                .pad(conv, geometry, x.get(first * plane..).unwrap_or(&[]), part);
        });
    }

    /// How the product is cut up.
    pub fn tiling(&self) -> Tiling {
        self.tiling
    }

    /// Bytes of the repacked weights.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(Strips::bytes).sum()
    }

    /// Numbers of one panel buffer.
    fn panel_len(&self) -> usize {
        let cols = self.groups.first().map_or(0, |strips| strips.window_cols(0).1);
        // Whole cache lines, so that all panels are aligned.
        self.panel.panel_len(cols, self.stride).next_multiple_of(16)
    }

    /// Bytes of scratch memory per thread: panels, and sums between windows.
    pub fn scratch_bytes(&self) -> usize {
        let rows = self.groups.first().map_or(0, |strips| match strips.windows() {
            1 => 0,
            _ => strips.rows(),
        });
        4 * self.batch * (self.panel_len() + rows * self.sums)
    }

    /// Runs the layer: `y` is the output, row after row.
    pub fn run(&self, input: &Input<'_>, y: &mut [f32], threads: &mut Threads) {
        let y = Output::new(y, self.columns);
        let (count, parts) = (
            threads.worth(self.steps),
            self.groups.first().map_or(0, Strips::part_count),
        );
        threads.run(count, |thread, scratch| {
            // There may be more threads, or fewer, than the layer was made for.
            let (panels, parts) = match self.split {
                Split::Columns => (share(self.panels.len(), thread, count), 0..parts),
                Split::Rows => (0..self.panels.len(), share(parts, thread, count)),
            };
            self.run_part(input, &y, scratch, panels, parts);
        });
    }

    /// The given panels and parts of rows.
    fn run_part(
        &self,
        input: &Input<'_>,
        y: &Output<'_>,
        scratch: &mut [f32],
        panels: Range<usize>,
        parts: Range<usize>,
    ) {
        let Some(panels) = self.panels.get(panels) else { return };
        let mut row = 0;
        for (group, strips) in self.groups.iter().enumerate() {
            let place = Place {
                input,
                base: group
                    * self
                        .channel_stride
                        .map_or(input.group_stride, |stride| stride * strips.cols()),
                bias: input.bias.and_then(|bias| bias.get(row..)),
                residual: match input.residual {
                    Residual::At(residual) => Residual::At(residual.get(row * self.columns..).unwrap_or(&[])),
                    other => other,
                },
                y: y.starting_at(row),
            };
            let block = strips.part_count().div_ceil(self.blocks.max(1)).max(1);
            for batch in panels.chunks(self.batch) {
                for first in parts.clone().step_by(block) {
                    for window in 0..strips.windows() {
                        let parts = first..(first + block).min(parts.end);
                        self.run_window(strips, window, batch, parts, &place, scratch);
                    }
                }
            }
            row += strips.rows();
        }
    }

    fn run_window(
        &self,
        strips: &Strips,
        window: usize,
        batch: &[PanelColumns],
        parts: Range<usize>,
        place: &Place<'_>,
        scratch: &mut [f32],
    ) {
        let (first, cols) = strips.window_cols(window);
        let input = place.input;
        let (buffers, partial) = scratch.split_at_mut(self.batch * self.panel_len());
        for (panel, buffer) in batch.iter().zip(buffers.chunks_exact_mut(self.panel_len().max(1))) {
            let pack = Pack {
                x: input.x,
                base: place.base,
                offsets: self.channel_stride.map_or(input.offsets, Offsets::Stride),
                first,
                cols,
                segments: &panel.segments,
                step: self.step,
                line: strips.line(),
                stride: self.stride,
            };
            self.panel.pack(&pack, buffer);
        }
        let last = window + 1 == strips.windows();
        let finish = last.then_some(Finish {
            residual: place.residual,
            activation: input.activation,
        });
        let partial = Output::new(partial, self.sums);
        for chunk in parts.flat_map(|part| strips.part(window, part, CHUNK_BYTES)) {
            for (i, (panel, buffer)) in batch
                .iter()
                .zip(buffers.chunks_exact(self.panel_len().max(1)))
                .enumerate()
            {
                let panel = Panel {
                    strips: chunk,
                    x: buffer,
                    column: panel.column,
                    columns: panel.columns,
                    bias: place.bias,
                    partial: partial.starting_at(i * strips.rows()),
                    first: window == 0,
                    finish,
                };
                // SAFETY: threads have scratch memory of their own, and different panels or
                // different parts, and each row of a group is in one part.
                unsafe { self.panel.run(&panel, &place.y) }
            }
        }
    }
}

/// One group's share of the operands.
struct Place<'t> {
    input: &'t Input<'t>,
    base: usize,
    bias: Option<&'t [f32]>,
    residual: Residual<'t>,
    y: Output<'t>,
}
