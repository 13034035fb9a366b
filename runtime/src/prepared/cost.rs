//! Predicted times: for each kernel, a sum of what it does, each with a cost
//! that was measured (see `calibrate`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Task, Tiling};
use crate::kernel::Kernel;
use crate::kernel::panel::{PanelKernel, Shape};

/// Terms of a prediction.
pub const TERMS: usize = 8;

/// Nanoseconds per unit of each term, as [`Task::work`] counts them.
pub type Costs = [f64; TERMS];

/// What a machine's speed is predicted from.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The CPU that was measured, in words.
    pub name: String,
    /// The costs of kernels, by name.
    pub kernels: Vec<(String, Costs)>,
}

impl Default for Machine {
    /// A server core with AVX-512: measured on an AMD EPYC of the Zen 5 generation.
    fn default() -> Self {
        Self {
            name: "AMD EPYC (Zen 5)".to_string(),
            kernels: DEFAULT.iter().map(|(name, costs)| (name.to_string(), *costs)).collect(),
        }
    }
}

/// Fitted by `secateur bench --calibrate`.
const DEFAULT: &[(&str, Costs)] = &include!("zen5.rs");

/// For kernels that were not measured: plausible ratios. Predictions of such a kernel are only
/// good for comparing candidates.
const GUESS: Costs = [0.19, 0.04, 3.0, 0.3, 0.4, 0.3, 0.02, 0.5];

impl Machine {
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
        let terms = task.work(panel, tiling);
        terms.iter().zip(costs).map(|(term, cost)| term * cost).sum::<f64>() / threads as f64
    }
}

/// First-level cache that panels may count on.
const L1_BYTES: f64 = 36.0 * 1024.0;
/// Second-level cache that weights may count on.
const L2_BYTES: f64 = 512.0 * 1024.0;

impl Task<'_> {
    /// How often a panel kernel does what takes time: multiply-adds of a vector (1) and those
    /// with operands from beyond the first-level cache, strips (2), sums kept between windows,
    /// vectors packed, vectors of the output, bytes of weights from beyond the
    /// second-level cache, and vectors of the input padded before.
    pub fn work(&self, panel: &PanelKernel, tiling: Tiling) -> [f64; TERMS] {
        let (rows, nnz) = (self.rows.len() as f64, self.rows.nnz() as f64);
        let outputs = self.lines.columns().div_ceil(panel.lanes);
        // Vectors of sums per row, panel lines, vectors of a panel line, and words per step.
        let (vectors, cols, line) = match (panel.shape, self.taps) {
            (Shape::Direct { .. }, Some(taps)) => {
                let per_line = self.line_vectors(&taps, panel.lanes);
                let lines = (tiling.vectors / per_line).max(1);
                let bands = self.lines.lines.div_ceil(lines) as f64;
                let plane =
                    taps.phases() as f64 * (self.lines.lines as f64 / bands + taps.halo() as f64) * per_line as f64;
                (self.lines.lines * per_line, taps.channels, plane)
            }
            _ => (outputs, self.rows.cols(), tiling.vectors as f64),
        };
        let panels = vectors.div_ceil(tiling.vectors.max(1)) as f64;
        let windows = cols.div_ceil(tiling.window.max(1)) as f64;
        let (vectors, cols, outputs) = (vectors as f64, cols as f64, outputs as f64);
        let height = panel.shape.rows();
        let strip_rows = self.rows.len().div_ceil(height) as f64;
        let (steps, step_bytes) = match panel.shape {
            Shape::Dense { .. } => (strip_rows * height as f64 * cols, 4.0),
            Shape::Block { rows } => (nnz, 4.0 + 4.0 / rows as f64),
            // The shorter row of a pair is filled up.
            Shape::Pair => (nnz + rows * windows * 0.3, 8.0),
            Shape::Direct { rows: 1 } => (nnz, 8.0),
            Shape::Direct { rows } => (nnz, 4.0 + 4.0 / rows as f64),
        };
        let panel_bytes = (cols / windows) * line * (4 * panel.lanes) as f64;
        let beyond = (panel_bytes / L1_BYTES - 1.0).clamp(0.0, 1.5);
        let groups = self.groups as f64;
        let strips = strip_rows * windows * panels;
        let groups_of_rows = match panel.shape {
            // Each group ends with a misprediction.
            Shape::Direct { .. } => self.taps.map_or(1.0, |taps| taps.reaches() as f64),
            _ => 1.0,
        };
        let bytes = steps * step_bytes;
        let padded = match (panel.shape, self.padding) {
            (Shape::Direct { .. }, _) | (_, None) => 0,
            (_, Some((_, geometry))) => geometry.packed_elems(),
        };
        let streamed = if bytes > L2_BYTES { bytes * panels } else { 0.0 };
        [
            steps * vectors,
            steps * vectors * beyond,
            strips * groups_of_rows,
            rows * vectors * (windows - 1.0),
            groups * cols * line * panels * self.segment_factor(panel),
            rows * outputs,
            streamed,
            padded.div_ceil(panel.lanes) as f64,
        ]
    }

    /// Segments are copied in whole vectors: lines shorter than one cost as much.
    fn segment_factor(&self, panel: &PanelKernel) -> f64 {
        let keep = self.lines.keep as f64;
        if matches!(panel.shape, Shape::Direct { .. }) || self.lines.line == self.lines.keep {
            return 1.0;
        }
        (panel.lanes as f64 / keep).max(1.0) + 0.2
    }
}
