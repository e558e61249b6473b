//! The record of a run while it grows, so that a run that is killed leaves what `--continue` needs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::earlier::Kept;
use crate::record::{Entry, Identity, Options, Record, RecordError};

/// Writing the record takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// A run, before its first input.
#[derive(Debug, Clone)]
pub struct Run {
    /// The file of its record.
    pub record: PathBuf,
    /// Its options.
    pub options: Options,
    /// Its model.
    pub identity: Identity,
}

/// The entries of a run and the file that they are written to.
#[derive(Debug)]
pub struct Journal {
    run: Run,
    /// What was said of the run as a whole so far.
    warnings: fn() -> Vec<String>,
    /// Entries of inputs of an earlier run that this one does not have.
    others: Vec<Entry>,
    /// Entries of each input of this run.
    entries: Vec<Vec<Entry>>,
    /// When the record was written last, and how long that took.
    last: (Instant, Duration),
}

impl Journal {
    /// Writes the record of a run before its first input, which has done what it `kept` already. `warnings` tells what was
    /// said of the run as a whole so far.
    ///
    /// # Errors
    /// [`RecordError`] where it cannot be written.
    pub fn begin(run: Run, kept: Kept, warnings: fn() -> Vec<String>) -> Result<Self, RecordError> {
        let last = (Instant::now(), Duration::ZERO);
        let mut journal = Self { run, warnings, others: kept.others, entries: kept.finished, last };
        journal.write(false)?;
        Ok(journal)
    }

    /// Whether an input's outputs are there already.
    pub fn is_finished(&self, input: usize) -> bool {
        !self.entries[input].is_empty()
    }

    /// Adds the entries of an input. The record is written with them where that costs little in proportion to the time since
    /// it was written last.
    pub fn add(&mut self, input: usize, entries: Vec<Entry>) {
        self.entries[input] = entries;
        let (written, cost) = self.last;
        if written.elapsed() >= cost * SHARE
            && let Err(error) = self.write(false)
        {
            // The record at the end is what counts; until then there is an older one.
            log::debug!("{error}");
        }
    }

    /// Inputs that failed.
    pub fn failed(&self) -> usize {
        self.entries.iter().flatten().filter(|entry| matches!(entry, Entry::Failed { .. })).count()
    }

    /// Writes the record of the whole run.
    ///
    /// # Errors
    /// [`RecordError`] where it cannot be written.
    pub fn end(mut self) -> Result<(), RecordError> {
        self.write(true)
    }

    fn write(&mut self, finished: bool) -> Result<(), RecordError> {
        let start = Instant::now();
        let Run { record: path, options, identity } = &self.run;
        let record = Record {
            unet3p: env!("CARGO_PKG_VERSION").to_string(),
            model: options.model.clone(),
            labels: identity.labels.clone(),
            weights: identity.weights.clone(),
            threshold: options.threshold,
            tta: options.tta,
            tile: options.tile,
            finished,
            warnings: (self.warnings)(),
            predictions: self.others.iter().chain(self.entries.iter().flatten()).collect(),
        };
        record.write(path)?;
        self.last = (Instant::now(), start.elapsed());
        Ok(())
    }
}
