//! The columns of a product, cut into panels.

use alloc::vec::Vec;

use crate::kernel::panel::{Segment, Unpadded};

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
}

impl Lines {
    /// Columns of the product.
    pub fn columns(&self) -> usize {
        self.lines * self.keep
    }

    /// Panels of at most `vectors` vectors of `lanes` columns, as equal as can be.
    pub(crate) fn panels(&self, lanes: usize, vectors: usize) -> Vec<PanelColumns> {
        let total = self.columns().div_ceil(lanes.max(1));
        let count = total.div_ceil(vectors.max(1));
        let bound = |i: usize| (total * i).checked_div(count).unwrap_or(0) * lanes;
        (0..count)
            .map(|i| {
                let (column, end) = (bound(i), bound(i + 1).min(self.columns()));
                PanelColumns {
                    column,
                    columns: end - column,
                    segments: self.segments(column, end),
                }
            })
            .collect()
    }

    /// Bands of at most `most` whole lines, as equal as can be, with `halo` lines more of input;
    /// planes with lines that are `line` apart. With `unpadded`, the zeros around the input are left out.
    pub(crate) fn bands(
        &self,
        most: usize,
        halo: usize,
        line: usize,
        unpadded: Option<&Unpadded>,
    ) -> Vec<PanelColumns> {
        let count = self.lines.div_ceil(most.max(1));
        let bound = |i: usize| (self.lines * i).checked_div(count).unwrap_or(0);
        (0..count)
            .map(|i| {
                let (first, end) = (bound(i), bound(i + 1));
                let segments = (first..end + halo).filter_map(|y| {
                    let at = (y - first) * line;
                    let (at, from, len) = match unpadded {
                        None => (at, y * self.line, self.line),
                        Some(Unpadded {
                            input: [height, width],
                            pads: [top, left],
                        }) => {
                            let y = y.checked_sub(*top).filter(|y| y < height)?;
                            (at + left, y * width, (*width).min(line - left))
                        }
                    };
                    Some(Segment {
                        at: at as u32,
                        from: from as u32,
                        len: len as u32,
                    })
                });
                PanelColumns {
                    column: first * self.keep,
                    columns: (end - first) * self.keep,
                    segments: segments.collect(),
                }
            })
            .collect()
    }

    fn segments(&self, first: usize, end: usize) -> Vec<Segment> {
        // Lines without gaps are one line.
        let (keep, line) = match self.line == self.keep {
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
                from: (y * line + x) as u32,
                len: len as u32,
            });
            column += len;
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_columns_once() {
        for (lines, keep, line) in [(1, 49, 49), (7, 7, 9), (14, 14, 16), (5, 1, 3), (3, 100, 102)] {
            for vectors in 1..5 {
                let lines = Lines { lines, keep, line };
                let mut next = 0;
                for panel in lines.panels(16, vectors) {
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
