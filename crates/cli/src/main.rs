//! The `unet3p` command: segment images and volumes, train, prepare data, fetch, convert and inspect models.
//!
//! Every subcommand goes the same way: parsed arguments, a validated job, the work. What is wrong with the
//! arguments is found before any work and ends with exit code 2; see [`failure::Failure`] for the others.
#![forbid(unsafe_code)]

mod args;
mod bench;
mod command;
mod config;
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
mod settings;
mod train;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use unet3p_models::{ISA_VARIABLE, Isa};

use crate::args::Global;
use crate::command::{Cli, Command};
use crate::failure::Failure;

/// Just below 32 MiB, the largest block, in bytes, for which glibc raises its thresholds.
const LARGE_BLOCK: usize = 31 << 20;

/// Makes glibc keep the memory of one step for the next: once a block this large is freed, only larger ones are given back
/// at once, and what is free at the heap's end from twice its size on. Else much goes back to the kernel in each step, and
/// every page that comes again is cleared first. To other allocators it is one block that comes and goes.
fn keep_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BLOCK)));
}

fn main() -> ExitCode {
    keep_memory();
    let cli = Cli::parse();
    report::init(cli.global.quiet, cli.global.verbose);
    report::hide_guarded_panics();
    let end = run(cli).and_then(|()| match report::output_error() {
        Some(error) => Err(Failure::run(format!("the result cannot be written to stdout: {error}"))),
        None => Ok(()),
    });
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match failure {
                Failure::Interrupted(_) => report::stopped(&failure),
                _ => report::error(&failure),
            }
            failure.code()
        }
    }
}

/// Stack of a thread of the pool, in bytes: what a main thread usually has.
const STACK_SIZE: usize = 8 << 20;

fn run(Cli { global, command }: Cli) -> Result<(), Failure> {
    check_isa()?;
    let mut pool = rayon::ThreadPoolBuilder::new().stack_size(STACK_SIZE);
    if let Some(threads) = global.threads {
        pool = pool.num_threads(threads.get());
    }
    pool.build_global().map_err(|e| Failure::run(format!("cannot start the threads: {e}")))?;
    // On a thread of the pool: from outside, every parallel part of the work would first wake the pool up and then
    // be woken by it.
    rayon::scope(|_| work(command, &global))
}

fn work(command: Command, global: &Global) -> Result<(), Failure> {
    match command {
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
