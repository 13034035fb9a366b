//! Measuring what kernels cost.

use alloc::string::ToString;
use alloc::vec::Vec;

use secateur_format::encoding::{BlockIndex, Encoding};
use secateur_format::op::Conv2d;
use secateur_format::{Activation, Shape, TensorId};

use super::cost::{Costs, TERMS};
use super::{Machine, Options, Problem, Threads};
use crate::kernel::panel::{self, PanelKernel, Rows};
use crate::kernel::{Kernel, Run};

/// One measurement.
struct Sample {
    /// How often each term occurs.
    terms: [f64; TERMS],
    /// In nanoseconds.
    time: f64,
    /// Less for what is far slower than the best way to do the same: it need not be predicted well.
    weight: f64,
}

/// Products that are measured: rows, input channels, side of the square image, kernel extent, stride.
const PRODUCTS: [(u32, u32, u32, u16, u16); 17] = [
    (64, 32, 112, 1, 1),
    (64, 256, 56, 1, 1),
    (256, 64, 56, 1, 1),
    (128, 128, 56, 1, 1),
    (256, 256, 28, 1, 1),
    (512, 512, 14, 1, 1),
    (256, 1024, 14, 1, 1),
    (1024, 256, 14, 1, 1),
    (512, 128, 28, 1, 1),
    (1024, 512, 7, 1, 1),
    (512, 256, 56, 1, 2),
    (64, 64, 56, 3, 1),
    (128, 128, 28, 3, 1),
    (256, 256, 14, 3, 1),
    (256, 512, 7, 3, 1),
    (128, 128, 56, 3, 2),
    (256, 256, 28, 3, 2),
];

impl Machine {
    /// Measures the panel kernels of `options`, whose machine says what its cache holds; takes some seconds. `progress` is told
    /// each kernel's name and how many there are.
    pub fn calibrate(name: &str, options: &Options, mut progress: impl FnMut(&str)) -> Self {
        let mut threads = Threads::new(1);
        let kernels = options.kernels.iter().filter(|k| k.isa.available());
        let measured = kernels.filter_map(|kernel| {
            let Run::Panel(panel) = kernel.run else { return None };
            progress(kernel.name);
            // Without the better instruction sets, which would leave no candidates to it.
            let options = Options {
                kernels: crate::kernel::up_to(kernel.isa),
                ..options.clone()
            };
            let samples = samples(kernel, &panel, &options, &mut threads);
            // What fits none of the products is not for free.
            (!samples.is_empty()).then(|| (kernel.name.to_string(), fit(&samples)))
        });
        Self {
            name: name.to_string(),
            l1_bytes: options.machine.l1_bytes,
            kernels: measured.collect(),
        }
    }
}

/// Times of a kernel over all products, at a few sparsities and tilings.
fn samples(kernel: &'static Kernel, panel: &PanelKernel, options: &Options, threads: &mut Threads) -> Vec<Sample> {
    let mut samples = Vec::new();
    let sparsities: &[f64] = match panel.shape {
        panel::Shape::Dense { .. } => &[0.0],
        _ => &[0.5, 0.8, 0.9, 0.95],
    };
    for (rows, channels, side, extent, stride) in PRODUCTS {
        for &sparsity in sparsities {
            let height = match panel.shape {
                panel::Shape::Block { rows } | panel::Shape::Direct { rows, .. } => rows,
                _ => 1,
            };
            let columns = channels as usize * usize::from(extent * extent);
            let weights = Rows::random(rows as usize, columns, height, sparsity);
            let encoding = match panel.shape {
                panel::Shape::Dense { .. } => Encoding::Dense,
                _ if height > 1 => Encoding::Block {
                    r: height as u8,
                    c: 1,
                    index: BlockIndex::Csr16,
                },
                _ => Encoding::Csr16,
            };
            let conv = Conv2d {
                weight: TensorId(0),
                bias: None,
                out_channels: rows,
                groups: 1,
                kernel: [extent; 2],
                stride: [stride; 2],
                dilation: [1; 2],
                pads: [extent / 2; 4],
                activation: Activation::Identity,
            };
            let input = Shape::new(&[channels, side, side]).unwrap_or(Shape::SCALAR);
            let Some(problem) = Problem::made_up(weights, encoding, &conv, input) else {
                continue;
            };
            let task = problem.task();
            let candidates = task.candidates(options);
            let own: Vec<_> = candidates.iter().filter(|c| c.kernel.name == kernel.name).collect();
            // The best of the predictions so far, the worst, and some between.
            let chosen = [
                0,
                1,
                own.len() / 8,
                own.len() / 4,
                own.len() / 2,
                own.len().saturating_sub(1),
            ];
            let cut = chosen.into_iter().filter_map(|index| {
                let candidate = own.get(index)?;
                let terms = task.work(panel, candidate.tiling, options.machine.l1_bytes);
                Some((terms, task.layer(candidate, 1)?))
            });
            let (terms, layers): (Vec<_>, Vec<_>) = cut.unzip();
            let timed: Vec<_> = terms.into_iter().zip(task.measure(&layers, threads)).collect();
            let best = timed.iter().map(|&(_, time)| time).fold(f64::INFINITY, f64::min);
            samples.extend(timed.into_iter().map(|(terms, time)| Sample {
                terms,
                time,
                weight: best / time,
            }));
        }
    }
    samples
}

/// Costs, none negative, of which the predictions have the least squared relative
/// errors: one cost after the other is set to its best value, until nothing changes.
fn fit(samples: &[Sample]) -> Costs {
    let mut costs = [0.0; TERMS];
    // Each sample divided by its time: the sum shall be 1, or as little as it weighs.
    let scaled = |s: &Sample| (s.terms.map(|term| term / s.time * s.weight), s.weight);
    let rows: Vec<([f64; TERMS], f64)> = samples.iter().map(scaled).collect();
    for _ in 0..2000 {
        for term in 0..TERMS {
            let (mut along, mut square) = (0.0, 0.0);
            for (row, weight) in &rows {
                let others: f64 = (0..TERMS).filter(|&t| t != term).map(|t| row[t] * costs[t]).sum();
                along += row[term] * (weight - others);
                square += row[term] * row[term];
            }
            costs[term] = if square > 0.0 { (along / square).max(0.0) } else { 0.0 };
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_finds_the_costs_that_made_the_times() {
        let costs = [0.2, 0.1, 0.0, 3.0, 0.5, 0.4, 1.2, 0.1, 0.02, 2.0];
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f64
        };
        let samples: Vec<Sample> = (0..80)
            .map(|_| {
                let terms = costs.map(|_| random());
                Sample {
                    terms,
                    time: terms.iter().zip(costs).map(|(t, c)| t * c).sum(),
                    weight: 0.5,
                }
            })
            .collect();
        for (found, cost) in fit(&samples).iter().zip(costs) {
            assert!((found - cost).abs() < 0.05 * cost.max(0.02), "{found} is not {cost}");
        }
    }
}
