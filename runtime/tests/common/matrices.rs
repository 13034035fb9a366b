//! Random matrices in every encoding.

use secateur_format::encoding::{BlockIndex, Encoding, Matrix, MatrixDesc, Packed, Quantized, ValueType, decode, pack};
use secateur_runtime::ArenaBuf;
use secateur_runtime::kernel::Layout;

/// SplitMix64: small, and the same on every target.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// In 0..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// In ±0.1..1.1: never zero, whatever the value type.
    pub(crate) fn nonzero(&mut self) -> f32 {
        let x = self.unit() + 0.1;
        if self.next().is_multiple_of(2) { x } else { -x }
    }

    /// `len` numbers in -2..2.
    pub(crate) fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| 4.0 * self.unit() - 2.0).collect()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Dense weights of which about `density` are not zero; all of column 0 if `full_column`.
    pub(crate) fn weights(&mut self, rows: usize, cols: usize, density: f32, full_column: bool) -> Vec<f32> {
        (0..rows * cols)
            .map(|i| {
                let w = self.nonzero();
                let kept = self.unit() < density || (full_column && i % cols == 0);
                if kept { w } else { 0.0 }
            })
            .collect()
    }
}

const NM: [(u8, u8); 10] = [
    (1, 2),
    (2, 4),
    (1, 4),
    (2, 3),
    (2, 5),
    (3, 7),
    (4, 8),
    (1, 9),
    (2, 16),
    (15, 16),
];
const EXTENTS: [u8; 5] = [1, 2, 4, 8, 16];

/// The layouts of the registry's kernels, each once.
pub(crate) fn layouts() -> Vec<Layout> {
    let mut layouts = Vec::new();
    for kernel in secateur_runtime::kernel::ALL {
        if !layouts.contains(&kernel.layout) {
            layouts.push(kernel.layout);
        }
    }
    layouts
}

/// The encodings of a layout that fit a matrix.
pub(crate) fn encodings(layout: Layout, rows: usize, cols: usize) -> Vec<Encoding> {
    let fits = |extent: usize, divisor: u8| extent.is_multiple_of(usize::from(divisor));
    match layout {
        Layout::Activations => Vec::new(),
        Layout::Dense => vec![Encoding::Dense],
        Layout::Csr16 if cols > 1 << 16 => vec![],
        Layout::Csr16 => vec![Encoding::Csr16],
        Layout::Win8 => vec![Encoding::Win8],
        Layout::Bitmask => vec![Encoding::Bitmask],
        Layout::Nm => {
            let nm = NM.iter().filter(|(_, m)| fits(cols, *m));
            nm.map(|&(n, m)| Encoding::Nm { n, m }).collect()
        }
        Layout::Block => {
            let extents = EXTENTS.iter().flat_map(|&r| EXTENTS.iter().map(move |&c| (r, c)));
            extents
                .filter(|&(r, c)| (r, c) != (1, 1) && fits(rows, r) && fits(cols, c))
                .flat_map(|(r, c)| [BlockIndex::Csr16, BlockIndex::Win8].map(|index| Encoding::Block { r, c, index }))
                .filter(|e| !matches!(e, Encoding::Block { c, index: BlockIndex::Csr16, .. } if cols / usize::from(*c) > 1 << 16))
                .collect()
        }
    }
}

/// Drops what an N:M encoding has no room for; column 0 stays.
pub(crate) fn restrict(weights: &mut [f32], cols: usize, encoding: Encoding) {
    let Encoding::Nm { n, m } = encoding else { return };
    for group in weights.chunks_mut(cols).flat_map(|line| line.chunks_mut(m.into())) {
        let nonzeros = group.iter_mut().filter(|w| **w != 0.0);
        nonzeros.skip(n.into()).for_each(|w| *w = 0.0);
    }
}

/// An encoded matrix in aligned memory, and what it decodes to.
pub(crate) struct Weights {
    pub(crate) desc: MatrixDesc,
    payload: ArenaBuf,
    /// Row-major, rounded to the value type.
    pub(crate) dense: Vec<f32>,
}

/// Packs `weights` of `cols` columns.
pub(crate) fn packed(weights: &[f32], cols: usize, encoding: Encoding, values: ValueType) -> Packed {
    let mut weights = weights.to_vec();
    restrict(&mut weights, cols, encoding);
    pack(&Quantized::new(&weights, cols as u32, values).unwrap(), encoding).unwrap()
}

impl Weights {
    pub(crate) fn new(weights: &[f32], cols: usize, encoding: Encoding, values: ValueType) -> Self {
        let packed = packed(weights, cols, encoding, values);
        let payload = ArenaBuf::copy_of(&packed.payload);
        let matrix = Matrix::read(&packed.desc, payload.as_ref(), 0).unwrap();
        let dense = decode(&matrix, &packed.desc);
        Self {
            desc: packed.desc,
            payload,
            dense,
        }
    }

    pub(crate) fn matrix(&self) -> Matrix<'_> {
        Matrix::read(&self.desc, self.payload.as_ref(), 0).unwrap()
    }
}
