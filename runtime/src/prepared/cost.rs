//! Predicted times: for each kernel, a sum of what it does, each with a cost
//! that was measured (see `calibrate`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Task, Tiling};
use crate::kernel::Kernel;
use crate::kernel::panel::{PanelKernel, Planes, Shape};

/// Terms of a prediction.
pub const TERMS: usize = 10;

/// Nanoseconds per unit of each term, as [`Task::work`] counts them.
pub type Costs = [f64; TERMS];

/// What a machine's speed is predicted from.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The CPU that was measured, in words.
    pub name: String,
    /// Bytes of the first-level cache that panels may count on: nearly all, or three quarters, the rest is for weights and sums.
    pub l1_bytes: f64,
    /// The costs of kernels, by name.
    pub kernels: Vec<(String, Costs)>,
}

impl Default for Machine {
    /// A server core with AVX-512: measured on an AMD EPYC of the Zen 5 generation.
    fn default() -> Self {
        Self::shipped("AMD EPYC (Zen 5)", 36.0, ZEN5)
    }
}

/// Fitted by `secateur bench --calibrate`, and to the layers of whole networks; before direct kernels stacked entries.
const ZEN5: &[(&str, Costs)] = &include!("zen5.rs");
/// Fitted by `secateur bench --calibrate`, those of pairs and direct kernels of AVX-512 to the layers of whole networks.
const ZEN4: &[(&str, Costs)] = &include!("zen4.rs");

/// For kernels that were not measured: plausible ratios. Predictions of such a kernel are only
/// good for comparing candidates.
const GUESS: Costs = [0.17, 0.15, 0.08, 1.0, 0.8, 0.7, 1.4, 0.5, 0.002, 2.0];

impl Machine {
    /// Of the machines that were measured, the one whose core is most like that of this CPU.
    pub fn here() -> Self {
        match has_256_bit_units() {
            true => Self::shipped("AMD EPYC (Zen 4)", 30.0, ZEN4),
            false => Self::default(),
        }
    }

    fn shipped(name: &str, l1_kib: f64, kernels: &[(&str, Costs)]) -> Self {
        Self {
            name: name.to_string(),
            l1_bytes: l1_kib * 1024.0,
            kernels: kernels.iter().map(|(name, costs)| (name.to_string(), *costs)).collect(),
        }
    }

    /// Nanoseconds that a product takes on one thread, divided by `threads`.
    pub fn predict(
        &self,
        task: &Task<'_>,
        kernel: &Kernel,
        panel: &PanelKernel,
        tiling: Tiling,
        threads: usize,
    ) -> f64 {
        let costs = self.kernels.iter().find(|(name, _)| name == kernel.name);
        let costs = costs.map_or(&GUESS, |(_, costs)| costs);
        let terms = task.work(panel, tiling, self.l1_bytes);
        terms.iter().zip(costs).map(|(term, cost)| term * cost).sum::<f64>() / threads as f64
    }
}

/// Whether this is a core of AMD's Zen 3 or Zen 4: one multiply-add of 512 bits a cycle, or two of 256.
fn has_256_bit_units() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::__cpuid;

        let vendor = __cpuid(0);
        let signature = __cpuid(1).eax;
        let family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
        [vendor.ebx, vendor.edx, vendor.ecx] == [b"Auth", b"enti", b"cAMD"].map(|name| u32::from_le_bytes(*name))
            && family == 0x19
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Second-level cache that weights may count on.
const L2_BYTES: f64 = 512.0 * 1024.0;

impl Task<'_> {
    /// How often a panel kernel does what takes time, where panels may count on `l1_bytes` of the first-level cache.
    pub fn work(&self, panel: &PanelKernel, tiling: Tiling, l1_bytes: f64) -> [f64; TERMS] {
        let cut = self.cut(panel, tiling);
        let (rows, nnz) = (self.rows.len() as f64, self.rows.nnz() as f64);
        let height = panel.shape.rows() as f64;
        let strips = self.rows.len().div_ceil(panel.shape.rows()) as f64;
        // Multiply-adds of a vector of sums each; bytes of weights; rows that share a load of the panel.
        let (steps, step_bytes, sharing) = match panel.shape {
            Shape::Dense { .. } => (strips * height * cut.cols, 4.0, height),
            Shape::Block { .. } => (nnz, 4.0 + 4.0 / height, height),
            Shape::Direct { rows: 1, .. } if cut.stacked.is_some() => (nnz, 6.0, 1.0),
            // An odd number of entries of a group is filled up.
            Shape::Direct { rows: 1, .. } => (nnz + 0.5 * rows * cut.windows * cut.groups, 6.0, 1.0),
            Shape::Direct { .. } => (nnz, 4.0 + 4.0 / height, height),
            // The shorter row of a pair is filled up: the more, the more the rows' lengths spread.
            Shape::Pair => {
                let mean = nnz / (rows * cut.windows).max(1.0);
                (nnz + 0.15 * rows * cut.windows * libm::sqrt(mean.max(0.1)), 6.0, 1.0)
            }
        };
        // Loads are what takes time, until enough of them are shared.
        let density = nnz / (rows * self.rows.cols() as f64).max(1.0);
        let loads = match (panel.shape, cut.stacked) {
            (Shape::Pair, _) => {
                // Partners have more in common than by chance.
                let window = (cut.cols / cut.windows).max(1.0);
                let shared = density + 1.8 * (1.0 - density) / libm::sqrt(window);
                1.0 - (0.4 * shared).min(0.12)
            }
            (_, Some(shared)) => 1.0 - (0.7 * density * (1.0 - density / 2.0) * shared).min(0.09),
            _ => 1.0,
        };
        let panel_bytes = cut.cols / cut.windows * cut.line * (4 * panel.lanes) as f64;
        let beyond = (panel_bytes / l1_bytes - 1.0).clamp(0.0, 4.0);
        let bytes = steps * step_bytes;
        let packed_lines = self.groups as f64 * cut.cols * cut.panels;
        let padded = match (panel.shape, self.padding) {
            (Shape::Direct { .. }, _) | (_, None) => 0,
            (_, Some((_, geometry))) => geometry.packed_elems(),
        };
        [
            // Multiply-adds.
            steps * cut.vectors * loads,
            // Reads of weights and offsets.
            steps * cut.panels / sharing,
            // Vectors of the panel that come from beyond the first-level cache.
            steps * cut.vectors * beyond / sharing,
            // Ends of loops, which are mispredicted.
            strips * cut.windows * cut.panels * cut.groups,
            // Sums kept between windows.
            rows * cut.vectors * (cut.windows - 1.0),
            // Vectors copied into panels, and runs of them.
            packed_lines * cut.line,
            packed_lines * cut.segments,
            // Vectors of the output.
            rows * self.lines.columns().div_ceil(panel.lanes) as f64,
            // Bytes of weights from beyond the second-level cache.
            if bytes > L2_BYTES { bytes * cut.panels } else { 0.0 },
            // Vectors of the input that are padded before.
            padded.div_ceil(panel.lanes) as f64,
        ]
    }

    /// The tiling, in numbers.
    fn cut(&self, panel: &PanelKernel, tiling: Tiling) -> Cut {
        let windows = |cols: usize| cols.div_ceil(tiling.window.max(1)) as f64;
        if let (Shape::Direct { .. }, Some(taps)) = (panel.shape, self.taps) {
            let one = Planes::new(&taps, self.lines.keep, 1, panel.lanes);
            let most = one.lines_of(tiling.vectors.min(panel.vectors_for(&one)));
            let bands = self.lines.lines.div_ceil(most.max(1));
            let planes = Planes::new(
                &taps,
                self.lines.keep,
                self.lines.lines.div_ceil(bands.max(1)),
                panel.lanes,
            );
            // Entries that may be stacked, and lines of these that are loaded once.
            let next = match taps.stride[0].is_multiple_of(taps.dilation.max(1)) {
                true => taps.stride[0] / taps.dilation.max(1),
                false => taps.kernel[0],
            };
            let share = |all: usize, without: usize| all.saturating_sub(without) as f64 / all.max(1) as f64;
            let saved = share(taps.kernel[0], next) * share(self.lines.lines, bands);
            let bands = bands as f64;
            let copies = taps.phases() * planes.folded;
            return Cut {
                vectors: planes.vectors_of(self.lines.lines) as f64,
                cols: taps.channels as f64,
                windows: windows(taps.channels),
                panels: bands,
                line: (planes.plane / panel.lanes) as f64,
                segments: copies as f64 * (self.lines.lines as f64 / bands + taps.halo() as f64),
                groups: taps.reaches() as f64,
                stacked: panel.shape.is_stacked(&planes).then_some(saved),
            };
        }
        let (columns, cols) = (self.lines.columns(), self.rows.cols());
        let (vectors, extra) = self
            .lines
            .vectors(panel.lanes, matches!(panel.shape, Shape::Dense { .. }));
        let panels = vectors.div_ceil(tiling.vectors.max(1)) as f64;
        let keep = self.lines.keep.max(1) as f64;
        let last = columns % panel.lanes;
        let part = match panel.shape {
            // A last column takes a vector per strip, not one per row.
            Shape::Dense { rows } if extra => 1.0 / rows as f64,
            Shape::Dense { .. } => 0.0,
            _ if panel.halves && vectors > 1 && last > 0 && last <= panel.lanes / 2 => -0.5,
            _ => 0.0,
        };
        Cut {
            vectors: vectors as f64 + part,
            cols: cols as f64,
            windows: windows(cols),
            panels,
            line: vectors as f64 / panels,
            segments: match self.lines.is_one_run() {
                true => 1.0,
                false => columns as f64 / panels / keep + 1.0 - 1.0 / keep,
            },
            groups: 1.0,
            stacked: None,
        }
    }
}

/// A tiling, in numbers.
struct Cut {
    /// Vectors of sums per row.
    vectors: f64,
    /// Weight columns, or channels of a direct kernel.
    cols: f64,
    windows: f64,
    panels: f64,
    /// Vectors of a panel per weight column or channel.
    line: f64,
    /// Runs that these are copied in.
    segments: f64,
    /// Groups of a strip in a window: each is one loop or two.
    groups: f64,
    /// If entries of a direct kernel are stacked: the share of loads that this could save.
    stacked: Option<f64>,
}
