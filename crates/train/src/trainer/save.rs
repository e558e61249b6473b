//! What a run leaves on the disk: model folders and checkpoints, and the way back from them.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Tensor, Var};
use unet3p_data::{LabelMap, Sample};
use unet3p_files::{NewFolder, recover_folder};
use unet3p_models::{MODEL_FILES, UNet3Plus, weight_problem};

use super::Trainer;
use crate::card::Card;
use crate::evaluate::Validator;
use crate::log::{Cases, Logs, REPORT, Report};
use crate::{EpochReport, Error, Result, Summary, Validation, checkpoint, statistics};

/// What the names of a checkpoint's tensors begin with.
const MODEL: &str = "model.";
const AVERAGE: &str = "average.";
const OPTIMIZER: &str = "optimizer.";

impl Trainer {
    /// Validates the weights of this moment and saves them as a model.
    pub(super) fn judge(&mut self, report: &mut EpochReport, logs: &mut Logs) -> Result<()> {
        let start = std::time::Instant::now();
        let model = match &self.average {
            None => &self.model,
            Some(average) => {
                let (batches, seed) = (&self.statistics_batches, self.config.train.seed);
                statistics::estimate(&average.model, batches, seed, &self.device)?;
                &average.model
            }
        };
        report.validation = self.validation(model, report.step, logs)?;
        let (monitor, schedule) = (&self.config.train.monitor, &self.config.train.schedule);
        let value = monitor.value(report, &self.class_names);
        let better = self.progress.judge(value, report.epoch, monitor, schedule);
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
        let draw = &mut |index, sample: &Sample, map: LabelMap| logs.slice(step, index, sample, &map);
        self.validator().validate(model, slices, draw).map(Some)
    }

    /// The run's logs, after the steps that are done.
    pub(super) fn logs(&self) -> Result<Logs> {
        let (dataset, steps) = (&self.recipe.dataset, self.progress.step);
        Logs::open(&self.run_dir, &self.config, &self.class_names, dataset, &self.parts, steps)
    }

    fn validator(&self) -> Validator<'_> {
        Validator {
            config: &self.config,
            dataset: &self.recipe.dataset,
            objective: &self.objective,
            device: &self.device,
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
        let (config, plan) = (&self.config, &self.plan);
        logs.report(&Report { run_dir: &self.run_dir, config, plan, summary, cases })?;
        Ok(self.run_dir.join(REPORT))
    }

    /// Writes a model folder of the run.
    fn save_model(&self, model: &UNet3Plus, report: &EpochReport, folder: &str) -> Result<()> {
        let card = Card {
            config: &self.config,
            dataset: &self.recipe.dataset,
            parts: &self.parts,
            plan: &self.plan,
            class_names: &self.class_names,
            report,
        };
        let folder = self.run_dir.join(folder);
        let io = |error| Error::io(&folder, "replace", error);
        let new = NewFolder::of(&folder).map_err(io)?;
        model.save_into(new.path(), DType::F32)?;
        self.recipe.dataset.preprocessor().save(new.path())?;
        card.card().save(new.path(), model.config())?;
        new.replace(&MODEL_FILES).map_err(io)
    }

    /// Writes what the run goes on from.
    pub(super) fn save_checkpoint(&self) -> Result<()> {
        let tensors = self.variables().into_iter().map(|(name, v)| (name, v.as_detached_tensor()));
        let memory = self.optimizer.state()?.into_iter();
        let memory = memory.map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor));
        checkpoint::save(&self.run_dir, &self.progress, tensors.chain(memory).collect())
    }

    /// Takes up the last checkpoint, if there is one.
    pub(super) fn restore(&mut self) -> Result<()> {
        for folder in ["last", "best"] {
            let folder = self.run_dir.join(folder);
            recover_folder(&folder).map_err(|error| Error::io(&folder, "recover", error))?;
        }
        let Some(saved) = checkpoint::load(&self.run_dir, &self.device)? else {
            return Ok(());
        };
        let path = self.run_dir.join(checkpoint::FILE_NAME);
        let does_not_fit = |problem: String| Error::Checkpoint { path: path.clone(), problem };
        if saved.progress.data != self.progress.data {
            return Err(does_not_fit(
                "was made with other training or validation slices than data.paths and the split give now; \
                 bring them back, or start a new run with --init-from"
                    .into(),
            ));
        }
        let mut tensors = saved.tensors;
        for (name, variable) in self.variables() {
            let tensor = tensors.remove(&name).filter(|tensor| tensor.shape() == variable.shape());
            let tensor = tensor.ok_or_else(|| {
                let shape = variable.dims();
                does_not_fit(format!("has no {name} of shape {shape:?}: the configuration has changed since"))
            })?;
            if let Some(problem) = weight_problem(&name, &tensor)? {
                return Err(does_not_fit(format!(
                    "{name}: {problem}; remove the file to go on from the checkpoint before it"
                )));
            }
            variable.set(&tensor)?;
        }
        let memory: HashMap<String, Tensor> = tensors
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(OPTIMIZER)?.to_string(), tensor)))
            .collect();
        let steps = saved.progress.step;
        self.optimizer.restore(steps, &memory).map_err(|error| does_not_fit(error.to_string()))?;
        if let Some(average) = &mut self.average {
            average.weights.restore(steps);
        }
        self.progress = saved.progress;
        self.awaits_model = false;
        Ok(())
    }

    /// Everything that training changes, by name: weights and statistics of the network and of its average.
    fn variables(&self) -> Vec<(String, Var)> {
        let named = |prefix: &str, model: &UNet3Plus| {
            let all = model.parameters().all().into_iter();
            all.map(|(name, variable)| (format!("{prefix}{name}"), variable)).collect::<Vec<_>>()
        };
        let mut variables = named(MODEL, &self.model);
        if let Some(average) = &self.average {
            variables.extend(named(AVERAGE, &average.model));
        }
        variables
    }
}
