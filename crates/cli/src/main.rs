//! The `unet3p` command: segment images and volumes, train, prepare data, fetch, convert and inspect models.
//!
//! Every subcommand goes the same way: parsed arguments, a validated job, the work. What is wrong with the
//! arguments is found before any work and ends with exit code 2; see [`failure::Failure`] for the others.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod convert;
mod device;
mod evaluate;
mod export;
mod failure;
mod info;
mod model;
mod predict;
mod prepare;
mod pull;
mod report;
mod train;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use unet3p_models::{ISA_VARIABLE, Isa};

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    report::init(cli.global.quiet, cli.global.verbose);
    let end = run(cli).and_then(|()| match report::output_error() {
        Some(error) => Err(Failure::run(format!("the result cannot be written to stdout: {error}"))),
        None => Ok(()),
    });
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::error(&failure);
            failure.code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    check_isa()?;
    if let Some(threads) = global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .build_global()
            .map_err(|e| Failure::run(format!("cannot start {threads} threads: {e}")))?;
    }
    match cli.command {
        Command::Predict(args) => predict::run(args, global),
        Command::Evaluate(args) => evaluate::run(args, global),
        Command::Train(args) => train::run(args, global),
        Command::Prepare { what } => prepare::run(what),
        Command::Verify(args) => verify::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Export(args) => export::run(args, global),
        Command::Pull(args) => pull::run(args, global),
        Command::Info(args) => info::run(args, global),
        Command::Bench(args) => bench::run(args, global),
    }
}

/// An instruction set asked for by environment variable must be there, or what runs is not what was asked for.
fn check_isa() -> Result<(), Failure> {
    let Ok(name) = std::env::var(ISA_VARIABLE) else { return Ok(()) };
    let available = Isa::available();
    if available.iter().any(|isa| isa.name() == name) {
        return Ok(());
    }
    Err(Failure::usage(format!("{ISA_VARIABLE}={name}: this CPU has {available:?}")))
}
