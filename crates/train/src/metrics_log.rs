//! `metrics.csv`: one line an epoch.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{EpochReport, Error, Result};

/// Writes the log, each line at once.
pub(crate) struct MetricsLog {
    path: PathBuf,
    writer: csv::Writer<File>,
    classes: u8,
}

impl MetricsLog {
    /// A new log with columns for each class; `names` are the classes' names.
    pub(crate) fn create(path: &Path, names: &[String]) -> Result<Self> {
        let file = File::create(path).map_err(|e| Error::io(path, "create", e))?;
        let columns =
            ["epoch", "step", "learning_rate", "loss", "images_per_second", "dice"].map(String::from);
        let of_class = |name: &String| [format!("dice_{name}"), format!("false_positives_{name}")];
        let header = columns.into_iter().chain(names.iter().flat_map(of_class));
        let classes = u8::try_from(names.len()).unwrap_or(u8::MAX);
        let mut log = Self { path: path.to_path_buf(), writer: csv::Writer::from_writer(file), classes };
        log.write(header)?;
        Ok(log)
    }

    /// Adds an epoch; what was not measured is empty.
    pub(crate) fn add(&mut self, report: &EpochReport) -> Result<()> {
        let dice = |dice: Option<f64>| dice.map(|value| format!("{value:.6}")).unwrap_or_default();
        let validation = report.validation.as_ref();
        let mut line = vec![
            report.epoch.to_string(),
            report.step.to_string(),
            format!("{:.6e}", report.learning_rate),
            format!("{:.6}", report.loss),
            format!("{:.3}", report.images_per_second),
            dice(validation.and_then(|v| v.mean_dice())),
        ];
        for class in 1..=self.classes {
            line.push(dice(validation.and_then(|v| v.class_dice(class))));
            line.push(validation.map(|v| v.class_false_positives(class).to_string()).unwrap_or_default());
        }
        self.write(line.into_iter())
    }

    fn write(&mut self, line: impl Iterator<Item = String>) -> Result<()> {
        let failed = |e: std::io::Error| Error::io(&self.path, "write", e);
        self.writer.write_record(line).map_err(|e| failed(e.into()))?;
        self.writer.flush().map_err(failed)
    }
}
