//! What a file says was fastest, where it was measured on a machine like this one.

use alloc::vec::Vec;

use secateur_format::Model;
use secateur_format::container::TunedNode;

use super::{Layer, Options, Task};

/// What the file says, if it was measured on this CPU and nothing is to be measured now. Kernels
/// that are no candidates here have to be passed over.
#[cfg(feature = "std")]
pub(super) fn of<'m>(model: &Model<'m>, options: &Options) -> Vec<TunedNode<'m>> {
    let tuning = model.tuning().filter(|_| options.choice == super::Choice::Predict);
    let tuning = tuning.filter(|tuning| tuning.machine == cpu_name());
    tuning.into_iter().flat_map(|tuning| tuning.nodes()).collect()
}

/// Nothing: without a system there is no name to compare.
#[cfg(not(feature = "std"))]
pub(super) fn of<'m>(_: &Model<'m>, _: &Options) -> Vec<TunedNode<'m>> {
    Vec::new()
}

impl Task<'_> {
    /// The layer as it was tuned; `None` if there is no such candidate.
    pub(super) fn tuned(&self, tuned: &TunedNode<'_>, options: &Options, threads: usize) -> Option<Layer> {
        let candidates = self.candidates(options);
        let same = candidates.iter().find(|candidate| {
            candidate.kernel.name == tuned.kernel
                && candidate.tiling.vectors == usize::from(tuned.vectors)
                && candidate.tiling.window == tuned.window as usize
        });
        self.layer(same?, threads)
    }
}

/// The name of this CPU, as far as the system tells.
#[cfg(feature = "std")]
pub fn cpu_name() -> alloc::string::String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).into()
}
