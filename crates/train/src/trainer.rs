//! A run: steps, validations, checkpoints.

mod open;
mod save;
mod step;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use unet3p_data::{Parts, write_atomically};
use unet3p_models::UNet3Plus;

use crate::loader::{Batch, Loader, Recipe};
use crate::log::METRICS;
use crate::objective::Objective;
use crate::progress::{Progress, Sums};
use crate::{
    EpochReport, Error, Event, Monitor, Observer, Optimizer, Plan, Result, Schedule, StepReport, Summary,
    TrainConfig, WeightAverage, checkpoint, fine_tune,
};

/// The resolved configuration in a run folder.
const CONFIG: &str = "config.toml";
/// Held by the process that trains in a run folder.
const LOCK: &str = ".lock";

/// Trains a network as a [`TrainConfig`] says and fills a run folder: `config.toml` (what the run has
/// resolved to), `metrics.csv` (a line an epoch), `last/` and `best/` (model folders with a card, each replaced as a
/// whole by a rename), `checkpoint.safetensors` (what the run goes on from).
///
/// What is validated and saved are the averaged weights with batch statistics of their own, if there is an average.
/// The best model is the one with the best [`Monitor`]; without volumes to validate on it is the
/// last. On the CPU a run with the same configuration and the same number of threads gives the same weights, also
/// when it was killed and [resumed](Trainer::resume).
pub struct Trainer {
    config: TrainConfig,
    run_dir: PathBuf,
    device: Device,
    parts: Parts,
    recipe: Arc<Recipe>,
    statistics_batches: Vec<Batch>,
    class_names: Vec<String>,
    model: UNet3Plus,
    average: Option<Average>,
    optimizer: Box<dyn Optimizer>,
    objective: Objective,
    plan: Plan,
    schedule: Schedule,
    progress: Progress,
    /// Whether the weights of `model.init_from` are still to be taken.
    awaits_model: bool,
    /// Unlocked when it is closed, by whatever way the process ends.
    _lock: File,
}

/// The averaged weights in a network of their own.
struct Average {
    model: UNet3Plus,
    weights: WeightAverage,
}

impl Trainer {
    /// Opens the data, builds the network and makes the run folder.
    ///
    /// # Errors
    /// [`Error::RunExists`] for a folder that holds a run; [`Error::Setting`] for values that are not allowed or do
    /// not fit the data; [`Error::Data`] naming a file of the dataset that is missing or wrong.
    pub fn new(config: TrainConfig, run_dir: impl Into<PathBuf>, device: Device) -> Result<Self> {
        let run_dir = run_dir.into();
        if holds_run(&run_dir) {
            return Err(Error::RunExists(run_dir));
        }
        Self::open(config, run_dir, device)
    }

    /// Goes on with the run of a folder from its last checkpoint, or from the beginning where it has none.
    /// `overrides` change the run's configuration as in [`TrainConfig::from_toml`]: to train longer, for example.
    /// Without them the run ends with the weights it would have had if it had never stopped.
    ///
    /// # Errors
    /// [`Error::NoRun`] for a folder without a run, [`Error::Checkpoint`] for one whose checkpoint is damaged or
    /// does not fit the configuration or the data any more, and the errors of [`Trainer::new`].
    pub fn resume(run_dir: impl Into<PathBuf>, overrides: &[String], device: Device) -> Result<Self> {
        let run_dir = run_dir.into();
        let path = run_dir.join(CONFIG);
        let text = match unet3p_files::read_text(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoRun { folder: run_dir, file: CONFIG });
            }
            Err(e) => return Err(Error::io(&path, "read", e)),
        };
        let config = TrainConfig::from_toml(&text, overrides)?;
        let mut trainer = Self::open(config, run_dir, device)?;
        trainer.restore()?;
        Ok(trainer)
    }

    /// The run's configuration, with what the data decides filled in.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The size of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The metric that decides on the best model.
    pub fn monitor(&self) -> &Monitor {
        &self.config.train.monitor
    }

    /// Steps that an earlier sitting did.
    pub fn steps_done(&self) -> usize {
        self.progress.step
    }

    /// The model that [`start_from`](Trainer::start_from) is to be called with: `model.init_from`, as long as no step
    /// is done. [`run`](Trainer::run) reads it itself where it is a model folder.
    pub fn awaits_model(&self) -> Option<&str> {
        self.config.model.init_from.as_deref().filter(|_| self.awaits_model)
    }

    /// Takes the weights of `model` as the beginning, and tells what of it did not fit.
    ///
    /// # Errors
    /// [`Error::Setting`] for a network of other filters.
    pub fn start_from(&mut self, model: &UNet3Plus) -> Result<Vec<String>> {
        let notes = fine_tune::adapt(&self.model, model)?;
        self.started()?;
        Ok(notes)
    }

    /// The weights that [`start_encoder_from`](Trainer::start_encoder_from) is to be called with:
    /// `model.encoder_weights`, as long as no step is done.
    pub fn awaits_encoder(&self) -> Option<&str> {
        self.config.model.encoder_weights.as_deref().filter(|_| self.awaits_model)
    }

    /// Takes the weights and statistics of an encoder, `encoder.*`, as the beginning, and tells what of it did not fit.
    ///
    /// # Errors
    /// [`Error::Setting`] for weights of another encoder or of other filters.
    pub fn start_encoder_from(&mut self, tensors: &HashMap<String, Tensor>) -> Result<Vec<String>> {
        let notes = fine_tune::adapt_encoder(&self.model, tensors)?;
        self.started()?;
        Ok(notes)
    }

    /// The average follows on the weights that the run begins with.
    fn started(&mut self) -> Result<()> {
        if self.average.is_some() {
            self.average = Some(Average::of(&self.model, self.config.train.ema_decay, &self.device)?);
        }
        self.awaits_model = false;
        Ok(())
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// [`Error::Setting`] where the encoder's weights are awaited; [`Error::NotFinite`] naming the batch when the loss or the gradients are not numbers; errors of the data, of
    /// an operation, and of files that cannot be written.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Summary> {
        if let Some(weights) = self.awaits_encoder() {
            let allowed = "their tensors given to Trainer::start_encoder_from first";
            return Err(Error::setting("model.encoder_weights", weights, allowed));
        }
        if let Some(folder) = self.awaits_model() {
            let model = UNet3Plus::load(folder, &self.device)?;
            self.start_from(&model)?;
        }
        let path = self.run_dir.join(CONFIG);
        let text = self.config.to_toml()?;
        write_atomically(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        let mut logs = self.logs()?;
        observer.observe(&Event::Start(self.plan.clone()));

        let (steps, per_epoch) = (self.plan.steps, self.plan.steps_per_epoch);
        let data = &self.config.data;
        let workers = data.workers.unwrap_or(if self.device.is_cpu() { 0 } else { 2 });
        let mut loader = Loader::start(&self.recipe, self.progress.step..steps, workers, data.prefetch)?;
        let mut waited = 0.0;
        while self.progress.step < steps && !self.stops_early() {
            let start = Instant::now();
            let step = self.progress.step;
            let learning_rate = self.learning_rate(step);
            let batch = loader.next()?;
            waited += start.elapsed().as_secs_f64();
            // On a thread of the pool: from outside, each operation would first wake the pool up and then be woken by it.
            let (loss, gradient_norm) = rayon::scope(|_| self.step(step, learning_rate, &batch))?;
            let seconds = start.elapsed().as_secs_f64();
            self.progress.step += 1;
            self.progress.seconds += seconds;
            self.progress.epoch.add(loss, gradient_norm, seconds);
            let epoch = step / per_epoch + 1;
            let report = StepReport {
                step: step + 1,
                epoch,
                loss,
                gradient_norm,
                learning_rate,
                images_per_second: batch.names.len() as f64 / seconds,
            };
            logs.step(&report)?;
            observer.observe(&Event::Step(report));
            let is_last = step + 1 == steps;
            if (step + 1).is_multiple_of(per_epoch) || is_last {
                let mut report = self.epoch_report(epoch, learning_rate);
                let validates = epoch.is_multiple_of(self.config.train.validate_every) || is_last;
                if validates {
                    self.judge(&mut report, &mut logs)?;
                }
                // In this order: a run that is killed in between repeats what its checkpoint does not know of.
                logs.epoch(&report)?;
                if validates {
                    self.save_checkpoint()?;
                }
                observer.observe(&Event::Epoch(report));
            } else if self.checkpoint_is_due() {
                logs.flush()?;
                self.save_checkpoint()?;
            }
        }
        let mut summary = Summary {
            steps: self.progress.step,
            stopped_early: self.progress.step < steps,
            seconds: self.progress.seconds,
            waited,
            best: self.progress.best,
            best_model: self.run_dir.join("best"),
            last_model: self.run_dir.join("last"),
            report: None,
        };
        if self.config.log.report {
            summary.report = Some(self.report(&logs, &summary)?);
        }
        observer.observe(&Event::Done(summary.clone()));
        Ok(summary)
    }

    /// The learning rate of a step (from 0).
    fn learning_rate(&self, step: usize) -> f64 {
        self.schedule.rate(step) * self.progress.plateau
    }

    /// Whether validations have stopped to improve for too long.
    fn stops_early(&self) -> bool {
        let patience = self.config.train.patience;
        patience > 0 && self.progress.stale >= patience
    }

    /// Whether a checkpoint is due between two epochs.
    fn checkpoint_is_due(&self) -> bool {
        let every = self.config.train.checkpoint_every;
        every > 0 && self.progress.step.is_multiple_of(every)
    }

    /// What the steps of an epoch add up to; the next epoch begins.
    fn epoch_report(&mut self, epoch: usize, learning_rate: f64) -> EpochReport {
        let sums = std::mem::take(&mut self.progress.epoch);
        let steps = sums.steps as f64;
        EpochReport {
            epoch,
            step: self.progress.step,
            loss: sums.loss / steps,
            gradient_norm: sums.gradient_norm / steps,
            learning_rate,
            images_per_second: steps * self.config.slices_per_step() as f64 / sums.seconds,
            validation: None,
            is_best: false,
        }
    }
}

impl Sums {
    fn add(&mut self, loss: f64, gradient_norm: f64, seconds: f64) {
        self.steps += 1;
        self.loss += loss;
        self.gradient_norm += gradient_norm;
        self.seconds += seconds;
    }
}

/// Whether a folder has a model, a checkpoint or a line of metrics. What a run leaves that ended before its first
/// checkpoint is no more than a repeated run makes again.
fn holds_run(dir: &Path) -> bool {
    let measured = std::fs::read_to_string(dir.join(METRICS)).is_ok_and(|text| text.lines().count() > 1);
    measured || checkpoint::exists(dir) || ["last", "best"].iter().any(|folder| dir.join(folder).exists())
}
