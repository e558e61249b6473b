//! What a run leaves on the disk: model folders and checkpoints.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use candle_core::{DType, Tensor, Var};
use unet3p_data::{LabelMap, Sample};
use unet3p_files::NewFolder;
use unet3p_models::{MODEL_FILES, UNet3Plus};

use super::Trainer;
use crate::card::Card;
use crate::evaluate::Validator;
use crate::finite::first_not_finite;
use crate::log::{Cases, Logs, REPORT, Report};
use crate::{EpochReport, Error, Result, Summary, Validation, checkpoint, statistics};

/// What the names of a checkpoint's tensors begin with.
const MODEL: &str = "model.";
pub(super) const AVERAGE: &str = "average.";
pub(super) const OPTIMIZER: &str = "optimizer.";

impl Trainer {
    /// Validates the weights of this moment and saves them as a model.
    pub(super) fn take_validation(&mut self, report: &mut EpochReport, logs: &mut Logs) -> Result<()> {
        let start = std::time::Instant::now();
        let model = match &self.average {
            None => &self.model,
            Some(average) => {
                let (batches, seed) = (&self.statistics_batches, self.config.train.seed);
                statistics::estimate(&average.model, batches, seed, &self.device)?;
                &average.model
            }
        };
        let tensors = variables_of("", model).into_iter().map(|(name, v)| (name, v.as_detached_tensor()));
        self.check_finite(&tensors.collect::<Vec<_>>())?;
        report.validation = self.validation(model, report.step, logs)?;
        let (monitor, schedule) = (&self.config.train.monitor, &self.config.train.schedule);
        let value = monitor.value(report, &self.class_names);
        let better = self.progress.take_validation(value, report.epoch, monitor, schedule);
        // Without anything to measure the best model is the last.
        report.is_best = better || self.progress.best.is_none();
        self.save_model(model, report, "last")?;
        if report.is_best {
            self.save_model(model, report, "best")?;
        }
        self.progress.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    fn validation(&self, model: &UNet3Plus, step: usize, logs: &mut Logs) -> Result<Option<Validation>> {
        let slices = &self.parts.validation;
        if slices.is_empty() {
            return Ok(None);
        }
        let draw = &mut |index, sample: &Sample, map: LabelMap| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            logs.slice(step, index, sample, &map)
        };
        self.validator().validate(model, slices, draw).map(Some)
    }

    /// The run's logs, after the steps that are done.
    pub(super) fn logs(&self) -> Result<Logs> {
        let (dataset, steps) = (&self.settings.dataset, self.progress.step);
        Logs::open(&self.run_dir, &self.config, &self.class_names, dataset, &self.parts, steps)
    }

    fn validator(&self) -> Validator<'_> {
        Validator {
            config: &self.config,
            dataset: &self.settings.dataset,
            objective: &self.objective,
            device: &self.device,
            step: self.progress.step,
            learning_rate: self.learning_rate(self.progress.step.saturating_sub(1)),
        }
    }

    /// Writes the report, with the best model's best and worst cases; returns its file.
    pub(super) fn report(&self, logs: &Logs, summary: &Summary) -> Result<PathBuf> {
        let slices = &self.parts.validation;
        let cases = if slices.is_empty() {
            Cases::default()
        } else {
            let model = UNet3Plus::load(&summary.best_model, &self.device)?;
            Cases::find(&self.validator(), &model, slices)?
        };
        let (config, plan, notes) = (&self.config, &self.plan, self.progress.notes.as_slice());
        logs.report(&Report { run_dir: &self.run_dir, config, plan, summary, notes, cases })?;
        Ok(self.run_dir.join(REPORT))
    }

    /// Writes a model folder of the run.
    fn save_model(&self, model: &UNet3Plus, report: &EpochReport, folder: &str) -> Result<()> {
        let card = Card {
            config: &self.config,
            dataset: &self.settings.dataset,
            parts: &self.parts,
            plan: &self.plan,
            class_names: &self.class_names,
            report,
        };
        let folder = self.run_dir.join(folder);
        let io = |error| Error::io(&folder, "replace", error);
        let new = NewFolder::of(&folder).map_err(io)?;
        model.save_into(new.path(), DType::F32)?;
        self.settings.dataset.preprocessor().save(new.path())?;
        card.card().save(new.path(), model.config())?;
        new.replace(&MODEL_FILES).map_err(io)
    }

    /// Writes what the run goes on from.
    pub(super) fn save_checkpoint(&self) -> Result<()> {
        let tensors = self.variables().into_iter().map(|(name, v)| (name, v.as_detached_tensor()));
        let memory = self.optimizer.state()?.into_iter();
        let memory = memory.map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor));
        let tensors: Vec<(String, Tensor)> = tensors.chain(memory).collect();
        self.check_finite(&tensors)?;
        checkpoint::save(&self.run_dir, &self.progress, self.config.to_toml()?, tensors)
    }

    /// An error for tensors that must not be saved.
    fn check_finite(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let step = self.progress.step;
        match first_not_finite(tensors)? {
            None => Ok(()),
            Some(name) => {
                let (name, learning_rate) = (name.to_string(), self.learning_rate(step.saturating_sub(1)));
                Err(Error::NotFiniteWeights { name, step, learning_rate })
            }
        }
    }

    /// Everything that training changes, by name: weights and statistics of the network and of its average.
    pub(super) fn variables(&self) -> Vec<(String, Var)> {
        let mut variables = variables_of(MODEL, &self.model);
        if let Some(average) = &self.average {
            variables.extend(variables_of(AVERAGE, &average.model));
        }
        variables
    }
}

/// Weights and statistics of a network by name.
fn variables_of(prefix: &str, model: &UNet3Plus) -> Vec<(String, Var)> {
    let all = model.parameters().all().into_iter();
    all.map(|(name, variable)| (format!("{prefix}{name}"), variable)).collect()
}
