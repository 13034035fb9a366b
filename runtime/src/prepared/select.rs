//! Which kernel, cut up how, runs a product.

use alloc::vec::Vec;

use secateur_format::encoding::Encoding;
use secateur_format::geometry::ConvGeometry;
use secateur_format::op::Conv2d;

use super::cost::Machine;
use super::{Layer, Lines, Threads, Tiling};
use crate::kernel::panel::{PanelKernel, Planes, Rows, Shape, Taps};
use crate::kernel::{ALL, Kernel, Offsets, Run};

/// How models are prepared.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kernels that may be used, the preferred first.
    pub kernels: &'static [Kernel],
    /// Threads that share each product, at least 1; one without the feature `parallel`.
    pub threads: usize,
    /// How the best candidate is found.
    pub choice: Choice,
    /// What predictions are made with.
    pub machine: Machine,
}

/// How the best candidate of a product is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The least predicted time.
    Predict,
    /// The least time of a few runs of each candidate of the [shortlist](shortlist).
    #[cfg(feature = "std")]
    Measure,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: ALL,
            threads: 1,
            choice: Choice::Predict,
            machine: Machine::here(),
        }
    }
}

/// A way to run a product.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// How the product is cut up.
    pub tiling: Tiling,
    /// Predicted time, in nanoseconds.
    pub predicted_ns: f64,
}

impl Candidate {
    /// Whether all weights are multiplied, zeros too.
    pub fn is_dense(&self) -> bool {
        matches!(self.kernel.run, Run::Panel(panel) if matches!(panel.shape, Shape::Dense { .. }))
    }
}

/// How many times longer than the fastest prediction what is worth timing is predicted to take.
const CLOSE: f64 = 1.25;

/// What is worth timing of `candidates`, the fastest prediction first: those predicted to take little longer than
/// that, and the best one with dense weights.
pub fn shortlist(candidates: &[Candidate]) -> Vec<Candidate> {
    let most = candidates.first().map_or(0.0, |best| CLOSE * best.predicted_ns);
    let close = candidates.partition_point(|candidate| candidate.predicted_ns <= most);
    let (close, others) = candidates.split_at(close);
    let dense = match close.iter().any(Candidate::is_dense) {
        true => None,
        false => others.iter().find(|other| other.is_dense()),
    };
    close.iter().chain(dense).copied().collect()
}

/// A product, as far as its speed depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Task<'t> {
    /// The weights.
    pub rows: &'t Rows,
    /// How they are stored in the file.
    pub encoding: Encoding,
    /// Groups of rows with an input of their own.
    pub groups: usize,
    /// Its columns.
    pub lines: Lines,
    /// Where the weight columns' runs start.
    pub offsets: Offsets<'t>,
    /// Distance of two groups in the input.
    pub group_stride: usize,
    /// What a direct kernel, which reads the input without padding, makes of it; `None` for what is no
    /// convolution of horizontal stride 1 or 2, horizontal dilation 1 and more than one kernel column.
    pub taps: Option<Taps>,
    /// The convolution whose input other kernels need padded before.
    pub padding: Option<(&'t Conv2d, &'t ConvGeometry)>,
}

impl<'t> Task<'t> {
    /// All ways to run the product with panel kernels, the fastest prediction first.
    pub fn candidates(&self, options: &Options) -> Vec<Candidate> {
        let mut found = Vec::new();
        for kernel in options.kernels.iter().filter(|k| k.isa.available()) {
            let Run::Panel(panel) = kernel.run else { continue };
            // Only the best instruction set: the others can do nothing that it cannot do faster.
            let first = found.first().map_or(kernel.isa, |c: &Candidate| c.kernel.isa);
            if kernel.isa == first && self.fits(panel.shape) {
                found.extend(self.tilings(&panel).map(|tiling| Candidate {
                    kernel,
                    tiling,
                    predicted_ns: options.machine.predict(self, kernel, &panel, tiling, options.threads),
                }));
            }
        }
        found.sort_by(|a, b| a.predicted_ns.total_cmp(&b.predicted_ns));
        found
    }

    /// The fastest layer.
    pub(super) fn best(&self, options: &Options, threads: &mut Threads) -> Option<Layer> {
        let candidates = self.candidates(options);
        match options.choice {
            Choice::Predict => self.layer(candidates.first()?, threads.count()),
            #[cfg(feature = "std")]
            Choice::Measure => {
                let layers = shortlist(&candidates);
                let layers: Vec<Layer> = layers.iter().filter_map(|c| self.layer(c, threads.count())).collect();
                let times = self.measure(&layers, threads);
                let timed = times.into_iter().zip(layers);
                timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, layer)| layer)
            }
        }
    }

    /// The product, run as `candidate` says.
    pub fn layer(&self, candidate: &Candidate, threads: usize) -> Option<Layer> {
        Layer::new(candidate.kernel, self, candidate.tiling, threads)
    }

    /// The least time of a few runs of each layer, in nanoseconds. They take turns: what disturbs the machine for
    /// a while disturbs all; and where there are many, the processor forgets where a layer's loops end, as in a network.
    #[cfg(feature = "std")]
    pub fn measure(&self, layers: &[Layer], threads: &mut Threads) -> Vec<f64> {
        use std::time::{Duration, Instant};

        use super::{Input, Residual};

        layers.iter().for_each(|layer| threads.reserve(layer.scratch_bytes()));
        let reach = (0..self.rows.cols()).map(|col| self.offsets.of(col)).max();
        let span = self.lines.lines.saturating_sub(1) * self.lines.line + self.lines.keep * self.lines.step;
        let len = reach.unwrap_or(0) + span + self.group_stride * self.groups.saturating_sub(1);
        let raw = self.taps.map_or(0, |taps| {
            taps.input.iter().product::<usize>() * taps.channels * self.groups
        });
        let x = alloc::vec![0.5; len.max(raw)];
        let packed_len = |(_, geometry): (_, &ConvGeometry)| geometry.packed_elems();
        let mut packed = alloc::vec![0.0; self.padding.map_or(0, packed_len)];
        let mut y = alloc::vec![0.0; self.rows.len() * self.lines.columns()];
        let input = Input {
            x: &x,
            offsets: self.offsets,
            group_stride: self.group_stride,
            bias: None,
            residual: Residual::None,
            activation: secateur_format::Activation::Relu,
        };
        let (start, mut best) = (Instant::now(), alloc::vec![f64::INFINITY; layers.len()]);
        let (enough, mut turns) = (Duration::from_millis(5) * layers.len() as u32, 0);
        while turns < 3 || (turns < 8 && start.elapsed() < enough) {
            for (layer, best) in layers.iter().zip(&mut best) {
                let start = Instant::now();
                match self.padding.filter(|_| !layer.pads()) {
                    None => layer.run(&input, &mut y, threads),
                    Some((conv, geometry)) => {
                        layer.pad(conv, geometry, &x, &mut packed, threads);
                        layer.run(&Input { x: &packed, ..input }, &mut y, threads);
                    }
                }
                *best = best.min(start.elapsed().as_nanos() as f64);
            }
            turns += 1;
        }
        threads.rest();
        best
    }

    fn fits(&self, shape: Shape) -> bool {
        match (shape, self.encoding) {
            (Shape::Dense { .. }, _) => true,
            (_, Encoding::Dense) => false,
            (Shape::Block { rows }, Encoding::Block { r, .. }) => usize::from(r).is_multiple_of(rows),
            (Shape::Block { .. }, _) => false,
            (Shape::Pair, _) => true,
            (Shape::Direct { rows: 1, .. }, _) => self.taps.is_some(),
            (Shape::Direct { rows, .. }, Encoding::Block { r, .. }) => {
                self.taps.is_some() && usize::from(r).is_multiple_of(rows)
            }
            (Shape::Direct { .. }, _) => false,
        }
    }

    /// Panels and windows that may be best.
    fn tilings(&self, panel: &PanelKernel) -> alloc::vec::IntoIter<Tiling> {
        if let (Shape::Direct { .. }, Some(taps)) = (panel.shape, self.taps) {
            return self.direct_tilings(panel, &taps).into_iter();
        }
        let (needed, _) = self
            .lines
            .vectors(panel.lanes, matches!(panel.shape, Shape::Dense { .. }));
        let needed = needed.max(1);
        let cols = self.rows.cols();
        let (widths, windows): (&[usize], &[usize]) = match panel.shape {
            Shape::Pair | Shape::Direct { .. } => (&[3, 4, 5, 6, 7, 8], &[64, 96, 128, 160, 192, 256, 512]),
            Shape::Block { .. } => (&[3, 4, 5, 6, 8], &[256, 512, 1024, 2048]),
            Shape::Dense { .. } => (&[2, 3, 4], &[256, 512, 1024]),
        };
        let most = panel.vectors;
        let mut tilings: Vec<Tiling> = Vec::new();
        for &vectors in widths {
            // Panels are made equal: a width that gives as many panels as another is no other.
            let count = needed.div_ceil(vectors.min(most));
            let vectors = needed.div_ceil(count);
            for &window in windows {
                let most = window.min(panel.shape.most_cols(vectors * panel.lanes)).max(1);
                // Windows, too.
                let window = cols.div_ceil(cols.div_ceil(most).max(1)).max(1);
                let tiling = Tiling { vectors, window };
                if !tilings.contains(&tiling) {
                    tilings.push(tiling);
                }
            }
        }
        tilings.into_iter()
    }

    /// As many lines as the registers hold, or half of them, and windows whose planes fit the first-level cache.
    fn direct_tilings(&self, panel: &PanelKernel, taps: &Taps) -> Vec<Tiling> {
        let planes = |lines| Planes::new(taps, self.lines.keep, lines, panel.lanes);
        let one = planes(1);
        let tallest = one.lines_of(panel.vectors_for(&one)).min(self.lines.lines);
        let half = tallest.div_ceil(2);
        // Not a few vectors: ends of loops would take more time than them.
        let heights = match 2 * one.vectors_of(half) < panel.vectors {
            true => &[tallest][..],
            false => &[tallest, half],
        };
        let mut tilings: Vec<Tiling> = Vec::new();
        for &lines in heights {
            let planes = planes(lines);
            let most = panel.shape.most_cols(planes.plane).min(taps.channels.max(1));
            if lines == 0 || most == 0 {
                continue;
            }
            for bytes in [24 << 10, 32 << 10, 40 << 10, 48 << 10, 64 << 10, 96 << 10, 192 << 10] {
                let tiling = Tiling {
                    vectors: planes.vectors_of(lines),
                    window: (bytes / (4 * planes.plane)).clamp(1, most),
                };
                if !tilings.contains(&tiling) {
                    tilings.push(tiling);
                }
            }
        }
        tilings
    }
}
