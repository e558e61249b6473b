//! A run: steps, validations, checkpoints.

mod open;
mod restore;
mod save;
mod step;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{Device, Tensor};
use unet3p_data::{Parts, SliceDataset, Split, write_atomically};
use unet3p_models::UNet3Plus;

use crate::loader::{Batch, Loader, SampleSettings};
use crate::log::{Logs, METRICS};
use crate::objective::Objective;
use crate::progress::{Progress, Sums};
use crate::{
    Classes, EpochReport, Error, Event, Monitor, Observer, Optimizer, Plan, Result, Schedule, StepReport,
    Summary, TrainConfig, WeightAverage, checkpoint, fine_tune,
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
    split: Split,
    classes: Classes,
    settings: Arc<SampleSettings>,
    statistics_batches: Vec<Batch>,
    class_names: Vec<String>,
    model: UNet3Plus,
    average: Option<Average>,
    optimizer: Box<dyn Optimizer>,
    objective: Objective,
    plan: Plan,
    schedule: Schedule,
    progress: Progress,
    /// Keys of a resumed run that are others than before.
    changed_keys: Vec<String>,
    /// What begins anew in a resumed run.
    notes: Vec<String>,
    /// Set where the run is to stop.
    stop: Arc<AtomicBool>,
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

    /// The run's configuration, with what the data decides filled in.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The folder that the run fills.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The size of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The slices on both sides of the split.
    pub fn dataset(&self) -> &SliceDataset {
        &self.settings.dataset
    }

    /// Which slices train and which validate.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// How the sides were chosen. In a resumed run they are those of its beginning.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The classes, and who tells them.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The keys of a resumed run's configuration that have changed since its checkpoint: "KEY: OLD -> NEW".
    pub fn changed_keys(&self) -> &[String] {
        &self.changed_keys
    }

    /// What begins anew in a resumed run, as the configuration has changed.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Makes [`run`](Trainer::run) stop once `flag` is set: after the step that is under way it saves a checkpoint and
    /// returns. A run that is resumed from it ends with the bits of one that never stopped.
    pub fn stop_on(&mut self, flag: Arc<AtomicBool>) {
        self.stop = flag;
    }

    /// The metric that decides on the best model.
    pub fn monitor(&self) -> &Monitor {
        &self.config.train.monitor
    }

    /// Steps that an earlier session did.
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

    /// Trains to the end, or until it is [to stop](Trainer::stop_on).
    ///
    /// # Errors
    /// [`Error::Setting`] where the encoder's weights are awaited; [`Error::NotFinite`] naming the batch when the loss
    /// or the gradients are not numbers, [`Error::NotFiniteWeights`] before weights that are none are saved; errors of
    /// the data, of an operation, and of files that cannot be written.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Summary> {
        if let Some(weights) = self.awaits_encoder() {
            let allowed = "their tensors given to Trainer::start_encoder_from first";
            return Err(Error::setting("model.encoder_weights", weights, allowed));
        }
        if let Some(folder) = self.awaits_model() {
            let model = UNet3Plus::load(folder, &self.device)?;
            self.start_from(&model)?;
        }
        // First: a configuration that the logs refuse must not replace the one they are of.
        let mut logs = self.logs()?;
        let path = self.run_dir.join(CONFIG);
        let text = self.config.to_toml()?;
        write_atomically(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        observer.observe(&Event::Start(self.plan.clone()));

        let steps = self.plan.steps;
        let data = &self.config.data;
        let workers = data.workers.unwrap_or(if self.device.is_cpu() { 0 } else { 2 });
        let mut loader = Loader::start(&self.settings, self.progress.step..steps, workers, data.prefetch)?;
        let first = self.progress.step;
        let mut waited = 0.0;
        let interrupted = loop {
            if self.epoch_is_over() {
                match self.end_epoch(&mut logs, observer) {
                    Err(Error::Stopped) => break true,
                    ended => ended?,
                }
            }
            if self.progress.step >= steps || self.stops_early() {
                break false;
            }
            if self.progress.step > first && self.stop.load(Ordering::Relaxed) {
                break true;
            }
            let start = Instant::now();
            let batch = loader.next()?;
            waited += start.elapsed().as_secs_f64();
            let report = self.take_step(&batch, start)?;
            logs.step(&report)?;
            observer.observe(&Event::Step(report));
            if self.checkpoint_is_due() && !self.epoch_is_over() {
                logs.flush()?;
                self.save_checkpoint()?;
            }
        };
        if interrupted {
            logs.flush()?;
            self.save_checkpoint()?;
        }
        let mut summary = Summary {
            steps: self.progress.step,
            stopped_early: !interrupted && self.progress.step < steps,
            interrupted,
            seconds: self.progress.seconds,
            waited,
            best: self.progress.best,
            best_model: self.run_dir.join("best"),
            last_model: self.run_dir.join("last"),
            report: None,
        };
        if self.config.log.report && !interrupted {
            summary.report = Some(self.report(&logs, &summary)?);
        }
        observer.observe(&Event::Done(summary.clone()));
        Ok(summary)
    }

    /// A step on the batch that was asked for at `start`.
    fn take_step(&mut self, batch: &Batch, start: Instant) -> Result<StepReport> {
        let step = self.progress.step;
        let learning_rate = self.learning_rate(step);
        // On a thread of the pool: from outside, each operation would first wake the pool up and then be woken by it.
        let (loss, gradient_norm) = rayon::scope(|_| self.step(step, learning_rate, batch))?;
        let seconds = start.elapsed().as_secs_f64();
        self.progress.step += 1;
        self.progress.seconds += seconds;
        self.progress.epoch.add(loss, gradient_norm, seconds);
        Ok(StepReport {
            step: step + 1,
            epoch: self.progress.epochs() + 1,
            loss,
            gradient_norm,
            learning_rate,
            images_per_second: batch.names.len() as f64 / seconds,
        })
    }

    /// Whether the steps done are the last of an epoch that was not reported yet.
    fn epoch_is_over(&self) -> bool {
        let step = self.progress.step;
        let ends = step >= self.plan.steps || self.settings.sampler.is_between_passes(step);
        self.progress.epoch.steps > 0 && ends
    }

    /// Reports an epoch, with a validation and a checkpoint where they are due.
    fn end_epoch(&mut self, logs: &mut Logs, observer: &mut dyn Observer) -> Result<()> {
        let mut report = self.epoch_report();
        let is_last = self.progress.step >= self.plan.steps;
        let validates = report.epoch.is_multiple_of(self.config.train.validate_every) || is_last;
        if validates {
            self.take_validation(&mut report, logs)?;
        }
        self.progress.epochs = Some(report.epoch);
        self.progress.epoch = Sums::default();
        // In this order: a run that is killed in between repeats what its checkpoint does not know of.
        logs.epoch(&report)?;
        if validates || self.checkpoint_is_due() {
            self.save_checkpoint()?;
        }
        observer.observe(&Event::Epoch(report));
        Ok(())
    }

    /// The learning rate of a step (from 0).
    fn learning_rate(&self, step: usize) -> f64 {
        self.schedule.rate_in(step, self.settings.sampler.pass(step)) * self.progress.plateau
    }

    /// Whether validations have stopped to improve for too long.
    fn stops_early(&self) -> bool {
        let patience = self.config.train.patience;
        patience > 0 && self.progress.stale >= patience
    }

    /// Whether a checkpoint is due after the steps done.
    fn checkpoint_is_due(&self) -> bool {
        let every = self.config.train.checkpoint_every;
        every > 0 && self.progress.step.is_multiple_of(every)
    }

    /// What the steps of the present epoch add up to.
    fn epoch_report(&self) -> EpochReport {
        let (step, sums) = (self.progress.step, &self.progress.epoch);
        let steps = sums.steps as f64;
        EpochReport {
            epoch: self.progress.epochs() + 1,
            step,
            loss: sums.loss / steps,
            gradient_norm: sums.gradient_norm / steps,
            learning_rate: self.learning_rate(step - 1),
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
