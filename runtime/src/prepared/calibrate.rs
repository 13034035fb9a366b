//! Measuring what kernels cost.

use alloc::string::ToString;
use alloc::vec::Vec;

use secateur_format::encoding::{BlockIndex, Encoding};

use super::cost::{Costs, TERMS};
use super::{Lines, Machine, Options, Task, Threads};
use crate::kernel::panel::{PanelKernel, Rows, Shape, Taps, Unpadded};
use crate::kernel::{Kernel, Offsets, Run};

/// One measurement: how often each term occurs, and the time.
type Sample = ([f64; TERMS], f64);

/// Products that are measured: rows, input channels, side of the square image, kernel extent.
const PRODUCTS: [(usize, usize, usize, usize); 12] = [
    (64, 32, 112, 1),
    (64, 256, 56, 1),
    (256, 64, 56, 1),
    (128, 128, 56, 1),
    (256, 256, 28, 1),
    (512, 512, 14, 1),
    (256, 1024, 14, 1),
    (1024, 512, 7, 1),
    (64, 64, 56, 3),
    (128, 128, 28, 3),
    (256, 256, 14, 3),
    (256, 512, 7, 3),
];

impl Machine {
    /// Measures the panel kernels of `options`; takes some seconds. `progress` is told
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
            Some((
                kernel.name.to_string(),
                fit(&samples(kernel, &panel, &options, &mut threads)),
            ))
        });
        Self {
            name: name.to_string(),
            kernels: measured.collect(),
        }
    }
}

/// Times of a kernel over all products, at a few sparsities and tilings.
fn samples(kernel: &'static Kernel, panel: &PanelKernel, options: &Options, threads: &mut Threads) -> Vec<Sample> {
    let mut samples = Vec::new();
    let sparsities: &[f64] = match panel.shape {
        Shape::Dense { .. } => &[0.0],
        _ => &[0.5, 0.8, 0.9, 0.95],
    };
    for (rows, channels, side, extent) in PRODUCTS {
        for &sparsity in sparsities {
            let height = match panel.shape {
                Shape::Block { rows } => rows,
                _ => 1,
            };
            let weights = Rows::random(rows, channels * extent * extent, height, sparsity);
            let padded = side + extent - 1;
            let positions = (0..extent * extent).map(|p| p / extent * padded + p % extent);
            let table: Vec<u32> = positions
                .flat_map(|start| (0..channels).map(move |c| (c * padded * padded + start) as u32))
                .collect();
            let task = Task {
                rows: &weights,
                encoding: match panel.shape {
                    Shape::Dense { .. } => Encoding::Dense,
                    Shape::Block { rows } => Encoding::Block {
                        r: rows as u8,
                        c: 1,
                        index: BlockIndex::Csr16,
                    },
                    _ => Encoding::Csr16,
                },
                groups: 1,
                lines: Lines {
                    lines: side,
                    keep: side,
                    line: padded,
                },
                offsets: Offsets::Table(&table),
                group_stride: 0,
                channel_stride: padded * padded,
                taps: (extent > 1).then_some(Taps {
                    kernel: [extent; 2],
                    dilation: 1,
                    channels,
                }),
                unpadded: (extent > 1).then_some(Unpadded {
                    input: [side; 2],
                    pads: [extent / 2; 2],
                }),
            };
            let candidates = task.candidates(options);
            let own: Vec<_> = candidates.iter().filter(|c| c.kernel.name == kernel.name).collect();
            // The best, the worst, and one between.
            for index in [0, own.len() / 3, own.len().saturating_sub(1)] {
                let Some(candidate) = own.get(index) else { continue };
                if let Some(layer) = task.layer(candidate, 1) {
                    samples.push((task.work(panel, candidate.tiling), task.measure(&layer, threads)));
                }
            }
        }
    }
    samples
}

/// Costs, none negative, of which the predictions have the least squared relative
/// errors: one cost after the other is set to its best value, until nothing changes.
fn fit(samples: &[Sample]) -> Costs {
    let mut costs = [0.0; TERMS];
    // Each sample divided by its time: the sum shall be 1.
    let rows: Vec<[f64; TERMS]> = samples.iter().map(|(terms, time)| terms.map(|t| t / time)).collect();
    for _ in 0..2000 {
        for term in 0..TERMS {
            let (mut along, mut square) = (0.0, 0.0);
            for row in &rows {
                let others: f64 = (0..TERMS).filter(|&t| t != term).map(|t| row[t] * costs[t]).sum();
                along += row[term] * (1.0 - others);
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
        let costs = [0.2, 0.0, 3.0, 0.5, 0.4, 0.1, 0.02];
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 40) as f64
        };
        let samples: Vec<Sample> = (0..50)
            .map(|_| {
                let terms = costs.map(|_| random());
                (terms, terms.iter().zip(costs).map(|(t, c)| t * c).sum())
            })
            .collect();
        for (found, cost) in fit(&samples).iter().zip(costs) {
            assert!((found - cost).abs() < 0.05 * cost.max(0.02), "{found} is not {cost}");
        }
    }
}
