//! The ways to multiply a matrix with one vector: one per encoding.

use secateur_format::encoding::Encoding;
use secateur_runtime::prepared::{Options, Threads, VectorTask};

use super::{Effort, Layout, Way};

/// The one that is chosen, then the others by predicted time.
pub(super) fn ways(task: &VectorTask<'_>, options: &Options, effort: Effort, threads: &mut Threads) -> Vec<Way> {
    let candidates = task.candidates(options);
    let ways = candidates.iter().enumerate().filter_map(|(i, candidate)| {
        let layer = task.layer(candidate, threads.count())?;
        let dense = candidate.encoding == Encoding::Dense;
        let measured = effort == Effort::All || i == 0 || dense;
        Some(Way {
            kernel: candidate.kernel,
            dense,
            layout: Layout::Encoded(candidate.encoding),
            bytes: candidate.bytes,
            predicted_us: Some(candidate.predicted_ns / 1e3),
            measured_us: measured.then(|| task.measure(&layer, threads) / 1e3),
        })
    });
    ways.collect()
}
