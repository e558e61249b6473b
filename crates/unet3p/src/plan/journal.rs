//! The record of a run while it grows, so that a run that is killed leaves what `--continue` needs.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::earlier::Kept;
use super::record::{Entry, Identity, Options, Record};
use crate::failure::{Failure, describe};
use crate::report;

/// Writing the record takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// The entries of a run and the file that they are written to.
pub(super) struct Journal {
    path: PathBuf,
    options: Options,
    identity: Identity,
    /// Entries of inputs of an earlier run that this one does not have.
    others: Vec<Entry>,
    /// Entries of each input of this run.
    entries: Vec<Vec<Entry>>,
    /// When the record was written last, and how long that took.
    last: (Instant, Duration),
}

impl Journal {
    /// Writes the record of a run before its first input.
    ///
    /// # Errors
    /// A failed run where it cannot be written.
    pub(super) fn begin(
        path: PathBuf,
        options: Options,
        identity: Identity,
        kept: Kept,
    ) -> Result<Self, Failure> {
        let last = (Instant::now(), Duration::ZERO);
        let mut journal = Self { path, options, identity, others: kept.others, entries: kept.finished, last };
        journal.write(false)?;
        Ok(journal)
    }

    /// Whether an input's outputs are there already.
    pub(super) fn is_finished(&self, input: usize) -> bool {
        !self.entries[input].is_empty()
    }

    /// Adds the entries of an input. The record is written with them where that costs little in proportion to the time since
    /// it was written last.
    pub(super) fn add(&mut self, input: usize, entries: Vec<Entry>) {
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
    pub(super) fn failed(&self) -> usize {
        self.entries.iter().flatten().filter(|entry| matches!(entry, Entry::Failed { .. })).count()
    }

    /// Writes the record of the whole run.
    ///
    /// # Errors
    /// A failed run where it cannot be written.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.write(true)
    }

    fn write(&mut self, finished: bool) -> Result<(), Failure> {
        let start = Instant::now();
        let record = Record {
            unet3p: env!("CARGO_PKG_VERSION"),
            model: &self.options.model,
            identity: &self.identity,
            threshold: self.options.threshold,
            tta: self.options.tta,
            tile: self.options.tile,
            finished,
            warnings: report::warnings(),
            predictions: self.others.iter().chain(self.entries.iter().flatten()).collect(),
        };
        let text = serde_json::to_string_pretty(&record)
            .map_err(|e| Failure::run(format!("{}: cannot be written: {e}", self.path.display())))?;
        unet3p_data::write_atomically(&self.path, |file| writeln!(file, "{text}"))
            .map_err(|e| Failure::run(describe(&e)))?;
        self.last = (Instant::now(), start.elapsed());
        Ok(())
    }
}
