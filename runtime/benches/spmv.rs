//! SpMV kernels beside dense ones: `cargo bench -p secateur-runtime --bench spmv [-- WORD…]`.
//!
//! A word like `1024x1024` is a shape; of the others, each has to occur in a case's name, such as
//! `f32_spmv_block_16x1__avx512/block16x1_90`. In rounds, every case is run in turn, so that a
//! drift of the machine hits all alike; speeds are the medians of those within a round, relative to the
//! dense kernel of the instruction set. Beside them stands what the number of weights
//! alone would give, which is the bound in cache, and what their bytes would give, which is the
//! one in memory. `16384x16384` fits no cache; it needs 5 GiB of memory.

use std::hint::black_box;
use std::time::Instant;

use secateur_format::Activation;
use secateur_format::encoding::{BlockIndex, Encoding, MatrixDesc, Quantized, ValueType, pack};
use secateur_runtime::kernel::{self, Kernel, Layout, Problem, Spmv};
use secateur_runtime::prepared::VectorWeights;

/// Rows and columns, unless others are asked for.
const SHAPES: [(u32, u32); 4] = [(256, 1024), (1024, 1024), (3072, 768), (1000, 1024)];
const SPARSITIES: [u32; 4] = [50, 70, 80, 90];
const BLOCKS: [(u8, u8); 5] = [(1, 4), (2, 1), (4, 1), (8, 1), (16, 1)];
const ROUNDS: usize = 15;
/// How long a case runs in a round.
const VISIT_SECONDS: f64 = 1e-3;

/// The encodings a layout is measured with, at one sparsity in percent.
fn encodings(layout: Layout, percent: u32) -> Vec<Encoding> {
    match layout {
        // Zeros make no difference.
        Layout::Dense if percent > SPARSITIES[0] => vec![],
        Layout::Dense => vec![Encoding::Dense],
        Layout::Activations => vec![],
        Layout::Csr16 => vec![Encoding::Csr16],
        Layout::Win8 => vec![Encoding::Win8],
        Layout::Bitmask => vec![Encoding::Bitmask],
        Layout::Nm if percent == 50 => vec![Encoding::Nm { n: 2, m: 4 }, Encoding::Nm { n: 4, m: 8 }],
        Layout::Nm if percent == 70 => vec![Encoding::Nm { n: 1, m: 4 }],
        Layout::Nm => vec![],
        Layout::Block => {
            let index = BlockIndex::Win8;
            BLOCKS.iter().map(|&(r, c)| Encoding::Block { r, c, index }).collect()
        }
    }
}

/// Weights of which a share is zero, in the pattern of the encoding.
fn weights(rows: u32, cols: u32, percent: u32, encoding: Encoding) -> Vec<f32> {
    let sparsity = f64::from(percent) / 100.0;
    let kept = |row: u32, col: u32| match encoding {
        Encoding::Dense => true,
        // Each weight of a group its own part of it.
        Encoding::Nm { n, m } => {
            let part = u32::from(m / n);
            col % part == (hash(row, col / part) * f64::from(part)) as u32
        }
        Encoding::Block { r, c, .. } => hash(row / u32::from(r), col / u32::from(c)) >= sparsity,
        _ => hash(row, col) >= sparsity,
    };
    (0..rows)
        .flat_map(|row| (0..cols).map(move |col| (row, col)))
        .map(|(row, col)| if kept(row, col) { 0.5 } else { 0.0 })
        .collect()
}

/// In 0..1.
fn hash(row: u32, col: u32) -> f64 {
    let mixed = (u64::from(row) << 32 | u64::from(col))
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)) as u32 as f64 / (1u64 << 32) as f64
}

/// A kernel with a matrix.
struct Case {
    name: String,
    kernel: &'static Kernel,
    desc: MatrixDesc,
    weights: VectorWeights,
    /// Seconds per run, one for each round.
    seconds: Vec<f64>,
}

impl Case {
    fn new(
        kernel: &'static Kernel,
        rows: u32,
        cols: u32,
        percent: u32,
        encoding: Encoding,
        name: String,
    ) -> Option<Self> {
        let weights = weights(rows, cols, percent, encoding);
        let quantized = Quantized::new(&weights, cols, kernel.values).ok()?;
        drop(weights);
        let packed = pack(&quantized, encoding).ok()?;
        let weights = VectorWeights::new(&packed, kernel)?;
        Some(Self {
            name,
            kernel,
            desc: packed.desc,
            weights,
            seconds: Vec::new(),
        })
    }

    /// Runs once to warm the caches, then for a while.
    fn visit(&mut self) {
        let x = vec![1.0; self.desc.cols as usize];
        let mut y = vec![0.0; self.desc.rows as usize];
        let mut once = || {
            let mut spmv = Spmv {
                bias: None,
                activation: Activation::Relu,
                x: black_box(&x),
                y: black_box(&mut y),
            };
            self.weights.product(self.kernel, &mut spmv);
        };
        once();
        let (mut times, mut seconds) = (1, 0.0);
        while seconds < VISIT_SECONDS {
            let start = Instant::now();
            (0..times).for_each(|_| once());
            seconds = start.elapsed().as_secs_f64();
            self.seconds.push(seconds / f64::from(times));
            times *= 2;
            // Only the last, the longest, counts.
            if seconds < VISIT_SECONDS {
                self.seconds.pop();
            }
        }
    }

    /// Median of the ratios of `dense`'s times to these.
    fn speed(&self, dense: &Self) -> f64 {
        median(
            dense
                .seconds
                .iter()
                .zip(&self.seconds)
                .map(|(dense, own)| dense / own)
                .collect(),
        )
    }

    fn print(&self, dense: &Self) {
        let seconds = median(self.seconds.clone());
        let bytes = self.weights.bytes() as u64;
        let dense_bytes = dense.desc.payload_len().unwrap_or(0);
        let ratio = |whole: u64, part: u64| whole as f64 / part as f64;
        let (weights, fewer_bytes) = (
            ratio(dense.desc.stored.into(), self.desc.stored.into()),
            ratio(dense_bytes, bytes),
        );
        let speed = self.speed(dense);
        println!(
            "  {:44} {:10.2} µs {:6.1} GB/s {speed:6.2} × dense: {:4.0} % of {weights:5.2} × by weights, {:4.0} % of {fewer_bytes:5.2} × by bytes",
            self.name,
            seconds * 1e6,
            bytes as f64 / seconds / 1e9,
            100.0 * speed / weights,
            100.0 * speed / fewer_bytes,
        );
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All cases of a shape and value type that have all `words`; the dense ones have no need to.
fn cases(rows: u32, cols: u32, values: ValueType, words: &[String]) -> Vec<Case> {
    let kernels = kernel::ALL
        .iter()
        .filter(|k| matches!(k.problem(), Problem::Spmv | Problem::Slices) && k.values == values);
    let mut cases = Vec::new();
    for kernel in kernels.filter(|k| k.isa.available()) {
        for percent in SPARSITIES {
            for encoding in encodings(kernel.layout, percent) {
                let name = format!("{}/{encoding}_{percent}", kernel.name);
                if kernel.layout == Layout::Dense || words.iter().all(|word| name.contains(word.as_str())) {
                    cases.extend(Case::new(kernel, rows, cols, percent, encoding, name));
                }
            }
        }
    }
    let used: Vec<_> = cases
        .iter()
        .filter(|c| c.kernel.layout != Layout::Dense)
        .map(|c| c.kernel.isa)
        .collect();
    cases.retain(|case| used.contains(&case.kernel.isa));
    cases
}

fn main() {
    // What cargo adds begins with a dash.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let shape = |word: &String| {
        let (rows, cols) = word.split_once('x')?;
        Some((rows.parse().ok()?, cols.parse().ok()?))
    };
    let (mut shapes, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| shape(word).is_some());
    if shapes.is_empty() {
        shapes = SHAPES.iter().map(|(rows, cols)| format!("{rows}x{cols}")).collect();
    }
    for (rows, cols) in shapes.iter().filter_map(shape) {
        println!("{rows}x{cols}");
        for values in [ValueType::F32, ValueType::F16, ValueType::Bf16] {
            let mut cases = cases(rows, cols, values, &words);
            for _ in 0..ROUNDS {
                cases.iter_mut().for_each(Case::visit);
            }
            for case in &cases {
                let dense = cases
                    .iter()
                    .find(|c| c.kernel.layout == Layout::Dense && c.kernel.isa == case.kernel.isa);
                case.print(dense.unwrap_or(case));
            }
        }
    }
}
