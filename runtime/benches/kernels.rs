//! All SpMM kernels of the registry on three convolutions, dense and 90 % sparse:
//! `cargo bench -p secateur-runtime [-- FILTER]`. The table at the end gives
//! each kernel's speed relative to the best dense kernel of its value type.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use secateur_format::encoding::{BlockIndex, Encoding, Matrix, Quantized, pack};
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Shape, TensorId};
use secateur_runtime::ArenaBuf;
use secateur_runtime::kernel::{self, Layout, Offsets, Problem, Run, Spmm};

/// `(channels in, channels out, side, kernel)`, padded to keep the side.
const CONVS: [(u32, u32, u32, u16); 3] = [(16, 16, 32, 3), (64, 64, 8, 3), (128, 128, 28, 1)];
const SPARSITIES: [f64; 2] = [0.0, 0.9];

/// The encoding a layout is measured with. N:M has none for weights that are not sparse.
fn encoding(layout: Layout, sparsity: f64) -> Option<Encoding> {
    Some(match layout {
        Layout::Dense => Encoding::Dense,
        Layout::Csr16 => Encoding::Csr16,
        Layout::Win8 => Encoding::Win8,
        Layout::Bitmask => Encoding::Bitmask,
        Layout::Activations => return None,
        Layout::Nm if sparsity == 0.0 => return None,
        // Nearest to 90 %: 12.5 % are stored.
        Layout::Nm => Encoding::Nm { n: 2, m: 16 },
        Layout::Block => Encoding::Block {
            r: 4,
            c: 1,
            index: BlockIndex::Csr16,
        },
    })
}

/// Weights of which a share is zero, in the pattern of the encoding.
fn weights(rows: usize, cols: usize, sparsity: f64, encoding: Encoding) -> Vec<f32> {
    let kept = |row: usize, col: usize| match encoding {
        Encoding::Nm { n, m } => (col + row) % usize::from(m) < usize::from(n),
        Encoding::Block { r, .. } => hash(row / usize::from(r), col) >= sparsity,
        _ => hash(row, col) >= sparsity,
    };
    let at = |i: usize| if kept(i / cols, i % cols) { 0.5 } else { 0.0 };
    (0..rows * cols).map(at).collect()
}

/// In 0..1.
fn hash(row: usize, col: usize) -> f64 {
    let mixed = (row as u64 * 0x1_0001 + col as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64
}

/// The packed convolution of one kernel, as a function of how often to run it.
fn bench(kernel: &kernel::Kernel, shape: (u32, u32, u32, u16), sparsity: f64) -> Option<impl Fn(u64) -> Duration> {
    let Run::Spmm(run) = kernel.run else { return None };
    let (channels, out_channels, side, extent) = shape;
    let conv = Conv2d {
        weight: TensorId(0),
        bias: None,
        out_channels,
        groups: 1,
        kernel: [extent; 2],
        stride: [1; 2],
        dilation: [1; 2],
        pads: [extent / 2; 4],
        activation: Activation::Relu,
    };
    let geometry = ConvGeometry::new(&conv, Shape::new(&[channels, side, side]).ok()?).ok()?;
    let cols = conv.cols(channels)?;
    let encoding = encoding(kernel.layout, sparsity)?;
    let weights = weights(out_channels as usize, cols as usize, sparsity, encoding);
    let packed = pack(&Quantized::new(&weights, cols, kernel.values).ok()?, encoding).ok()?;
    let payload = ArenaBuf::copy_of(&packed.payload);
    let positions = (0..extent.into()).flat_map(move |ky| (0..extent.into()).map(move |kx| (ky, kx)));
    let table: Vec<u32> = positions
        .flat_map(|(ky, kx)| (0..channels as usize).map(move |ci| (ky, kx, ci)))
        .map(|(ky, kx, ci)| (geometry.position_offset(&conv, ky, kx) + ci * geometry.channel_stride()) as u32)
        .collect();
    let x = vec![1.0; channels as usize * geometry.channel_stride()];
    let y = RefCell::new(vec![0.0; (out_channels * side * side) as usize]);
    Some(move |times| {
        let matrix = Matrix::view(&packed.desc, payload.as_ref(), 0).ok();
        let y = &mut *y.borrow_mut();
        let start = Instant::now();
        for _ in 0..times {
            let mut spmm = Spmm {
                bias: None,
                activation: conv.activation,
                x: black_box(&x),
                offsets: if extent == 1 {
                    Offsets::Stride(geometry.channel_stride())
                } else {
                    Offsets::Table(&table)
                },
                group_rows: out_channels as usize,
                group_stride: 0,
                span: geometry.span(),
                line: geometry.row as usize,
                keep: side as usize,
                y: black_box(y),
            };
            matrix.iter().for_each(|matrix| run(matrix, &mut spmm));
        }
        start.elapsed()
    })
}

/// One line of the table.
struct Line {
    kernel: &'static kernel::Kernel,
    median: f64,
    /// Least disturbed by what else runs on the machine.
    fastest: f64,
}

fn print(lines: &[Line]) {
    println!("  {:34} {:>9} {:>9}", "", "median", "fastest");
    for line in lines {
        let alike = |l: &&Line| l.kernel.layout == Layout::Dense && l.kernel.values == line.kernel.values;
        let dense = lines
            .iter()
            .filter(alike)
            .map(|l| l.fastest)
            .fold(f64::INFINITY, f64::min);
        let (median, fastest, ratio) = (line.median * 1e6, line.fastest * 1e6, dense / line.fastest);
        println!(
            "  {:34} {median:9.1} {fastest:9.1} µs {ratio:6.2} × dense",
            line.kernel.name
        );
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(30))
        .measurement_time(Duration::from_millis(150))
        .configure_from_args();
    let mut tables = Vec::new();
    for shape in CONVS {
        for sparsity in SPARSITIES {
            let title = format!(
                "{}x{}x{2}x{2}_k{3}_s{4:.0}",
                shape.0,
                shape.1,
                shape.2,
                shape.3,
                sparsity * 100.0
            );
            let mut group = criterion.benchmark_group(&title);
            let mut lines: Vec<Line> = Vec::new();
            for kernel in kernel::ALL
                .iter()
                .filter(|k| k.problem() == Problem::Spmm && k.isa.available())
            {
                let Some(bench) = bench(kernel, shape, sparsity) else {
                    continue;
                };
                let samples = RefCell::new(Vec::new());
                group.bench_function(kernel.name, |b| {
                    b.iter_custom(|times| {
                        let time = bench(times);
                        samples.borrow_mut().push(time.as_secs_f64() / times as f64);
                        time
                    });
                });
                let mut samples = samples.into_inner();
                samples.sort_by(f64::total_cmp);
                if let (Some(&median), Some(&fastest)) = (samples.get(samples.len() / 2), samples.first()) {
                    lines.push(Line {
                        kernel,
                        median,
                        fastest,
                    });
                }
            }
            group.finish();
            tables.push((title, lines));
        }
    }
    for (title, lines) in tables {
        println!("{title}");
        print(&lines);
    }
    criterion.final_summary();
}
