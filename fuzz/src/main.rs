//! Feeds damaged files to the readers of the workspace: a command that anybody can run, on stable Rust.
#![forbid(unsafe_code)]

mod runner;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use unet3p_fuzz::{TARGETS, Target};

/// Feeds damaged files to the readers of the workspace. Exits with 1 where a reader panics, hangs or takes too much
/// memory; the file is then in fuzz/findings/.
#[derive(Parser)]
#[command(name = "unet3p-fuzz")]
struct Arguments {
    /// Readers; without any, all. An unknown name lists them.
    #[arg(value_parser = target)]
    targets: Vec<&'static Target>,
    /// Seconds for all of them together.
    #[arg(long, default_value_t = 60, conflicts_with = "inputs")]
    seconds: u64,
    /// Damaged files for each of them, after the corpus: with 0 the corpus alone.
    #[arg(long)]
    inputs: Option<u64>,
    /// The same seed makes the same files.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Readers at a time, each in a process of its own [default: one for each core].
    #[arg(long)]
    jobs: Option<usize>,
    /// Works on one reader in this process, its files in this folder: what each of the processes does.
    #[arg(long, hide = true)]
    work: Option<std::path::PathBuf>,
}

fn target(name: &str) -> Result<&'static Target, String> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// When a reader has had enough.
#[derive(Clone, Copy)]
enum Effort {
    Time(Duration),
    Inputs(u64),
}

fn main() -> ExitCode {
    let Arguments { mut targets, seconds, inputs, seed, jobs, work } = Arguments::parse();
    if targets.is_empty() {
        targets = TARGETS.iter().collect();
    }
    let time = Duration::from_secs(seconds);
    if let (Some(folder), [target]) = (work, targets.as_slice()) {
        return runner::child(target, inputs.map_or(Effort::Time(time), Effort::Inputs), seed, &folder);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or(cores).clamp(1, targets.len());
    let share = time * jobs as u32 / targets.len() as u32;
    runner::parent(&targets, inputs.map_or(Effort::Time(share), Effort::Inputs), seed, jobs)
}
