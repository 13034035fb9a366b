//! Times products with prepared weights: one JSON request per line on standard
//! input, one answer per line on standard output.
//!
//! `{"m":768,"k":768,"n":128,"sparsity":0.9,"pattern":"unstructured","repeat":50}`;
//! the pattern may be `dense` or `RxC` blocks; `isa` is optional, and so are `vectors` and `window`, together. With one column, the
//! fastest of a few kernels is timed.

use std::io::BufRead;
use std::time::Instant;

use secateur_format::Activation;
use secateur_format::encoding::{BlockIndex, Encoding, Matrix, Quantized, ValueType, pack};
use secateur_runtime::ArenaBuf;
use secateur_runtime::kernel::panel::{Rows, Shape};
use secateur_runtime::kernel::{self, Isa, Kernel, Layout, Offsets, Problem, Run, Spmv};
use secateur_runtime::prepared::{
    Input, Layer, Lines, Options, Residual, Task, Threads, Tiling, VectorWeights, shortlist,
};

fn random(seed: &mut u64) -> f32 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 40) as f32 / (1u64 << 24) as f32
}

/// One column: the fastest of the kernels that prepared models choose from.
fn one_column(
    weights: &[f32],
    x: &[f32],
    encoding: Encoding,
    isa: Isa,
    repeat: usize,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let mut best: Option<(f64, f64, &str)> = None;
    let kernels = kernel::ALL
        .iter()
        .filter(|kernel| kernel.isa == isa && kernel.values == ValueType::F32);
    for kernel in kernels {
        let encoding = match (kernel.problem(), kernel.layout) {
            (Problem::Spmv, Layout::Dense) => Encoding::Dense,
            (Problem::Spmv, Layout::Bitmask) => Encoding::Bitmask,
            (Problem::Spmv | Problem::Slices, Layout::Csr16) => Encoding::Csr16,
            (Problem::Spmv, layout) if Layout::of(encoding) == Some(layout) => encoding,
            _ => continue,
        };
        let packed = pack(&Quantized::new(weights, x.len() as u32, ValueType::F32)?, encoding)?;
        let own = VectorWeights::new(&packed, kernel).ok_or("no weights")?;
        let mut y = vec![0.0; weights.len() / x.len()];
        let mut times: Vec<f64> = (0..=repeat.max(1))
            .map(|_| {
                let start = Instant::now();
                let mut task = Spmv {
                    bias: None,
                    activation: Activation::Identity,
                    x,
                    y: &mut y,
                };
                own.product(kernel, &mut task);
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        for (row, y) in y.iter().enumerate() {
            let line = weights[row * x.len()..].iter().zip(x);
            let sum: f64 = line.map(|(w, x)| f64::from(w * x)).sum();
            if (f64::from(*y) - sum).abs() > 1e-4 * sum.abs().max(1.0) {
                return Err(format!("row {row}: {y} is not {sum}").into());
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        if best.is_none_or(|(other, ..)| median < other) {
            best = Some((median, times[0], kernel.name));
        }
    }
    let (median, least, kernel) = best.ok_or("no kernel")?;
    Ok(serde_json::json!({"median_us": median, "min_us": least, "kernel": kernel}))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lock().lines() {
        let request: serde_json::Value = serde_json::from_str(&line?)?;
        let number = |key: &str| request[key].as_u64().map(|n| n as usize);
        let (m, k, n) = (
            number("m").ok_or("m")?,
            number("k").ok_or("k")?,
            number("n").ok_or("n")?,
        );
        let pattern = request["pattern"].as_str().unwrap_or("unstructured");
        let sparsity = request["sparsity"].as_f64().unwrap_or(0.0) as f32;
        let (r, c): (usize, usize) = match pattern.split_once('x') {
            Some((r, c)) => (r.parse()?, c.parse()?),
            None => (1, 1),
        };
        let mut seed = 0x1234_5678_9abc_def1;
        let mut kept = vec![false; m.div_ceil(r) * k.div_ceil(c)];
        kept.iter_mut()
            .for_each(|kept| *kept = pattern == "dense" || random(&mut seed) >= sparsity);
        let blocks = k.div_ceil(c);
        let weights: Vec<f32> = (0..m * k)
            .map(|i| match kept[i / k / r * blocks + i % k / c] {
                true => random(&mut seed) + 0.01,
                false => 0.0,
            })
            .collect();
        let encoding = match (pattern, r * c) {
            ("dense", _) => Encoding::Dense,
            (_, 1) => Encoding::Csr16,
            _ => Encoding::Block {
                r: r as u8,
                c: c as u8,
                index: BlockIndex::Csr16,
            },
        };
        let isa = match request["isa"].as_str() {
            Some("avx2") => Isa::Avx2,
            _ => Isa::Avx512,
        };
        if n == 1 {
            let x: Vec<f32> = (0..k).map(|_| random(&mut seed)).collect();
            println!(
                "{}",
                one_column(&weights, &x, encoding, isa, number("repeat").unwrap_or(30))?
            );
            continue;
        }
        let packed = pack(&Quantized::new(&weights, k as u32, ValueType::F32)?, encoding)?;
        let payload = ArenaBuf::copy_of(&packed.payload);
        let matrix = Matrix::view(&packed.desc, payload.as_ref(), 0).map_err(|e| format!("{e:?}"))?;
        let rows = Rows::of(&matrix, k);
        let fits = |kernel: &&Kernel| match kernel.run {
            Run::Panel(panel) if kernel.isa == isa => match (panel.shape, r) {
                (Shape::Dense { .. }, _) => pattern == "dense",
                (Shape::Pair, 1) => pattern != "dense",
                (Shape::Block { rows }, r) => r.is_multiple_of(rows),
                _ => false,
            },
            _ => false,
        };
        let lines = Lines {
            lines: 1,
            keep: n,
            line: n,
            step: 1,
        };
        let task = Task {
            rows: &rows,
            encoding,
            groups: 1,
            lines,
            offsets: Offsets::Stride(n),
            group_stride: 0,
            taps: None,
            padding: None,
        };
        let mut threads = Threads::new(number("threads").unwrap_or(1));
        let (kernel, tiling) = match (number("vectors"), number("window")) {
            (Some(vectors), Some(window)) => {
                let kernel = kernel::ALL.iter().rfind(fits).ok_or("no kernel")?;
                (kernel, Tiling { vectors, window })
            }
            // The fastest of those whose prediction is close to the best.
            _ => {
                let options = Options {
                    kernels: kernel::up_to(isa),
                    ..Options::default()
                };
                let mut candidates = task.candidates(&options);
                candidates.retain(|candidate| fits(&candidate.kernel));
                let layers = shortlist(&candidates);
                let layers = layers.iter().filter_map(|c| task.layer(c, threads.count()));
                let layers: Vec<Layer> = layers.collect();
                let timed = task.measure(&layers, &mut threads).into_iter().zip(&layers);
                let (_, best) = timed.min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no layer")?;
                (best.kernel(), best.tiling())
            }
        };
        let layer = Layer::new(kernel, &task, tiling, threads.count()).ok_or("no layer")?;
        threads.reserve(layer.scratch_bytes());
        let x: Vec<f32> = (0..k * n).map(|_| random(&mut seed)).collect();
        let mut y = vec![0.0; m * n];
        let input = Input {
            x: &x,
            offsets: Offsets::Stride(n),
            group_stride: 0,
            bias: None,
            residual: Residual::None,
            activation: Activation::Identity,
        };
        layer.run(&input, &mut y, &mut threads);
        // A check on a few rows, so that no wrong product is ever timed.
        for row in [0, m / 2, m - 1] {
            for col in [0, n / 2, n - 1] {
                let sum: f64 = (0..k)
                    .map(|i| f64::from(weights[row * k + i]) * f64::from(x[i * n + col]))
                    .sum();
                let y = f64::from(y[row * n + col]);
                if (y - sum).abs() > 1e-4 * sum.abs().max(1.0) {
                    return Err(format!("row {row} column {col}: {y} is not {sum}").into());
                }
            }
        }
        let mut times: Vec<f64> = (0..number("repeat").unwrap_or(30).max(1))
            .map(|_| {
                let start = Instant::now();
                layer.run(&input, &mut y, &mut threads);
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "{}",
            serde_json::json!({"median_us": times[times.len() / 2], "min_us": times[0], "kernel": kernel.name, "vectors": tiling.vectors, "window": tiling.window})
        );
    }
    Ok(())
}
