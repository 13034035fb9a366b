//! The command line: arguments, tables and exit codes. Results go to stdout,
//! progress and warnings to stderr. `docs/cli.md` documents every command.

mod args;
mod bench;
mod compare;
mod convert;
mod demo;
mod difficulty;
mod dimension;
mod engine;
mod error;
mod eval;
mod explain;
mod groups;
mod impact;
mod inspect;
mod interrupt;
mod kernels;
mod masks;
mod model;
mod output;
mod prune;
mod recipe;
mod recipe_run;
mod run;
mod sensitivity;
mod sweep;
mod train;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use error::CliError;

/// Parses the arguments, runs the command, reports, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; anything else is wrong usage.
            let code = if error.use_stderr() { error::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.is_broken_pipe() {
                return ExitCode::SUCCESS;
            }
            eprintln!("error: {}", error.message);
            ExitCode::from(error.code)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), CliError> {
    let out = output::Output {
        json: cli.json,
        quiet: cli.quiet,
    };
    match &cli.command {
        Command::Inspect(args) => inspect::run(args, &out),
        Command::Prune(args) => prune::run(args, &out),
        Command::Train(args) => train::run(args, &out),
        Command::Convert(args) => convert::run(args, &out),
        Command::Run(args) => run::run(args, &out),
        Command::Eval(args) => eval::run(args, &out),
        Command::Verify(args) => verify::run(args, &out),
        Command::Explain(args) => explain::run(args, &out),
        Command::Bench(args) => bench::run(args, &out),
        Command::Kernels => kernels::run(&out),
        Command::Demo(args) => demo::run(args, &out),
        Command::Difficulty(args) => difficulty::run(args, &out),
        Command::Dimension(args) => dimension::run(args, &out),
        Command::Recipe(args) => recipe::run(args, &out),
        Command::Masks(args) => masks::run(args, &out),
        Command::Compare(args) => compare::run(args, &out),
        Command::Impact(args) => impact::run(args, &out),
        Command::Sensitivity(args) => sensitivity::run(args, &out),
        Command::Sweep(args) => sweep::run(args, &out),
    }
}
