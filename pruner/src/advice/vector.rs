//! The ways to multiply a matrix with one vector: one per encoding.

use secateur_format::encoding::Encoding;
use secateur_runtime::prepared::{Options, Threads, VectorTask};

use super::{Layout, Way};

/// The one that is chosen, then the others by predicted time. They are few, and all are measured.
pub(super) fn ways(task: &VectorTask<'_>, options: &Options, threads: &mut Threads) -> Vec<Way> {
    let candidates = task.candidates(options);
    let ways = candidates.iter().filter_map(|candidate| {
        let layer = task.layer(candidate, threads.count())?;
        Some(Way {
            kernel: candidate.kernel,
            dense: candidate.encoding == Encoding::Dense,
            layout: Layout::Encoded(candidate.encoding),
            bytes: layer.bytes().map_or(candidate.bytes, |bytes| bytes as u64),
            predicted_us: Some(candidate.predicted_ns / 1e3),
            measured_us: Some(task.measure(&layer, threads) / 1e3),
        })
    });
    ways.collect()
}
