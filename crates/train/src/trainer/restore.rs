//! The way back from what a run left on the disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use unet3p_files::{read_text, recover_folder};
use unet3p_models::weight_problem;

use super::save::{AVERAGE, OPTIMIZER};
use super::{Average, CONFIG, Trainer};
use crate::changes::Changes;
use crate::{Decay, Error, Monitor, Result, TrainConfig, checkpoint};

impl Trainer {
    /// Goes on with the run of a folder from its last checkpoint, or from the beginning where it has none.
    /// `overrides` change the run's configuration as in [`TrainConfig::from_toml`]: to train longer, for example.
    /// Without them the run ends with the weights it would have had if it had never stopped. [`Trainer::changed_keys`] and
    /// [`Trainer::notes`] say what is different with them.
    ///
    /// # Errors
    /// [`Error::NoRun`] for a folder without a run, [`Error::Checkpoint`] for one whose checkpoint is damaged or
    /// does not fit the configuration or the data any more, and the errors of [`Trainer::new`].
    pub fn resume(run_dir: impl Into<PathBuf>, overrides: &[String], device: Device) -> Result<Self> {
        let run_dir = run_dir.into();
        let path = run_dir.join(CONFIG);
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoRun { folder: run_dir, file: CONFIG });
            }
            Err(e) => return Err(Error::io(&path, "read", e)),
        };
        let config = TrainConfig::from_toml(&text, overrides)?;
        let mut trainer = Self::open(config, run_dir, device)?;
        trainer.restore(&text)?;
        Ok(trainer)
    }

    /// Takes up the last checkpoint, if there is one. `former` is the configuration that the folder says.
    fn restore(&mut self, former: &str) -> Result<()> {
        for folder in ["last", "best"] {
            let folder = self.run_dir.join(folder);
            recover_folder(&folder).map_err(|error| Error::io(&folder, "recover", error))?;
        }
        let Some(saved) = checkpoint::load(&self.run_dir, &self.device)? else {
            return Ok(());
        };
        // A later configuration may have been written before the run was stopped again: the checkpoint knows its own.
        let own = saved.config.and_then(|text| TrainConfig::from_toml(&text, &[]).ok());
        let former = own.map_or_else(|| TrainConfig::from_toml(former, &[]), Ok)?;
        let changes = Changes::between(&former, &self.config)?;
        let path = self.run_dir.join(checkpoint::FILE_NAME);
        let does_not_fit = |problem: String| Error::Checkpoint { path: path.clone(), problem };
        let changed = || {
            let lines = changes.lines();
            if lines.is_empty() { String::new() } else { format!(" ({})", lines.join("; ")) }
        };
        if saved.progress.data != self.progress.data {
            return Err(does_not_fit(
                "was made with other training or validation slices than data.paths and the split give now; \
                 bring them back, or start a new run with --init-from"
                    .into(),
            ));
        }
        let step = saved.progress.step;
        let mut tensors = saved.tensors;
        let keeps_average = tensors.keys().any(|name| name.starts_with(AVERAGE));
        for (name, variable) in self.variables() {
            if name.starts_with(AVERAGE) && !keeps_average {
                continue;
            }
            let tensor = tensors.remove(&name).filter(|tensor| tensor.shape() == variable.shape());
            let tensor = tensor.ok_or_else(|| {
                let shape = variable.dims();
                does_not_fit(format!(
                    "has no {name} of shape {shape:?}: the configuration has changed since{}",
                    changed()
                ))
            })?;
            if let Some(problem) = weight_problem(&name, &tensor)? {
                return Err(does_not_fit(format!(
                    "{name}: {problem}; remove the file to go on from the checkpoint before it"
                )));
            }
            variable.set(&tensor)?;
        }
        if let Some(average) = &mut self.average {
            if keeps_average {
                average.weights.restore(step);
            } else {
                *average = Average::of(&self.model, self.config.train.ema_decay, &self.device)?;
                self.notes.push("the average of the weights begins anew: there was none".into());
            }
        }
        let memory: HashMap<String, Tensor> = tensors
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(OPTIMIZER)?.to_string(), tensor)))
            .collect();
        if step > 0 && !self.optimizer.state()?.iter().any(|(name, _)| memory.contains_key(name)) {
            self.notes.push("the optimizer begins anew: the other one remembered other things".into());
        } else {
            self.optimizer
                .restore(step, &memory)
                .map_err(|error| does_not_fit(format!("{error}{}", changed())))?;
        }
        self.progress = saved.progress;
        self.awaits_model = false;
        self.go_on(&former, &changes)
    }

    /// Brings the restored progress in line with what the configuration says now, and notes what that changes.
    fn go_on(&mut self, former: &TrainConfig, changes: &Changes) -> Result<()> {
        self.changed_keys = changes.lines();
        let progress = &mut self.progress;
        let sampler = &mut Arc::make_mut(&mut self.settings).sampler;
        if progress.epochs.is_none() {
            // Older versions counted epochs by the step; one that was reported before its end has left no sums.
            let former_steps = sampler.steps_of(former.slices_per_step());
            let begun = progress.step.div_ceil(former_steps);
            progress.epochs =
                Some(if progress.epoch.steps == 0 { begun } else { progress.step / former_steps });
        }
        progress.origin = sampler.go_on(progress.origin, former.slices_per_step(), progress.step);
        let steps_per_epoch = sampler.steps_per_epoch();
        self.plan.steps = self.config.total_steps(progress.origin, steps_per_epoch);
        self.schedule = self.config.schedule(self.plan.steps, steps_per_epoch);

        let monitor = &self.config.train.monitor;
        let measured = progress.monitor.clone().unwrap_or_else(|| former.train.monitor.clone());
        if measured != *monitor || changes.concern(monitor) {
            let name = |monitor: &Monitor| String::from(monitor.clone());
            if let Some(best) = progress.start_anew(monitor.clone()) {
                self.notes.push(format!(
                    "the best starts anew: {} {:.4} of epoch {} cannot be compared with {} from here on; best/ is \
                     replaced by the next model that is validated",
                    name(&measured),
                    best.value,
                    best.epoch,
                    name(monitor)
                ));
            }
        }
        progress.monitor = Some(monitor.clone());
        if !matches!(self.config.train.schedule, Decay::Plateau(_)) {
            // What plateaus took off belongs to a schedule that is no more.
            (progress.plateau, progress.plateau_stale) = (1.0, 0);
        }
        let step = progress.step;
        let all = self.changed_keys.iter().chain(&self.notes);
        progress.notes.extend(all.map(|note| format!("after step {step}: {note}")));
        Ok(())
    }
}
