//! `metrics.csv`: one line an epoch.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Writer};
use unet3p_data::write_atomically;

use crate::{EpochReport, Error, Result};

/// The log's name in the run folder.
pub(crate) const FILE_NAME: &str = "metrics.csv";
/// The column that tells how old a line is.
const STEP: usize = 1;

/// What was measured so far, and the file that each line goes to at once.
pub(crate) struct Table {
    path: PathBuf,
    /// None where no file is wanted.
    writer: Option<Writer<File>>,
    columns: StringRecord,
    rows: Vec<StringRecord>,
    classes: u8,
    with_presence: bool,
}

impl Table {
    /// A table with columns for each of the classes `names`, and for the classification-guided module's score
    /// `with_presence`.
    ///
    /// Of the lines that an earlier session wrote, those of the first `steps_done` steps are kept: the others are of
    /// steps that will be repeated.
    ///
    /// # Errors
    /// [`Error::Log`] for a file with other columns, or with a line that cannot be read.
    pub(crate) fn open(
        run_dir: &Path,
        to_file: bool,
        names: &[String],
        with_presence: bool,
        steps_done: usize,
    ) -> Result<Self> {
        let mut table = Self {
            path: run_dir.join(FILE_NAME),
            writer: None,
            columns: columns(names, with_presence),
            rows: Vec::new(),
            classes: u8::try_from(names.len()).unwrap_or(u8::MAX),
            with_presence,
        };
        if to_file {
            if steps_done > 0 {
                table.read(steps_done)?;
            }
            table.begin()?;
        }
        Ok(table)
    }

    /// Adds an epoch; what was not measured is empty.
    pub(crate) fn add(&mut self, report: &EpochReport) -> Result<()> {
        let part = |value: Option<f64>| value.map(|value| format!("{value:.6}")).unwrap_or_default();
        let validation = report.validation.as_ref();
        let mut row = vec![
            report.epoch.to_string(),
            report.step.to_string(),
            format!("{:.6e}", report.learning_rate),
            format!("{:.6}", report.loss),
            format!("{:.6e}", report.gradient_norm),
            format!("{:.3}", report.images_per_second),
            part(validation.map(|v| v.loss)),
            part(validation.and_then(|v| v.mean_dice())),
        ];
        if self.with_presence {
            row.push(part(validation.and_then(|v| v.presence_auc)));
        }
        for class in 1..=self.classes {
            row.push(part(validation.and_then(|v| v.class_dice(class))));
            row.push(validation.map(|v| v.class_false_positives(class).to_string()).unwrap_or_default());
        }
        let row = StringRecord::from(row);
        if let Some(writer) = &mut self.writer {
            let failed = |e: std::io::Error| Error::io(&self.path, "write", e);
            writer.write_record(&row).map_err(|e| failed(e.into()))?;
            writer.flush().map_err(failed)?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// The values of a column against the epoch, where it has one that is a number.
    pub(crate) fn curve(&self, column: &str) -> Vec<(f64, f64)> {
        let Some(index) = self.columns.iter().position(|name| name == column) else {
            return Vec::new();
        };
        let number = |row: &StringRecord, i| row.get(i)?.parse().ok().filter(|value: &f64| value.is_finite());
        self.rows.iter().filter_map(|row| Some((number(row, 0)?, number(row, index)?))).collect()
    }

    /// The columns' names.
    pub(crate) fn columns(&self) -> &StringRecord {
        &self.columns
    }

    /// The line of an epoch.
    pub(crate) fn line(&self, epoch: usize) -> Option<&StringRecord> {
        let epoch = epoch.to_string();
        self.rows.iter().find(|row| row.get(0) == Some(&epoch))
    }

    /// The line of the last epoch.
    pub(crate) fn last(&self) -> Option<&StringRecord> {
        self.rows.last()
    }

    /// Takes up the lines of the first `steps_done` steps.
    fn read(&mut self, steps_done: usize) -> Result<()> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(&self.path, "read", e)),
        };
        let wrong = |problem: String| Error::Log { path: self.path.clone(), problem };
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(file);
        let found = reader.headers().map_err(|e| wrong(e.to_string()))?;
        if *found != self.columns {
            let join = |record: &StringRecord| record.iter().collect::<Vec<_>>().join(",");
            return Err(wrong(format!(
                "has the columns {}, and the run's are {} now; bring the class names back, or move the file away",
                join(found),
                join(&self.columns)
            )));
        }
        let rows = reader.records().collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
        for (i, row) in rows.iter().enumerate() {
            let step = row.get(STEP).and_then(|cell| cell.parse::<usize>().ok());
            match step {
                Some(step) if row.len() == self.columns.len() => {
                    if step <= steps_done {
                        self.rows.push(row.clone());
                    }
                }
                // Half a line is what a full disk leaves.
                _ if i + 1 == rows.len() => {}
                _ => {
                    let line = row.position().map_or(0, csv::Position::line);
                    return Err(wrong(format!("line {line} is damaged; mend it, or move the file away")));
                }
            }
        }
        Ok(())
    }

    /// Puts a file with what is there in the place of the former one.
    fn begin(&mut self) -> Result<()> {
        write_atomically(&self.path, |file| {
            let mut writer = Writer::from_writer(file);
            for row in std::iter::once(&self.columns).chain(&self.rows) {
                writer.write_record(row)?;
            }
            writer.flush()
        })?;
        let file = OpenOptions::new().append(true).open(&self.path);
        let file = file.map_err(|e| Error::io(&self.path, "open", e))?;
        self.writer = Some(Writer::from_writer(file));
        Ok(())
    }
}

fn columns(names: &[String], with_presence: bool) -> StringRecord {
    let mut columns = vec!["epoch", "step", "learning_rate", "loss", "gradient_norm", "images_per_second"];
    columns.extend(["validation_loss", "dice"]);
    columns.extend(with_presence.then_some("presence_auc"));
    let of_class = |name: &String| [format!("dice_{name}"), format!("false_positives_{name}")];
    columns.into_iter().map(String::from).chain(names.iter().flat_map(of_class)).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Validation, VolumeScore};

    fn report(epoch: usize) -> EpochReport {
        let score = VolumeScore { group: "a".into(), class: 1, dice: Some(0.5), false_positives: 3 };
        let validation =
            Validation { scores: vec![score], loss: 0.25, presence_auc: Some(1.0), seconds: 1.0 };
        EpochReport {
            epoch,
            step: 4 * epoch,
            loss: 1.0 / epoch as f64,
            gradient_norm: 2.0,
            learning_rate: 1e-3,
            images_per_second: 7.0,
            validation: epoch.is_multiple_of(2).then_some(validation),
            is_best: false,
        }
    }

    fn open(dir: &Path, steps_done: usize) -> Result<Table> {
        Table::open(dir, true, &["disc, or \"ring\"".into()], true, steps_done)
    }

    #[test]
    fn lines_of_steps_that_come_again_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let read = || std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
        let mut table = open(dir.path(), 0).unwrap();
        for epoch in 1..=5 {
            table.add(&report(epoch)).unwrap();
        }
        let whole = read();
        assert_eq!(whole.lines().count(), 6);
        assert!(
            whole.contains(
                "2,8,1.000000e-3,0.500000,2.000000e0,7.000,0.250000,0.500000,1.000000,0.500000,3\n"
            )
        );
        // Half a line, as a full disk leaves it.
        std::fs::write(dir.path().join(FILE_NAME), format!("{whole}6,2")).unwrap();
        let mut table = open(dir.path(), 14).unwrap();
        assert_eq!(table.last(), table.line(3));
        for epoch in 4..=5 {
            table.add(&report(epoch)).unwrap();
        }
        assert_eq!(read(), whole);
        assert_eq!(table.curve("dice"), [(2.0, 0.5), (4.0, 0.5)]);
        assert_eq!(table.curve("loss").len(), 5);
        assert_eq!(&table.line(4).unwrap()[0], "4");
        // From the beginning.
        open(dir.path(), 0).unwrap();
        assert_eq!(read().lines().count(), 1);
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let mut table = open(dir.path(), 0).unwrap();
        table.add(&report(1)).unwrap();
        table.add(&report(2)).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let message = || open(dir.path(), 8).err().unwrap().to_string();
        std::fs::write(&path, whole.replace("1,4,", "1,four,")).unwrap();
        assert!(message().contains("line 2 is damaged"), "{}", message());
        std::fs::write(&path, whole.replace("ring", "wing")).unwrap();
        assert!(message().contains("dice_disc, or \"wing\""), "{}", message());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(open(dir.path(), 8).unwrap().last(), None);
    }

    #[test]
    fn without_a_file_the_lines_are_kept_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::open(dir.path(), false, &[], false, 0).unwrap();
        table.add(&report(1)).unwrap();
        assert_eq!(table.curve("loss"), [(1.0, 1.0)]);
        assert!(!dir.path().join(FILE_NAME).exists());
    }
}
