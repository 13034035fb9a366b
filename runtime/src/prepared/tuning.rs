//! What a file says was fastest, where it was measured on a machine like this one.

#[cfg(feature = "std")]
use alloc::string::String;
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

/// The name of this CPU, with its family and model, as far as the system tells: makers give one name to several
/// generations.
#[cfg(feature = "std")]
pub fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    name_in(&info).unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// The name in what Linux tells of its CPUs.
#[cfg(feature = "std")]
fn name_in(info: &str) -> Option<String> {
    let field = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| (key.trim() == name).then(|| value.trim()))
    };
    let name = field("model name")?;
    Some(match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => std::format!("{name} (family {family}, model {model})"),
        _ => name.into(),
    })
}

#[cfg(all(test, feature = "std"))]
mod tests {
    #[test]
    fn names_tell_generations_apart() {
        let info = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n";
        assert_eq!(super::name_in(info).as_deref(), Some("AMD EPYC (family 25, model 17)"));
        assert_eq!(super::name_in("model name\t: Cortex\n").as_deref(), Some("Cortex"));
        assert_eq!(super::name_in(""), None);
    }
}
