//! Starts a process for each reader, and reports those that die.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use unet3p_fuzz::Target;

use super::{CURRENT, code, findings};
use crate::Effort;

/// Works on readers, `jobs` at a time.
pub(crate) fn parent(targets: &[&'static Target], effort: Effort, seed: u64, jobs: usize) -> ExitCode {
    let queue = Mutex::new(targets.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let sound = std::thread::scope(|scope| {
        let work = || {
            let mut sound = true;
            while let Some(target) = next() {
                sound &= reader(target, effort, seed).unwrap_or_else(|error| {
                    println!("{}: {error}", target.name);
                    false
                });
            }
            sound
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join()).all(|sound| matches!(sound, Ok(true)))
    });
    if sound { ExitCode::SUCCESS } else { ExitCode::from(code::FINDINGS) }
}

/// Whether a reader stood everything.
fn reader(target: &Target, effort: Effort, seed: u64) -> io::Result<bool> {
    let folder = memory_folder()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(target.name).arg("--work").arg(folder.path()).args(["--seed", &seed.to_string()]);
    match effort {
        Effort::Time(time) => command.args(["--seconds", &time.as_secs().max(1).to_string()]),
        Effort::Inputs(inputs) => command.args(["--inputs", &inputs.to_string()]),
    };
    // One thread computes, so that a file takes the same memory each time. Errors of Candle would bring backtraces, whose
    // symbols take more memory than any file.
    command.envs([("RAYON_NUM_THREADS", "1"), ("RUST_BACKTRACE", "0")]).env("TMPDIR", folder.path());
    let Output { status, stdout, stderr } = command.output()?;
    print!("{}", String::from_utf8_lossy(&stdout));
    let reported = [Some(0), Some(i32::from(code::FINDINGS)), Some(code::HANG)].contains(&status.code());
    if !reported {
        let bytes = fs::read(folder.path().join(CURRENT))?;
        let words = String::from_utf8_lossy(&stderr);
        let last: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
        let kind = if words.contains("memory allocation of") { "memory" } else { "crash" };
        findings::report(target.name, kind, &bytes, &format!("{status}: {}", last.join(" ")));
    }
    Ok(status.success())
}

/// A folder in memory where the system has one, else among the temporary ones.
fn memory_folder() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }
}
