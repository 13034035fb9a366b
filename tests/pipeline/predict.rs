//! Sizes by the formulas of `format/SPEC.md`, sections 3, 6, 7, 8 and 9, written anew:
//! what the tool predicts and writes must be these.

use secateur::emit::Family;
use secateur_format::graph::{Graph, Tensor};

/// The families that can be asked for.
pub(crate) const FAMILIES: [Family; 6] = [
    Family::Dense,
    Family::Csr16,
    Family::Win8,
    Family::Bitmask,
    Family::Nm(None),
    Family::Block(None),
];

/// A weight matrix as stored, and the bytes of one value.
pub(crate) struct Matrix<'a> {
    pub(crate) weights: &'a [f32],
    pub(crate) cols: usize,
    pub(crate) value_bytes: usize,
}

impl Matrix<'_> {
    /// The shortest payload of a family; `None` if it cannot hold the matrix.
    pub(crate) fn bytes(&self, family: Family) -> Option<usize> {
        let (cols, rows) = (self.cols, self.weights.len() / self.cols);
        let stored = self.weights.iter().filter(|&&w| w != 0.0).count();
        let values = |stored: usize| pad(stored * self.value_bytes, 4);
        match family {
            Family::Dense => Some(values(rows * cols)),
            Family::Csr16 => (cols <= 65536).then(|| 4 * (rows + 1) + values(stored) + pad(2 * stored, 4)),
            Family::Win8 => Some(pad(2 * rows * cols.div_ceil(256), 4) + values(stored) + pad(stored, 4)),
            Family::Bitmask => Some(4 * (rows + 1) + values(stored) + pad(rows * cols.div_ceil(8), 4)),
            Family::Nm(_) => (2..=16)
                .filter_map(|m| {
                    let n = self.fullest_group(m)?;
                    let bits = m.next_power_of_two().ilog2() as usize;
                    let positions = rows * (bits * n * cols / m).div_ceil(8);
                    Some(values(rows * cols / m * n) + pad(positions, 4))
                })
                .min(),
            Family::Block(_) => {
                let extents = [1, 2, 4, 8, 16];
                let shapes = extents.iter().flat_map(|&r| extents.map(|c| (r, c)));
                shapes
                    .filter(|&(r, c)| (r, c) != (1, 1) && rows.is_multiple_of(r) && cols.is_multiple_of(c))
                    .flat_map(|(r, c)| {
                        let blocks = self.blocks(r, c);
                        let stored = values(blocks * r * c);
                        let (rows, cols) = (rows / r, cols / c);
                        let csr16 = 4 * (rows + 1) + stored + pad(2 * blocks, 4);
                        let win8 = pad(2 * rows * cols.div_ceil(256), 4) + stored + pad(blocks, 4);
                        [csr16, win8]
                    })
                    .min()
            }
        }
    }

    /// The most non-zeros of a group; `None` if there is no group, or a full one.
    fn fullest_group(&self, m: usize) -> Option<usize> {
        if !self.cols.is_multiple_of(m) {
            return None;
        }
        let nonzeros = |group: &[f32]| group.iter().filter(|&&w| w != 0.0).count();
        let fullest = self.weights.chunks(m).map(nonzeros).max()?;
        (fullest < m).then_some(fullest.max(1))
    }

    /// Blocks that are not all zero.
    fn blocks(&self, r: usize, c: usize) -> usize {
        let used = |lines: &[f32], at: usize| {
            lines
                .chunks(self.cols)
                .any(|line| line[at..at + c].iter().any(|&w| w != 0.0))
        };
        self.weights
            .chunks(r * self.cols)
            .map(|lines| (0..self.cols).step_by(c).filter(|&at| used(lines, at)).count())
            .sum()
    }

    /// The shortest payload under a choice (`None` is free choice), and whether it is not dense.
    pub(crate) fn chosen(&self, choice: Option<Family>) -> (usize, bool) {
        let dense = self.bytes(Family::Dense).unwrap();
        let best = match choice {
            Some(family) => self.bytes(family),
            None => FAMILIES.iter().filter_map(|&family| self.bytes(family)).min(),
        };
        match best {
            Some(bytes) if bytes < dense => (bytes, true),
            _ => (dense, false),
        }
    }
}

/// The constants that are weights, in the order in which nodes first use them.
pub(crate) fn weights(graph: &Graph) -> Vec<usize> {
    let mut found = Vec::new();
    for id in graph.nodes.iter().filter_map(|node| node.op.weight()) {
        if !found.contains(&usize::from(id.0)) {
            found.push(id.0.into());
        }
    }
    found
}

/// Length of the data section: payloads, each starting at a multiple of 16.
pub(crate) fn data_section(graph: &Graph, payload: impl Fn(&Tensor) -> usize) -> usize {
    let weights = weights(graph);
    graph.tensors.iter().enumerate().fold(0, |end, (i, tensor)| {
        let bytes = if weights.contains(&i) {
            payload(tensor)
        } else {
            4 * tensor.data.len()
        };
        pad(end, 16) + bytes
    })
}

/// `(kind, length)` of the sections of a file.
pub(crate) fn sections(file: &[u8]) -> Vec<(u32, usize)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    (0..word(24) as usize)
        .map(|i| (word(64 + 32 * i), word(64 + 32 * i + 16) as usize))
        .collect()
}

/// The sections a lowered graph must have, given those of its dense file (for the lengths of
/// its graph and texts) and the length of its data.
pub(crate) fn expected_sections(graph: &Graph, dense_file: &[u8], data: usize) -> Vec<(u32, usize)> {
    let mut sections = sections(dense_file);
    for (kind, length) in &mut sections {
        match kind {
            2 => *length = 8 + 32 * graph.tensors.len(),
            3 => *length = 8 + 8 * (graph.value_count() + graph.nodes.len()),
            4 => *length = data,
            _ => {}
        }
    }
    sections
}

/// Length of a file of these sections.
pub(crate) fn file_len(sections: &[(u32, usize)]) -> usize {
    let head = pad(64 + 32 * sections.len(), 64);
    head + sections.iter().map(|(_, length)| pad(*length, 64)).sum::<usize>() + 64
}

fn pad(n: usize, to: usize) -> usize {
    n.next_multiple_of(to)
}
