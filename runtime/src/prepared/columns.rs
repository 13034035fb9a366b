//! The columns of a product, cut into panels.

use alloc::vec::Vec;

use crate::kernel::panel::{Planes, Segment, Taps, has_extra};

/// Some columns of the output, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PanelColumns {
    /// First column in the output.
    pub(crate) column: usize,
    /// Columns.
    pub(crate) columns: usize,
    /// Where they lie in a run of the packed input.
    pub(crate) segments: Vec<Segment>,
}

/// Output pixels: `lines` of `keep` pixels, `line` apart in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Output lines.
    pub lines: usize,
    /// Pixels of a line.
    pub keep: usize,
    /// Distance of two lines in a run.
    pub line: usize,
    /// Distance of two pixels of a line, 1 or 2.
    pub step: usize,
}

impl Lines {
    /// Columns of the product.
    pub fn columns(&self) -> usize {
        self.lines * self.keep
    }

    /// Whether the columns lie beside each other in a run.
    pub(super) fn is_one_run(&self) -> bool {
        self.line == self.keep && self.step == 1
    }

    /// Whole vectors of `lanes` columns that kernels of this shape take, and whether there is a last
    /// column beside them.
    pub(super) fn vectors(&self, lanes: usize, dense: bool) -> (usize, bool) {
        let extra = dense && has_extra(self.columns(), lanes);
        (self.columns().div_ceil(lanes.max(1)) - usize::from(extra), extra)
    }

    /// Panels of at most `vectors` vectors of `lanes` columns, as equal as can be.
    pub(crate) fn panels(&self, lanes: usize, vectors: usize, dense: bool) -> Vec<PanelColumns> {
        let (total, _) = self.vectors(lanes, dense);
        let count = total.div_ceil(vectors.max(1));
        let bound = |i: usize| match i == count {
            true => self.columns(),
            false => (total * i).checked_div(count).unwrap_or(0) * lanes,
        };
        (0..count)
            .map(|i| {
                let (column, end) = (bound(i), bound(i + 1));
                PanelColumns {
                    column,
                    columns: end - column,
                    segments: self.segments(column, end),
                }
            })
            .collect()
    }

    /// Bands of at most `most` whole lines, as equal as can be; `None` if a channel's planes have more than
    /// `longest` numbers.
    pub(crate) fn bands(
        &self,
        most: usize,
        taps: &Taps,
        lanes: usize,
        longest: usize,
    ) -> Option<(Vec<PanelColumns>, Planes)> {
        let count = self.lines.div_ceil(most.max(1));
        let bound = |i: usize| (self.lines * i).checked_div(count).unwrap_or(0);
        let tallest = (0..count).map(|i| bound(i + 1) - bound(i)).max().unwrap_or(0);
        let planes = Some(Planes::new(taps, self.keep, tallest, lanes)).filter(|planes| planes.plane <= longest)?;
        let bands = (0..count).map(|i| {
            let (first, end) = (bound(i), bound(i + 1));
            let segments = (0..taps.phases()).filter_map(|phase| Some((phase, taps.origin(phase)?)));
            let copies = segments.flat_map(|(phase, origin)| (0..planes.folded).map(move |copy| (phase, origin, copy)));
            let segments = copies.flat_map(|(phase, origin, copy)| {
                // What a line shares a vector with is read, too.
                let lines = (end - first + taps.halo() - copy).next_multiple_of(planes.folded);
                (0..lines.min(planes.copy / planes.line)).map(move |line| {
                    let at = phase * planes.phase + copy * planes.copy + line * planes.line;
                    input_line(taps, first + copy + line, origin, planes.line, at as u32)
                })
            });
            PanelColumns {
                column: first * self.keep,
                columns: (end - first) * self.keep,
                segments: segments.collect(),
            }
        });
        Some((bands.collect(), planes))
    }

    fn segments(&self, first: usize, end: usize) -> Vec<Segment> {
        // Lines without gaps are one line.
        let (keep, line) = match self.is_one_run() {
            true => (self.columns().max(1), self.columns()),
            false => (self.keep.max(1), self.line),
        };
        let mut segments = Vec::new();
        let mut column = first;
        while column < end {
            let (y, x) = (column / keep, column % keep);
            let len = (keep - x).min(end - column);
            segments.push(Segment {
                at: (column - first) as u32,
                zeros: 0,
                from: (y * line + x * self.step) as u32,
                len: len as u32,
            });
            column += len;
        }
        segments
    }
}

/// Line `y` of the phase plane that starts at `origin`, of `line` numbers, at `at` in the panel.
fn input_line(taps: &Taps, y: usize, origin: [usize; 2], line: usize, at: u32) -> Segment {
    let ([height, width], [top, left], stride) = (taps.input, taps.pads, taps.stride);
    let zeros = left.saturating_sub(origin[1]).div_ceil(stride[1]).min(line);
    let place = (y * stride[0] + origin[0]).checked_sub(top).filter(|&y| y < height);
    let place = place.and_then(|y| Some((y, (zeros * stride[1] + origin[1]).checked_sub(left)?)));
    let (from, len) = place.map_or((0, 0), |(y, x)| {
        let len = width.saturating_sub(x).div_ceil(stride[1]).min(line - zeros);
        (y * width + x, len)
    });
    Segment {
        at,
        zeros: zeros as u32,
        from: from as u32,
        len: len as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_columns_once() {
        for (lines, keep, line) in [(1, 49, 49), (7, 7, 9), (14, 14, 16), (5, 1, 3), (3, 100, 102)] {
            for vectors in 1..5 {
                let lines = Lines {
                    lines,
                    keep,
                    line,
                    step: 1,
                };
                let mut next = 0;
                for panel in lines.panels(16, vectors, false) {
                    assert_eq!(panel.column, next);
                    assert!(panel.columns <= vectors * 16);
                    for segment in panel.segments {
                        for i in 0..segment.len {
                            let column = panel.column + (segment.at + i) as usize;
                            assert_eq!(column, next);
                            assert_eq!((segment.from + i) as usize, column / keep * line + column % keep);
                            next += 1;
                        }
                    }
                }
                assert_eq!(next, lines.columns());
            }
        }
    }
}
