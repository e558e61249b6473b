//! One reader: the corpus, then damage.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use unet3p_fuzz::{MEMORY, Outcome, Random, Target, files_of, memory_limit};

use super::guard::{Clock, Panics};
use super::pool::Pool;
use super::{CURRENT, code, findings};
use crate::Effort;

/// Works on one reader and prints what it finds.
pub(crate) fn child(target: &'static Target, effort: Effort, seed: u64, folder: &Path) -> ExitCode {
    let mut reader = Reader {
        target,
        folder: folder.to_path_buf(),
        panics: Panics::listen(),
        clock: Clock::new(),
        seen: HashSet::new(),
        inputs: 0,
        accepted: 0,
        slowest: Duration::ZERO,
        memory: 0,
    };
    reader.clock.watch(target.name, folder.to_path_buf());
    // Readers work on threads with the usual small stack, not on that of `main`.
    let worker = std::thread::spawn(move || {
        reader.work(effort, seed)?;
        reader.summarize();
        std::io::Result::Ok(reader.seen.is_empty())
    });
    let failed = |error: &dyn std::fmt::Display| {
        println!("{}: {error}", target.name);
        ExitCode::from(code::FINDINGS)
    };
    match worker.join() {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::from(code::FINDINGS),
        Ok(Err(error)) => failed(&error),
        Err(_) => failed(&"the fuzzer itself panicked"),
    }
}

struct Reader {
    target: &'static Target,
    folder: PathBuf,
    panics: Panics,
    clock: Clock,
    /// Findings: each place panics once.
    seen: HashSet<String>,
    inputs: u64,
    accepted: u64,
    slowest: Duration,
    /// The most that a file took.
    memory: usize,
}

impl Reader {
    fn work(&mut self, effort: Effort, seed: u64) -> std::io::Result<()> {
        let corpus = files_of(self.target)?;
        for (_, bytes) in &corpus {
            self.read(bytes)?;
        }
        let mut pool = Pool::new(corpus.into_iter().map(|(_, bytes)| bytes).collect());
        let mut random = Random::new(seed, self.target.name);
        let mut count = 0;
        while match effort {
            Effort::Time(time) => self.clock.elapsed() < time,
            Effort::Inputs(inputs) => count < inputs,
        } {
            let (mut bytes, other) = pool.draw(&mut random);
            (self.target.mutate)(&mut random, &mut bytes, other);
            if let Some(outcome) = self.read(&bytes)? {
                pool.learn(&bytes, &outcome);
            }
            count += 1;
        }
        Ok(())
    }

    /// Gives one file to the reader. Nothing where it panics.
    fn read(&mut self, bytes: &[u8]) -> std::io::Result<Option<Outcome>> {
        // Where the process dies, this is what is left.
        fs::write(self.folder.join(CURRENT), bytes)?;
        let (before, most) = (MEMORY.allocated(), MEMORY.max_allocated());
        // What exceeds the limit is refused, which ends the process.
        let _ = MEMORY.set_limit(before + memory_limit(bytes.len()));
        let run = self.target.run;
        let (result, taken) = self.clock.time(|| catch_unwind(AssertUnwindSafe(|| run(bytes))));
        let _ = MEMORY.set_limit(usize::MAX);
        self.inputs += 1;
        self.slowest = self.slowest.max(taken);
        if MEMORY.max_allocated() > most {
            self.memory = self.memory.max(MEMORY.max_allocated() - before);
        }
        match result {
            Ok(outcome) => {
                self.accepted += u64::from(outcome.is_ok());
                Ok(Some(outcome))
            }
            Err(_) => {
                let what = self.panics.last();
                if self.seen.insert(place(&what)) {
                    findings::report(self.target.name, "panic", bytes, &what);
                }
                Ok(None)
            }
        }
    }

    fn summarize(&self) {
        let rate = self.inputs as f64 / self.clock.elapsed().as_secs_f64();
        println!(
            "{:20} {:9} inputs, {:8} accepted, {rate:7.0}/s, slowest {:6.1} ms, memory {:5.1} MB, {} findings",
            self.target.name,
            self.inputs,
            self.accepted,
            self.slowest.as_secs_f64() * 1e3,
            self.memory as f64 / f64::from(1 << 20),
            self.seen.len()
        );
    }
}

/// The line of the source that a panic's message names.
fn place(message: &str) -> String {
    message.split_ascii_whitespace().filter(|word| word.contains(".rs:")).take(1).collect()
}
