//! All SpMV kernels of the registry, in every encoding they have code of their
//! own for: `cargo bench -p secateur-runtime --bench spmv [-- FILTER]`. The
//! tables at the end give each kernel's speed relative to the best dense kernel
//! of its value type, next to what the bytes alone would give.
//!
//! `SECATEUR_BENCH_SIDE=16384` runs a square matrix of that side instead, which
//! no cache holds; making it takes minutes and 5 GiB of memory.

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use secateur_format::Activation;
use secateur_format::encoding::{BlockIndex, Encoding, Matrix, MatrixDesc, Quantized, pack};
use secateur_runtime::ArenaBuf;
use secateur_runtime::kernel::{self, Kernel, Layout, Problem, Run, Spmv};

/// Rows and columns.
const SHAPES: [(u32, u32); 3] = [(768, 768), (3072, 768), (1000, 1024)];
const SPARSITIES: [f64; 3] = [0.5, 0.7, 0.9];
const BLOCKS: [(u8, u8); 5] = [(1, 4), (2, 1), (4, 1), (8, 1), (16, 1)];

/// The encodings a layout is measured with, at one sparsity.
fn encodings(layout: Layout, sparsity: f64) -> Vec<Encoding> {
    match layout {
        // Zeros make no difference.
        Layout::Dense if sparsity > SPARSITIES[0] => vec![],
        Layout::Dense => vec![Encoding::Dense],
        Layout::Activations => vec![],
        Layout::Csr16 => vec![Encoding::Csr16],
        Layout::Win8 => vec![Encoding::Win8],
        Layout::Bitmask => vec![Encoding::Bitmask],
        Layout::Nm if sparsity == 0.5 => vec![Encoding::Nm { n: 2, m: 4 }, Encoding::Nm { n: 4, m: 8 }],
        Layout::Nm if sparsity == 0.7 => vec![Encoding::Nm { n: 1, m: 4 }],
        Layout::Nm => vec![],
        Layout::Block => {
            let index = BlockIndex::Win8;
            BLOCKS.iter().map(|&(r, c)| Encoding::Block { r, c, index }).collect()
        }
    }
}

/// Weights of which a share is zero, in the pattern of the encoding.
fn weights(rows: u32, cols: u32, sparsity: f64, encoding: Encoding) -> Vec<f32> {
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

/// An encoded matrix, made when a kernel is about to run on it.
struct Packed {
    desc: MatrixDesc,
    payload: ArenaBuf,
}

fn packed(kernel: &Kernel, rows: u32, cols: u32, sparsity: f64, encoding: Encoding) -> Option<Packed> {
    let weights = weights(rows, cols, sparsity, encoding);
    let quantized = Quantized::new(&weights, cols, kernel.values).ok()?;
    drop(weights);
    let packed = pack(&quantized, encoding).ok()?;
    Some(Packed {
        desc: packed.desc,
        payload: ArenaBuf::copy_of(&packed.payload),
    })
}

fn run(kernel: &Kernel, packed: &Packed, times: u64) -> Duration {
    let Ok(matrix) = Matrix::view(&packed.desc, packed.payload.as_ref(), 0) else {
        return Duration::ZERO;
    };
    let Run::Spmv(run) = kernel.run else {
        return Duration::ZERO;
    };
    let x = vec![1.0; packed.desc.cols as usize];
    let mut y = vec![0.0; packed.desc.rows as usize];
    let start = Instant::now();
    for _ in 0..times {
        let mut spmv = Spmv {
            bias: None,
            activation: Activation::Relu,
            x: black_box(&x),
            y: black_box(&mut y),
        };
        run(&matrix, &mut spmv);
    }
    start.elapsed()
}

/// One line of a table.
struct Line {
    kernel: &'static Kernel,
    encoding: Encoding,
    sparsity: f64,
    desc: MatrixDesc,
    /// The fastest sample: least disturbed by what else runs on the machine.
    seconds: f64,
}

fn print(lines: &[Line]) {
    for line in lines {
        let dense = lines
            .iter()
            .filter(|l| l.kernel.layout == Layout::Dense && l.kernel.values == line.kernel.values)
            .map(|l| l.seconds)
            .fold(f64::INFINITY, f64::min);
        let dense_bytes = line.desc.weights() * line.desc.values.size();
        let bytes = line.desc.payload_len().unwrap_or(0);
        println!(
            "  {:36} {:>14} {:3.0} % {:11.2} µs {:7.4} ns/stored {:7.2} × dense {:6.2} × fewer bytes",
            line.kernel.name,
            line.encoding.to_string(),
            line.sparsity * 100.0,
            line.seconds * 1e6,
            line.seconds * 1e9 / f64::from(line.desc.stored),
            dense / line.seconds,
            dense_bytes as f64 / bytes as f64,
        );
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(10))
        .measurement_time(Duration::from_millis(60))
        .configure_from_args();
    let side = std::env::var("SECATEUR_BENCH_SIDE")
        .ok()
        .and_then(|side| side.parse().ok());
    let shapes = side.map_or(SHAPES.to_vec(), |side| vec![(side, side)]);
    let mut tables = Vec::new();
    for (rows, cols) in shapes {
        let mut group = criterion.benchmark_group(format!("{rows}x{cols}"));
        let mut lines: Vec<Line> = Vec::new();
        for kernel in kernel::ALL
            .iter()
            .filter(|k| k.problem() == Problem::Spmv && k.isa.available())
        {
            for (sparsity, encoding) in SPARSITIES
                .iter()
                .flat_map(|&s| encodings(kernel.layout, s).into_iter().map(move |e| (s, e)))
            {
                let packed = LazyCell::new(|| packed(kernel, rows, cols, sparsity, encoding));
                let samples = RefCell::new(Vec::new());
                let name = format!("{}/{encoding}_s{:.0}", kernel.name, sparsity * 100.0);
                group.bench_function(name, |b| {
                    LazyCell::force(&packed);
                    b.iter_custom(|times| {
                        let Some(packed) = &*packed else {
                            return Duration::from_nanos(times);
                        };
                        let time = run(kernel, packed, times);
                        samples.borrow_mut().push(time.as_secs_f64() / times as f64);
                        time
                    });
                });
                let samples = samples.into_inner();
                if let (false, Some(packed)) = (samples.is_empty(), &*packed) {
                    lines.push(Line {
                        kernel,
                        encoding,
                        sparsity,
                        desc: packed.desc,
                        seconds: samples.into_iter().fold(f64::INFINITY, f64::min),
                    });
                }
            }
        }
        group.finish();
        tables.push((rows, cols, lines));
    }
    for (rows, cols, lines) in tables {
        println!("{rows}x{cols}");
        print(&lines);
    }
    criterion.final_summary();
}
