//! How models are run.

use secateur_runtime::kernel::{ALL, Isa, Kernel};
use secateur_runtime::prepared::{Options, Prepared};
use secateur_runtime::{Model, RunError, Session};

/// How a model is run.
#[derive(Clone, Debug)]
pub enum Engine {
    /// With the weights as the file stores them, on one thread.
    InPlace(&'static [Kernel]),
    /// With weights repacked for the machine.
    Prepared(Options),
}

impl Default for Engine {
    fn default() -> Self {
        Self::Prepared(Options::default())
    }
}

impl Engine {
    /// The kernels that may run.
    pub fn kernels(&self) -> &'static [Kernel] {
        match self {
            Self::InPlace(kernels) => kernels,
            Self::Prepared(options) => options.kernels,
        }
    }

    /// Threads that share each layer.
    pub fn threads(&self) -> usize {
        match self {
            Self::InPlace(_) => 1,
            Self::Prepared(options) => options.threads,
        }
    }

    /// A session of `model` over `arena`.
    ///
    /// # Errors
    /// As [`Session::with_kernels`].
    pub fn session<'m, 'a>(&self, model: &Model<'m>, arena: &'a mut [u8]) -> Result<Session<'m, 'a>, RunError> {
        match self {
            Self::InPlace(kernels) => Session::with_kernels(model, arena, kernels),
            Self::Prepared(options) => Session::with_prepared(model, arena, Prepared::new(model, options)?),
        }
    }
}

/// An instruction set's name, as in the names of kernels.
pub fn isa_name(isa: Isa) -> String {
    format!("{isa:?}").to_lowercase()
}

/// The instruction sets that this build has kernels for and this CPU can run, the preferred first.
pub fn instruction_sets() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for kernel in ALL.iter().filter(|kernel| kernel.isa.available()) {
        let name = isa_name(kernel.isa);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
