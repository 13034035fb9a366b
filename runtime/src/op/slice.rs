//! Strided sub-ranges, and the line walk they share with padding.

use secateur_format::{MAX_RANK, Shape};

use super::Task;
use crate::RunError;

/// Walks the innermost lines of a tensor of [`MAX_RANK`] axes (missing ones are 1).
///
/// Shapes are padded behind, so the innermost axis is the rank's last one; the
/// axes behind it have one index and stride 1.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    /// Elements per step of each axis.
    strides: [usize; MAX_RANK],
    /// Element at index zero of every axis.
    first: usize,
    /// Innermost axis.
    axis: usize,
    /// Elements of a line of the tensor itself.
    pub(super) len: usize,
}

impl Lines {
    /// Lines of a tensor of `shape`, beginning at `start` with `step`, per axis.
    pub(super) fn new(shape: Shape, start: [u32; MAX_RANK], step: [u32; MAX_RANK]) -> Self {
        let dims = shape.padded_dims();
        let mut strides = [1; MAX_RANK];
        let (mut first, mut below) = (0, 1usize);
        // Axis by axis rather than zipped and reversed, which leaves a panic path.
        for axis in (0..MAX_RANK).rev() {
            let at = |list: &[u32; MAX_RANK]| list.get(axis).copied().unwrap_or(0) as usize;
            first += at(&start) * below;
            if let Some(stride) = strides.get_mut(axis) {
                // A step may be larger than 32-bit sizes allow: then only index 0 exists.
                *stride = at(&step).wrapping_mul(below);
            }
            below *= at(&dims);
        }
        let axis = shape.rank().saturating_sub(1);
        let len = dims.get(axis).copied().unwrap_or(1) as usize;
        Self {
            strides,
            first,
            axis,
            len,
        }
    }

    /// Element where the line with the given outer indices starts.
    pub(super) fn start(&self, line: [usize; MAX_RANK]) -> usize {
        self.strides
            .iter()
            .zip(line)
            .map(|(stride, index)| stride * index)
            .sum::<usize>()
            + self.first
    }

    /// Outer indices of all lines of `shape`; the innermost index is zero.
    pub(super) fn indices(&self, shape: Shape) -> impl Iterator<Item = [usize; MAX_RANK]> + use<> {
        let axis = self.axis;
        let dims = shape.padded_dims().map(|d| d as usize);
        let count: usize = dims.iter().take(axis).product();
        (0..count).map(move |line| {
            let mut index = [0; MAX_RANK];
            let mut rest = line;
            for axis in (0..axis).rev() {
                let dim = dims.get(axis).copied().unwrap_or(1);
                if let Some(slot) = index.get_mut(axis) {
                    *slot = rest.checked_rem(dim).unwrap_or(0);
                }
                rest = rest.checked_div(dim).unwrap_or(0);
            }
            index
        })
    }

    /// Elements between two neighbours of a line.
    fn step(&self) -> usize {
        self.strides.get(self.axis).copied().unwrap_or(1)
    }
}

pub(super) fn run(task: &mut Task<'_, '_>, start: &[u32; MAX_RANK], step: &[u32; MAX_RANK]) -> Result<(), RunError> {
    let (shape, x) = task.input_data()?;
    let source = Lines::new(shape, *start, *step);
    let out_shape = task.output_shape();
    let target = Lines::new(out_shape, [0; MAX_RANK], [1; MAX_RANK]);
    for line in target.indices(out_shape) {
        let to = task.memory.output.get_mut(target.start(line)..).unwrap_or(&mut []);
        let from = x
            .get(source.start(line)..)
            .unwrap_or(&[])
            .iter()
            .step_by(source.step().max(1));
        to.iter_mut().zip(from).take(target.len).for_each(|(y, x)| *y = *x);
    }
    Ok(())
}
