//! Every encoding keeps every matrix it accepts.

use proptest::prelude::*;
use secateur_format::encoding::{
    BlockIndex, Encoding, Matrix, MatrixDesc, PackError, Quantized, ValueType, decode, describe, pack,
};
use secateur_format::{FormatError, Place, Problem};

use crate::forge::{File, walk_matrix};
use crate::samples::{VALUE_TYPES, weight_at};

const EXTENTS: [u8; 5] = [1, 2, 4, 8, 16];

fn unstructured() -> [Encoding; 4] {
    [Encoding::Dense, Encoding::Csr16, Encoding::Win8, Encoding::Bitmask]
}

fn blocks() -> impl Iterator<Item = (u8, u8, BlockIndex)> {
    let shapes = EXTENTS.into_iter().flat_map(|r| EXTENTS.map(|c| (r, c)));
    shapes.flat_map(|(r, c)| [BlockIndex::Csr16, BlockIndex::Win8].map(|index| (r, c, index)))
}

fn groups() -> impl Iterator<Item = (u8, u8)> {
    (2..=16).flat_map(|m| (1..m).map(move |n| (n, m)))
}

/// Some weights of a matrix.
#[derive(Clone, Debug)]
struct Weights {
    cols: u32,
    data: Vec<f32>,
}

impl Weights {
    /// Keeps the first `n` weights of each group of `m`.
    fn prune_groups(&self, n: u8, m: u8) -> Self {
        let mut pruned = self.clone();
        for group in pruned.data.chunks_mut(m.into()) {
            group
                .iter_mut()
                .filter(|w| **w != 0.0)
                .skip(n.into())
                .for_each(|w| *w = 0.0);
        }
        pruned
    }

    fn rows(&self) -> u32 {
        self.data.len() as u32 / self.cols
    }

    fn most_in_group(&self, m: u8) -> usize {
        let nonzeros = |group: &[f32]| group.iter().filter(|&&w| w != 0.0).count();
        self.data.chunks(m.into()).map(nonzeros).max().unwrap_or(0)
    }
}

/// Weights kept with a probability of 0 to 8 eighths, in runs of `run` columns.
fn weights() -> impl Strategy<Value = Weights> {
    let rows = (1u32..=10, prop::sample::select(vec![1u32, 2, 4])).prop_map(|(a, b)| a * b);
    let unit = prop::sample::select(vec![1u32, 2, 3, 5, 7, 12, 16, 60]);
    let cols = (unit, 1u32..=600).prop_map(|(unit, cols)| (cols / unit).max(1) * unit);
    let kept = prop::sample::select(vec![0u32, 1, 4, 16, 64]);
    (rows, cols, kept, prop::sample::select(vec![1u32, 4, 16]), any::<u32>()).prop_map(
        |(rows, cols, kept, run, seed)| {
            let weight = |row: u32, col: u32| {
                let hash = (row / run * 8191 + col / run)
                    .wrapping_add(seed)
                    .wrapping_mul(0x9E37_79B1)
                    .rotate_left(13);
                if hash.wrapping_mul(0x85EB_CA6B) >> 26 < kept {
                    weight_at(row, col) * 1.1
                } else {
                    0.0
                }
            };
            let data = (0..rows)
                .flat_map(|row| (0..cols).map(move |col| weight(row, col)))
                .collect();
            Weights { cols, data }
        },
    )
}

fn quantize(weights: &Weights, values: ValueType) -> Quantized {
    Quantized::new(&weights.data, weights.cols, values).unwrap()
}

fn check(q: &Quantized, encoding: Encoding) {
    let packed = pack(q, encoding).unwrap_or_else(|e| panic!("{encoding}: {e}"));
    assert_eq!(describe(q, encoding), Ok(packed.desc), "{encoding}");
    assert_eq!(
        packed.desc.payload_len(),
        Some(packed.payload.len() as u64),
        "{encoding}"
    );
    let payload = File::new(&packed.payload);
    let matrix = Matrix::read(&packed.desc, payload.bytes(), 0).unwrap_or_else(|e| panic!("{encoding}: {e}"));
    walk_matrix(&packed.desc, &matrix);
    assert_eq!(decode(&matrix, &packed.desc), q.to_f32(), "{encoding}");
    assert_eq!(matrix.count_nonzero(), q.nonzeros(), "{encoding}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unstructured_encodings_take_every_matrix(weights in weights()) {
        for values in VALUE_TYPES {
            let q = quantize(&weights, values);
            unstructured().into_iter().for_each(|encoding| check(&q, encoding));
        }
    }

    #[test]
    fn blocks_take_every_matrix_they_divide(weights in weights()) {
        for values in VALUE_TYPES {
            let q = quantize(&weights, values);
            for (r, c, index) in blocks() {
                let encoding = Encoding::Block { r, c, index };
                let divides = weights.rows().is_multiple_of(r.into()) && weights.cols.is_multiple_of(c.into());
                if divides && (r, c) != (1, 1) {
                    check(&q, encoding);
                } else {
                    prop_assert_eq!(pack(&q, encoding), Err(PackError::Encoding));
                }
            }
        }
    }

    #[test]
    fn groups_take_what_was_pruned_for_them(weights in weights()) {
        for (n, m) in groups() {
            let encoding = Encoding::Nm { n, m };
            if !weights.cols.is_multiple_of(m.into()) {
                let q = quantize(&weights, ValueType::F32);
                prop_assert_eq!(pack(&q, encoding), Err(PackError::Encoding));
                continue;
            }
            let q = quantize(&weights, ValueType::F32);
            let overfull = weights.most_in_group(m) > n.into();
            prop_assert_eq!(matches!(pack(&q, encoding), Err(PackError::Group { .. })), overfull);
            let pruned = weights.prune_groups(n, m);
            VALUE_TYPES.into_iter().for_each(|values| check(&quantize(&pruned, values), encoding));
        }
    }

    #[test]
    fn rounding_stays_within_the_type(weights in weights()) {
        for (values, relative) in [(ValueType::F32, 0.0), (ValueType::F16, 5e-4), (ValueType::Bf16, 4e-3)] {
            let rounded = quantize(&weights, values).to_f32();
            for (&w, r) in weights.data.iter().zip(rounded) {
                prop_assert!((w - r).abs() <= relative * w.abs());
            }
        }
        let rounded = quantize(&weights, ValueType::I8).to_f32();
        let width = weights.cols as usize;
        for (line, rounded) in weights.data.chunks(width).zip(rounded.chunks(width)) {
            let step = line.iter().fold(0f32, |peak, w| peak.max(w.abs())) / 127.0;
            for (w, r) in line.iter().zip(rounded) {
                prop_assert!((w - r).abs() <= 0.501 * step);
            }
        }
    }

    /// Descriptions come from hostile files: any of them has a length or none, and no panic.
    #[test]
    fn any_description_is_judged(
        sizes in any::<[u32; 3]>(), shift in 0u32..32, codes in any::<[u8; 2]>(), values in 0usize..4,
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let [rows, cols, stored] = sizes.map(|size| size >> shift);
        let [a, b] = codes;
        let block = |index| Encoding::Block { r: a, c: b, index };
        let parameterised = [Encoding::Nm { n: a, m: b }, block(BlockIndex::Csr16), block(BlockIndex::Win8)];
        for encoding in unstructured().into_iter().chain(parameterised) {
            let desc = MatrixDesc { encoding, values: VALUE_TYPES[values], rows, cols, stored };
            let payload = File::new(&payload);
            if let Ok(matrix) = Matrix::read(&desc, payload.bytes(), 0) {
                walk_matrix(&desc, &matrix);
            }
        }
    }
}

#[test]
fn extreme_descriptions_are_refused() {
    for encoding in [
        Encoding::Nm { n: 255, m: 2 },
        Encoding::Nm { n: 15, m: 16 },
        Encoding::Dense,
    ] {
        let desc = MatrixDesc {
            encoding,
            values: ValueType::I8,
            rows: u32::MAX,
            cols: u32::MAX - 15,
            stored: u32::MAX,
        };
        assert_eq!(desc.payload_len(), None);
    }
}

#[test]
fn rows_too_small_for_a_scale_become_zeros() {
    let q = Quantized::new(&[1e-44, -1e-44, 0.0, 1.0], 2, ValueType::I8).unwrap();
    assert_eq!(q.to_f32(), [0.0, 0.0, 0.0, 1.0]);
    check(&q, Encoding::Csr16);
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    for (weight, values) in [
        (f32::NAN, ValueType::F32),
        (f32::INFINITY, ValueType::I8),
        (1e6, ValueType::F16),
        (f32::NAN, ValueType::I8),
    ] {
        let refused = Quantized::new(&[0.0, 1.0, 2.0, weight], 2, values);
        assert_eq!(refused, Err(PackError::NotFinite { row: 1, col: 1 }));
    }
}

/// Reads a payload after `change`.
fn tampered(encoding: Encoding, change: impl Fn(&mut [u8])) -> Option<FormatError> {
    // Two rows of 272 columns, all N:M groups and all blocks occupied.
    let data: Vec<f32> = (0..544).map(|i| if i % 16 < 2 { 1.0 } else { 0.0 }).collect();
    let q = Quantized::new(&data, 272, ValueType::F32).unwrap();
    let packed = pack(&q, encoding).unwrap();
    let mut payload = File::new(&packed.payload);
    change(payload.bytes_mut());
    Matrix::read(&packed.desc, payload.bytes(), 9).err()
}

fn at_row(row: u32, problem: Problem) -> Option<FormatError> {
    Some(FormatError {
        place: Place::TensorRow { tensor: 9, row },
        problem,
    })
}

#[test]
fn csr16_indices_are_checked() {
    // 3 row starts, 68 values, 68 columns 0 1 16 17 …
    let (starts, columns) = (0, 12 + 4 * 68);
    let tamper = |change: fn(&mut [u8], usize), at| tampered(Encoding::Csr16, |p| change(p, at));
    let duplicate = tamper(|p, at| p[at + 2] = 0, columns);
    assert_eq!(duplicate, at_row(0, Problem::Columns));
    let unsorted = tamper(|p, at| p[at + 4] = 1, columns);
    assert_eq!(unsorted, at_row(0, Problem::Columns));
    let past_the_end = tamper(
        |p, at| p[at + 67 * 2..][..2].copy_from_slice(&272u16.to_le_bytes()),
        columns,
    );
    assert_eq!(past_the_end, at_row(1, Problem::Columns));
    let first_start = tamper(|p, at| p[at] = 1, starts);
    assert_eq!(first_start, at_row(0, Problem::Count { expected: 0, found: 1 }));
    let beyond = tamper(|p, at| p[at + 4] = 69, starts);
    assert_eq!(beyond, at_row(1, Problem::Count { expected: 0, found: 69 }));
    let last_start = tamper(|p, at| p[at + 8] = 67, starts);
    assert_eq!(
        last_start.map(|e| e.problem),
        Some(Problem::Count {
            expected: 68,
            found: 67
        })
    );
}

#[test]
fn win8_counts_are_checked() {
    // Counts 32 2 32 2, 68 values, 68 columns.
    let columns = 8 + 4 * 68;
    let tamper = |at: usize, byte: u8| tampered(Encoding::Win8, |p| p[at] = byte);
    assert_eq!(tamper(columns + 1, 0), at_row(0, Problem::Columns));
    assert_eq!(tamper(columns + 33, 16), at_row(0, Problem::Columns), "column 272");
    // One entry moves from the second window to the first: 0 follows 241.
    assert_eq!(
        tampered(Encoding::Win8, |p| (p[0], p[2]) = (33, 1)),
        at_row(0, Problem::Columns)
    );
    assert_eq!(
        tamper(7, 1),
        at_row(
            1,
            Problem::Count {
                expected: 258,
                found: 2
            }
        )
    );
    let too_few = tamper(6, 1).map(|e| e.problem);
    assert_eq!(
        too_few,
        Some(Problem::Count {
            expected: 68,
            found: 67
        })
    );
}

#[test]
fn bitmask_bits_are_counted() {
    let mask = 12 + 4 * 68;
    let extra = tampered(Encoding::Bitmask, |p| p[mask] |= 4);
    assert_eq!(
        extra,
        at_row(
            0,
            Problem::Count {
                expected: 34,
                found: 35
            }
        )
    );
    // 270 columns leave two bits of a row's last byte unused.
    let data: Vec<f32> = (0..540).map(|i| if i % 270 < 2 { 1.0 } else { 0.0 }).collect();
    let packed = pack(&Quantized::new(&data, 270, ValueType::F16).unwrap(), Encoding::Bitmask).unwrap();
    let mut payload = File::new(&packed.payload);
    let mask = 12 + 2 * 4;
    payload.bytes_mut()[mask] = 1;
    payload.bytes_mut()[mask + 33] = 0x40;
    assert_eq!(
        Matrix::read(&packed.desc, payload.bytes(), 9).err(),
        at_row(0, Problem::Columns)
    );
}

#[test]
fn nm_positions_ascend() {
    let nm = |n, m, change: &dyn Fn(&mut [u8])| tampered(Encoding::Nm { n, m }, change);
    // 2:16, positions 0 and 1 in a byte each group.
    let positions = 4 * 68;
    assert_eq!(nm(2, 16, &|p| p[positions] = 0x00), at_row(0, Problem::Columns));
    assert_eq!(
        nm(2, 16, &|p| p[positions + 17] = 0x23 - 0x11),
        at_row(1, Problem::Columns),
        "2 then 1"
    );
    assert_eq!(nm(2, 16, &|p| p[positions] = 0xF3), None, "3 then 15");
    // 2:17 does not divide; 1:3 wastes one of four positions.
    let packed = pack(
        &Quantized::new(&[1.0, 0.0, 0.0], 3, ValueType::I8).unwrap(),
        Encoding::Nm { n: 1, m: 3 },
    )
    .unwrap();
    let read = |byte: u8| {
        let mut payload = File::new(&packed.payload);
        payload.bytes_mut()[8] = byte;
        Matrix::read(&packed.desc, payload.bytes(), 9).err()
    };
    assert_eq!(read(2), None);
    assert_eq!(read(3), at_row(0, Problem::Columns), "position 3 of 3");
    assert_eq!(read(4), at_row(0, Problem::Columns), "unused bits");
}

#[test]
fn block_columns_are_checked() {
    let block = |index| Encoding::Block { r: 2, c: 8, index };
    // 17 blocks in one block row, at even block columns; 16 values each.
    let columns = 8 + 4 * 272;
    let csr16 = |at: usize, byte: u8| tampered(block(BlockIndex::Csr16), |p| p[at] = byte);
    assert_eq!(csr16(columns + 2, 0), at_row(0, Problem::Columns));
    assert_eq!(csr16(columns + 32, 34), at_row(0, Problem::Columns));
    assert_eq!(
        csr16(4, 16).map(|e| e.problem),
        Some(Problem::Count {
            expected: 17,
            found: 16
        })
    );
    let columns = 4 + 4 * 272;
    let win8 = |at: usize, byte: u8| tampered(block(BlockIndex::Win8), |p| p[at] = byte);
    assert_eq!(win8(columns + 16, 34), at_row(0, Problem::Columns));
    assert_eq!(
        win8(0, 18),
        at_row(
            0,
            Problem::Count {
                expected: 18,
                found: 17
            }
        )
    );
    assert_eq!(
        win8(2, 1).map(|e| e.problem),
        Some(Problem::NotZero { offset: 2 }),
        "padding"
    );
}

#[test]
fn payload_lengths_are_exact() {
    for encoding in unstructured() {
        let q = Quantized::new(&[0.0, 1.0, 2.0, 0.0, 0.0, 5.0], 3, ValueType::I8).unwrap();
        let packed = pack(&q, encoding).unwrap();
        for len in (0..packed.payload.len() + 4).filter(|&len| len != packed.payload.len()) {
            let mut bytes = packed.payload.clone();
            bytes.resize(len, 0);
            let problem = Problem::Length {
                expected: packed.payload.len() as u64,
                found: len as u64,
            };
            let error = Matrix::read(&packed.desc, File::new(&bytes).bytes(), 9).err();
            assert_eq!(
                error,
                Some(FormatError {
                    place: Place::Tensor(9),
                    problem
                })
            );
        }
    }
}
