//! The flags that say how a model is run.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secateur_runtime::kernel::{ALL, Isa, Kernel, up_to};
use secateur_runtime::prepared::{Machine, Options};

use super::error::CliError;
use crate::engine::{Engine, isa_name};
use crate::machine;

#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    #[command(flatten)]
    kernels: KernelArgs,
    /// Run the weights as the file stores them, without repacking them first
    #[arg(long)]
    no_prepare: bool,
}

impl EngineArgs {
    pub(super) fn get(&self) -> Result<Engine, CliError> {
        self.with(Options {
            kernels: self.kernels()?,
            ..Options::default()
        })
    }

    pub(super) fn kernels(&self) -> Result<&'static [Kernel], CliError> {
        self.kernels.get()
    }

    /// With these options, of which a session without preparation has only the kernels.
    pub(super) fn with(&self, options: Options) -> Result<Engine, CliError> {
        match (self.no_prepare, options.threads) {
            (false, _) => Ok(Engine::Prepared(options)),
            (true, 1) => Ok(Engine::InPlace(options.kernels)),
            (true, _) => Err(CliError::usage("--no-prepare runs on one thread: leave --threads out")),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// The best instruction set that may be used; see `kernels`
    #[arg(long, default_value = "best", value_enum, alias = "kernels")]
    isa: IsaArg,
}

impl KernelArgs {
    pub(super) fn get(&self) -> Result<&'static [Kernel], CliError> {
        let Some(isa) = self.isa.get() else { return Ok(ALL) };
        let (kernels, name) = (up_to(isa), isa_name(isa));
        if kernels.is_empty() {
            return Err(CliError::usage(format!("this build has no kernels for {name}")));
        }
        if !isa.available() {
            return Err(CliError::usage(format!("this CPU has no {name}")));
        }
        Ok(kernels)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum IsaArg {
    Best,
    Avx512,
    Avx2,
    Neon,
    Simd128,
    Portable,
    Scalar,
}

impl IsaArg {
    fn get(self) -> Option<Isa> {
        Some(match self {
            Self::Best => return None,
            Self::Avx512 => Isa::Avx512,
            Self::Avx2 => Isa::Avx2,
            Self::Neon => Isa::Neon,
            Self::Simd128 => Isa::Simd128,
            Self::Portable => Isa::Portable,
            Self::Scalar => Isa::Scalar,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Threads that share each layer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_threads)]
    threads: usize,
    /// A machine file, as `bench` measures it: what predictions are made with
    #[arg(long, value_name = "FILE")]
    machine: Option<PathBuf>,
}

impl MachineArgs {
    pub(super) fn options(&self) -> Result<Options, CliError> {
        let machine = self.machine.as_deref().map(load).transpose()?;
        Ok(Options {
            threads: self.threads,
            machine: machine.unwrap_or_else(Machine::here),
            ..Options::default()
        })
    }
}

fn load(path: &Path) -> Result<Machine, CliError> {
    let text = std::fs::read(path).map_err(|e| CliError::io(path, &e))?;
    let text = String::from_utf8(text).map_err(|e| CliError::unreadable(path, e))?;
    machine::from_json(&text).map_err(|e| CliError::unreadable(path, e))
}

fn parse_threads(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (1..=256).contains(&count) {
        return Ok(count);
    }
    Err("must be from 1 to 256".to_owned())
}
