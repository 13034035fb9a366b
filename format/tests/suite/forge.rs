//! Bytes of model files: aligned copies, places in them, checksums made right
//! after a change, and a walk over all that a reader hands out. The fuzzer
//! includes this file too.

use core::ops::Range;

use secateur_format::container::{ENTRY_LEN, HEADER_LEN, crc32c};
use secateur_format::encoding::{Matrix, MatrixDesc, RowSink};
use secateur_format::{Model, TensorId};

/// A copy of a file, aligned as a reader requires.
#[derive(Clone)]
pub(crate) struct File {
    words: Vec<u128>,
    len: usize,
}

impl File {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut file = Self {
            words: vec![0; bytes.len().div_ceil(16)],
            len: bytes.len(),
        };
        file.bytes_mut().copy_from_slice(bytes);
        file
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The bytes of section table entry `index`, if they lie in the file.
pub(crate) fn entry_range(bytes: &[u8], index: usize) -> Option<Range<usize>> {
    let entry = HEADER_LEN + index * ENTRY_LEN;
    let start = usize::try_from(u64_at(bytes, entry + 8)?).ok()?;
    let end = start.checked_add(usize::try_from(u64_at(bytes, entry + 16)?).ok()?)?;
    (end <= bytes.len()).then_some(start..end)
}

/// Makes the checksums right, as far as the section table makes sense, so that
/// the checks behind them are what is tested.
pub(crate) fn fix_crcs(bytes: &mut [u8]) {
    let Some(count) = u32_at(bytes, 24) else { return };
    let in_file = bytes.len().saturating_sub(HEADER_LEN) / ENTRY_LEN;
    let count = (count as usize).min(in_file);
    // Each section may be the whole file: a bound on their number keeps this linear.
    for index in 0..count.min(64) {
        let crc = entry_range(bytes, index).map(|range| crc32c(&[&bytes[range]]));
        let at = HEADER_LEN + index * ENTRY_LEN + 24;
        if let (Some(crc), Some(slot)) = (crc, bytes.get_mut(at..at + 4)) {
            slot.copy_from_slice(&crc.to_le_bytes());
        }
    }
    let table = HEADER_LEN..HEADER_LEN + count * ENTRY_LEN;
    if let (Some(before), Some(after), Some(table)) = (bytes.get(..36), bytes.get(40..HEADER_LEN), bytes.get(table)) {
        let crc = crc32c(&[before, &[0; 4], after, table]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Visits a matrix and checks what every kernel relies on.
pub(crate) fn walk_matrix(desc: &MatrixDesc, matrix: &Matrix<'_>) {
    struct Rows {
        cols: usize,
        rows: usize,
        entries: u64,
    }
    impl RowSink for Rows {
        fn row(&mut self, row: usize, entries: impl Iterator<Item = (usize, f32)> + Clone) {
            assert_eq!(row, self.rows, "rows come in order, each once");
            self.rows += 1;
            let mut next = 0;
            for (col, _) in entries {
                assert!(
                    next <= col && col < self.cols,
                    "columns strictly ascend inside the matrix"
                );
                next = col + 1;
                self.entries += 1;
            }
        }
    }
    let mut rows = Rows {
        cols: desc.cols as usize,
        rows: 0,
        entries: 0,
    };
    matrix.visit_any(&mut rows);
    assert_eq!(rows.rows, desc.rows as usize);
    assert_eq!(rows.entries, u64::from(desc.stored));
    assert_eq!(matrix.values().stored(), desc.stored as usize);
    assert!(matrix.count_nonzero() <= u64::from(desc.stored));
}

/// Uses everything a validated model hands out.
pub(crate) fn walk(model: &Model<'_>) {
    let plan = model.plan();
    let arena = plan.arena_bytes();
    assert!(plan.align().is_power_of_two());
    for output in model.outputs() {
        assert!(usize::from(output.0) < model.value_count());
    }
    for node in model.nodes() {
        let shapes: Vec<_> = node.inputs().map(|id| model.shape(id)).collect();
        assert_eq!(node.op.infer(&shapes), Ok(model.shape(node.output)));
        let range = plan.value(node.output, model.shape(node.output));
        assert_eq!(range.bytes(), model.shape(node.output).bytes());
        assert!(range.end <= arena && range.start % plan.align() == 0);
        let scratch = plan.scratch(node.index);
        assert!(scratch.end <= arena && scratch.start % plan.align() == 0);
        assert!(plan.last_use(node.output) as usize <= model.node_count());
        if let Some(id) = node.op.weight() {
            assert!(model.tensor(id).is_some());
        }
        if let Some(id) = node.op.bias() {
            let (desc, _) = model.tensor(id).expect("validated");
            assert_eq!(model.vector(id).map(<[f32]>::len), Some(desc.cols as usize));
        }
        let _ = (model.name(node.output), node.op.name());
    }
    assert_eq!(model.nodes().count(), model.node_count());
    for id in 0..model.tensor_count() {
        let (desc, matrix) = model.tensor(TensorId(id as u16)).expect("validated");
        walk_matrix(&desc, &matrix);
    }
    let _ = model.info().count();
    if let Some(preprocess) = model.preprocess() {
        assert!(preprocess.mean().chain([preprocess.scale]).all(f32::is_finite));
        assert!(preprocess.std().all(|s| s.is_finite() && s != 0.0));
    }
}
