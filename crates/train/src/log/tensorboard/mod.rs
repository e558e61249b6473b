//! Event files that TensorBoard reads, one for each session of a run.

mod event;
mod record;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use unet3p_data::Picture;

use crate::{Error, Result};

/// What the names of event files begin with: TensorBoard tells them by it.
const PREFIX: &str = "events.out.tfevents.";
/// How long events may wait in memory.
const DELAY: Duration = Duration::from_secs(5);

/// The event file of a session.
pub(crate) struct EventFile {
    path: PathBuf,
    writer: BufWriter<File>,
    flushed: Instant,
}

impl EventFile {
    /// A new file in the run folder. What files of earlier sessions hold of steps after the first `steps_done`, which
    /// will be repeated, TensorBoard is told to forget.
    pub(crate) fn create(run_dir: &Path, steps_done: usize) -> Result<Self> {
        // TensorBoard reads files in the order of their names: the number of the session, whatever the clock says.
        let path = run_dir.join(format!("{PREFIX}{:010}", last_number(run_dir)? + 1));
        let file = File::create_new(&path).map_err(|e| Error::io(&path, "create", e))?;
        let mut events = Self { path, writer: BufWriter::new(file), flushed: Instant::now() };
        events.write(&event::version(now()))?;
        events.write(&event::start(now(), steps_done + 1))?;
        events.flush()?;
        Ok(events)
    }

    /// Adds numbers by their tags.
    pub(crate) fn scalars(&mut self, step: usize, values: &[(&str, f64)]) -> Result<()> {
        self.write(&event::scalars(now(), step, values))
    }

    /// Adds a picture.
    pub(crate) fn image(&mut self, step: usize, tag: &str, picture: &Picture) -> Result<()> {
        let size = [picture.height, picture.width];
        self.write(&event::image(now(), step, tag, size, &picture.to_png()?))
    }

    /// Hands over to the system what is still in memory.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.writer.flush().map_err(|e| Error::io(&self.path, "write", e))
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        record::write_record(&mut self.writer, event).map_err(|e| Error::io(&self.path, "write", e))?;
        if self.flushed.elapsed() > DELAY { self.flush() } else { Ok(()) }
    }
}

/// The highest number of an event file in the folder, or 0.
fn last_number(run_dir: &Path) -> Result<u64> {
    let failed = |e| Error::io(run_dir, "read", e);
    let mut last = 0;
    for entry in std::fs::read_dir(run_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sitting_has_a_file_after_those_before_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("events.out.tfevents.0000000041"), "").unwrap();
        std::fs::write(dir.path().join("events.out.tfevents.1700000000.host"), "").unwrap();
        for _ in 0..2 {
            EventFile::create(dir.path(), 0).unwrap();
        }
        for number in [42, 43] {
            assert!(dir.path().join(format!("events.out.tfevents.00000000{number}")).exists());
        }
    }
}
