//! What a run writes about itself: `metrics.csv`, event files for TensorBoard, the curves, the report.

mod cases;
mod curves;
mod gallery;
mod report;
mod table;
mod tensorboard;

use std::path::{Path, PathBuf};

use unet3p_data::{LabelMap, Layout, Parts, Sample, SliceDataset, write_atomically};

use self::table::Table;
use self::tensorboard::EventFile;
use crate::{EpochReport, Result, StepReport, TrainConfig};

pub(crate) use self::cases::Cases;
pub(crate) use self::report::{FILE_NAME as REPORT, Report};
pub(crate) use self::table::FILE_NAME as METRICS;

/// The logs of a session.
pub(crate) struct Logs {
    run_dir: PathBuf,
    table: Table,
    events: Option<EventFile>,
    plots: bool,
    class_names: Vec<String>,
    /// Slices that are drawn at each validation.
    pictured: Vec<usize>,
    layout: Layout,
}

impl Logs {
    /// Goes on with the logs of a run after its first `steps_done` steps: what they hold of later steps goes, as those
    /// will be repeated.
    pub(crate) fn open(
        run_dir: &Path,
        config: &TrainConfig,
        class_names: &[String],
        dataset: &SliceDataset,
        parts: &Parts,
        steps_done: usize,
    ) -> Result<Self> {
        let log = &config.log;
        let with_presence = config.model.variant.has_cgm();
        let events = log.tensorboard.then(|| EventFile::create(run_dir, steps_done)).transpose()?;
        Ok(Self {
            run_dir: run_dir.to_path_buf(),
            table: Table::open(run_dir, log.csv, class_names, with_presence, steps_done)?,
            pictured: gallery::choose(dataset, parts, if log.tensorboard { log.images } else { 0 }),
            events,
            plots: log.plot,
            class_names: class_names.to_vec(),
            layout: dataset.preprocessor().layout,
        })
    }

    /// Notes a step.
    pub(crate) fn step(&mut self, report: &StepReport) -> Result<()> {
        let values = [
            ("train/loss", report.loss),
            ("train/gradient_norm", report.gradient_norm),
            ("train/learning_rate", report.learning_rate),
            ("train/images_per_second", report.images_per_second),
        ];
        self.events.as_mut().map_or(Ok(()), |events| events.scalars(report.step, &values))
    }

    /// Draws a validated slice, if it is one of those that are drawn.
    pub(crate) fn slice(
        &mut self,
        step: usize,
        index: usize,
        sample: &Sample,
        prediction: &LabelMap,
    ) -> Result<()> {
        let place = self.pictured.iter().position(|&pictured| pictured == index);
        let (Some(place), Some(events)) = (place, &mut self.events) else {
            return Ok(());
        };
        let tag = format!("validation/{}_{}", place + 1, sample.name);
        events.image(step, &tag, &gallery::strip(sample, prediction, self.layout)?)
    }

    /// Notes an epoch, and draws the curves where it was validated.
    pub(crate) fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.table.add(report)?;
        let Some(validation) = &report.validation else {
            return self.flush();
        };
        if let Some(events) = &mut self.events {
            let classes = (1..=u8::MAX).zip(&self.class_names);
            let classes =
                classes.map(|(id, name)| (format!("validation/dice_{name}"), validation.class_dice(id)));
            let optional: Vec<(String, Option<f64>)> = [
                ("validation/dice".to_string(), validation.mean_dice()),
                ("validation/presence_auc".to_string(), validation.presence_auc),
            ]
            .into_iter()
            .chain(classes)
            .collect();
            let measured = optional.iter().filter_map(|(tag, value)| Some((tag.as_str(), (*value)?)));
            let values: Vec<_> =
                std::iter::once(("validation/loss", validation.loss)).chain(measured).collect();
            events.scalars(report.step, &values)?;
        }
        if self.plots {
            curves::write_png(&self.table, &self.class_names, &self.run_dir)?;
        }
        self.flush()
    }

    /// Writes the report of a run that is done.
    pub(crate) fn report(&self, report: &Report<'_>) -> Result<()> {
        let path = self.run_dir.join(REPORT);
        let curves = curves::svg(&self.table, &self.class_names, &path)?;
        let text = report.html(&self.table, &self.class_names, &curves)?;
        Ok(write_atomically(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
    }

    /// Hands over what waits in memory: before a checkpoint that says that its steps are done.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.events.as_mut().map_or(Ok(()), EventFile::flush)
    }
}
