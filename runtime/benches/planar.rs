//! What is not a sparse product in MobileNetV1 and ResNet-50, with every kernel
//! of the registry that this CPU can run: `cargo bench -p secateur-runtime --bench
//! planar [-- FILTER]`. The table at the end gives each kernel's fastest run.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use secateur_format::encoding::{Encoding, Matrix, Quantized, ValueType, pack};
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::{Conv2d, PoolKind};
use secateur_format::{Activation, Shape, TensorId};
use secateur_runtime::ArenaBuf;
use secateur_runtime::kernel::{self, Combine, Depthwise, Kernel, Map, Pooling, Run};

/// `(channels, side, kernel, stride)`, padded by half the kernel.
const DEPTHWISE: [(u32, u32, u16, u16); 10] = [
    (32, 112, 3, 1),
    (64, 112, 3, 2),
    (128, 56, 3, 1),
    (128, 56, 3, 2),
    (256, 28, 3, 1),
    (256, 28, 3, 2),
    (512, 14, 3, 1),
    (512, 14, 3, 2),
    (1024, 7, 3, 1),
    (128, 28, 5, 1),
];
/// `(kind, channels, side, kernel, stride, padding)`.
const POOLS: [(PoolKind, usize, usize, usize, usize, usize); 3] = [
    (PoolKind::Max, 64, 112, 3, 2, 1),
    (PoolKind::Max, 64, 112, 2, 2, 0),
    (PoolKind::Average, 2048, 7, 7, 1, 0),
];
/// `(channels, side)`.
const MAPS: [(usize, usize); 4] = [(256, 56), (512, 28), (1024, 14), (2048, 7)];

/// How often to run, to how long that took.
type Repeat<'r> = Box<dyn Fn(u64) -> Duration + 'r>;

/// What is measured.
struct Work<'r> {
    title: String,
    kernel: &'static str,
    flops: usize,
    bytes: usize,
    run: Repeat<'r>,
}

fn repeat<'r>(once: impl FnMut() + 'r) -> Repeat<'r> {
    let once = RefCell::new(once);
    Box::new(move |times| {
        let once = &mut *once.borrow_mut();
        let start = Instant::now();
        (0..times).for_each(|_| once());
        start.elapsed()
    })
}

fn depthwise(kernel: &'static Kernel, run: fn(&Matrix<'_>, &mut Depthwise<'_>)) -> Vec<Work<'static>> {
    let work = |(channels, side, extent, stride): (u32, u32, u16, u16)| {
        let conv = Conv2d {
            weight: TensorId(0),
            bias: None,
            out_channels: channels,
            groups: channels,
            kernel: [extent; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pads: [extent / 2; 4],
            activation: Activation::Relu6,
        };
        let geometry = ConvGeometry::new(&conv, Shape::new(&[channels, side, side]).ok()?).ok()?;
        let cols = u32::from(extent * extent);
        let weights = vec![0.5; (channels * cols) as usize];
        let packed = pack(&Quantized::new(&weights, cols, kernel.values).ok()?, Encoding::Dense).ok()?;
        let payload = ArenaBuf::copy_of(&packed.payload);
        let x = vec![1.0; (channels * side * side) as usize];
        let mut y = vec![0.0; (channels * geometry.output.1 * geometry.output.2) as usize];
        Some(Work {
            title: format!("depthwise_{channels}x{side}x{side}_k{extent}_s{stride}"),
            kernel: kernel.name,
            flops: 2 * y.len() * cols as usize,
            bytes: 4 * (x.len() + y.len()),
            run: repeat(move || {
                let matrix = Matrix::view(&packed.desc, payload.as_ref(), 0);
                let mut task = Depthwise {
                    conv: &conv,
                    geometry: &geometry,
                    bias: None,
                    x: black_box(&x),
                    first: 0,
                    y: black_box(&mut y),
                };
                matrix.iter().for_each(|matrix| run(matrix, &mut task));
            }),
        })
    };
    DEPTHWISE.into_iter().filter_map(work).collect()
}

fn pools(kernel: &'static Kernel, run: fn(&mut Pooling<'_>)) -> Vec<Work<'static>> {
    let work = |(kind, channels, side, extent, stride, pad)| {
        let out: usize = (side + 2 * pad - extent) / stride + 1;
        let x = vec![1.0; channels * side * side];
        let mut y = vec![0.0; channels * out * out];
        Work {
            title: format!("{kind:?}_{channels}x{side}x{side}_k{extent}_s{stride}"),
            kernel: kernel.name,
            flops: y.len() * extent * extent,
            bytes: 4 * (x.len() + y.len()),
            run: repeat(move || {
                run(&mut Pooling {
                    kind,
                    kernel: [extent; 2],
                    stride: [stride; 2],
                    pads: [pad; 2],
                    input: [side; 2],
                    output: [out; 2],
                    x: black_box(&x),
                    y: black_box(&mut y),
                });
            }),
        }
    };
    POOLS.into_iter().map(work).collect()
}

fn maps(kernel: &'static Kernel, run: fn(&mut Map<'_>)) -> Vec<Work<'static>> {
    let work = |(channels, side): (usize, usize)| {
        let len = channels * side * side;
        let (a, mut y) = (vec![1.0; len], vec![0.0; len]);
        Work {
            title: format!("add_relu_{channels}x{side}x{side}"),
            kernel: kernel.name,
            flops: len,
            bytes: 3 * 4 * len,
            run: repeat(move || {
                run(&mut Map {
                    combine: Combine::Sum,
                    activation: Activation::Relu,
                    a: Some(black_box(&a)),
                    // As a residual is added: in place.
                    b: None,
                    y: black_box(&mut y),
                });
            }),
        }
    };
    MAPS.into_iter().map(work).collect()
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(30))
        .measurement_time(Duration::from_millis(150))
        .configure_from_args();
    let runs = |k: &&Kernel| k.values == ValueType::F32 && k.isa.available();
    let work = kernel::ALL.iter().filter(runs).flat_map(|kernel| match kernel.run {
        Run::Depthwise(run) => depthwise(kernel, run),
        Run::Pool(run) => pools(kernel, run),
        Run::Map(run) => maps(kernel, run),
        _ => Vec::new(),
    });
    let mut work: Vec<Work<'_>> = work.collect();
    work.sort_by(|a, b| a.title.cmp(&b.title));
    let mut lines = Vec::new();
    for work in &work {
        let fastest = RefCell::new(f64::INFINITY);
        criterion.bench_function(&format!("{}/{}", work.title, work.kernel), |b| {
            b.iter_custom(|times| {
                let time = (work.run)(times);
                let fastest = &mut *fastest.borrow_mut();
                *fastest = fastest.min(time.as_secs_f64() / times as f64);
                time
            });
        });
        lines.push((work, fastest.into_inner()));
    }
    for (work, seconds) in lines.into_iter().filter(|(_, seconds)| seconds.is_finite()) {
        println!(
            "{:30} {:44} {:8.1} µs {:6.1} GFLOP/s {:6.1} GB/s",
            work.title,
            work.kernel,
            seconds * 1e6,
            work.flops as f64 / seconds / 1e9,
            work.bytes as f64 / seconds / 1e9
        );
    }
    criterion.final_summary();
}
