//! A run: steps, validations, checkpoints.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};
use unet3p_data::{Parts, SliceDataset, write_atomically};
use unet3p_losses::{DeepSupervision, Target, presence_loss};
use unet3p_models::{SIZE_MULTIPLE, TrainOutput, UNet3Plus};

use crate::card::{self, Card};
use crate::checkpoint::replace_folder;
use crate::evaluate::validate;
use crate::folders;
use crate::loader::{Batch, Loader, Recipe};
use crate::metrics_log::MetricsLog;
use crate::sampling::{Purpose, Sampler, generator};
use crate::{
    Adam, EpochReport, Error, Event, Gradients, Observer, Plan, Result, Schedule, StepReport, Summary,
    TrainConfig, Validation, WeightAverage, clip_factor, statistics,
};

/// Added to the seed for the batches that statistics are estimated on, so that they are not the first steps' own.
const STATISTICS_SEED: u64 = 0x5eed;

/// Trains a network as a [`TrainConfig`] says and fills a run folder: `config.toml` (what the run has
/// resolved to), `metrics.csv` (a line an epoch), `last/` and `best/` (model folders with a card, each replaced as a
/// whole by a rename).
///
/// What is validated and saved are the averaged weights with batch statistics of their own, if there is an average.
/// The best model is the one with the highest mean Dice over whole volumes; without volumes to validate on it is the
/// last. On the CPU a run with the same configuration and the same number of threads gives the same weights.
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
    adam: Adam,
    supervision: DeepSupervision,
    plan: Plan,
    schedule: Schedule,
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
    pub fn new(mut config: TrainConfig, run_dir: impl Into<PathBuf>, device: Device) -> Result<Self> {
        config.validate()?;
        let run_dir = run_dir.into();
        if holds_run(&run_dir) {
            return Err(Error::RunExists(run_dir));
        }
        let preprocessor = folders::preprocessor(&config)?;
        let names = folders::class_names(&config.data.paths)?;
        let dataset = Arc::new(folders::open(&config, preprocessor)?);
        let parts = dataset.split(&config.split())?;
        let crop = config.data.crop.unwrap_or_else(|| smallest_crop(&dataset, &parts.train));
        config.check_batch(crop)?;
        let validated: BTreeSet<&str> =
            parts.validation.iter().map(|&i| dataset.slices()[i].group.as_str()).collect();
        config.resolve(crop, &names, validated.into_iter().map(String::from).collect());

        let seed = config.train.seed;
        let sampler = |seed| {
            let slices = parts.train.iter().map(|&i| (i, dataset.slices()[i].has_foreground()));
            Sampler::new(slices, config.data.foreground_share, config.train.batch_size, seed)
        };
        let recipe = |seed| Recipe {
            dataset: dataset.clone(),
            sampler: sampler(seed),
            augmentation: config.augmentation.clone(),
            crop,
            seed,
        };
        let statistics = recipe(seed.wrapping_add(STATISTICS_SEED));
        let recipe = Arc::new(recipe(seed));

        let network = config.network(&names)?;
        let model = UNet3Plus::init(&network, seed, DType::F32, &device)?;
        let adam = Adam::new(model.parameters().trainable().into_iter().map(|(_, v)| v), config.adam())?;
        let (average, statistics_batches) = if config.train.ema_decay > 0.0 {
            let batches = (0..config.train.statistics_batches).map(|step| statistics.batch(step));
            (Some(Average::of(&model, config.train.ema_decay, &device)?), batches.collect::<Result<_>>()?)
        } else {
            (None, Vec::new())
        };
        let loss = config.loss.segmentation.build(config.activation())?;
        let supervision = DeepSupervision::new(loss, config.head_weights())?;

        let steps_per_epoch = recipe.sampler.steps_per_epoch();
        let steps = config.total_steps(steps_per_epoch);
        let plan = Plan {
            steps,
            steps_per_epoch,
            training_slices: parts.train.len(),
            validation_slices: parts.validation.len(),
            crop,
            parameters: adam.parameters().map(|v| v.elem_count()).sum(),
        };
        let class_names = (1..=config.classes())
            .map(|id| network.id2label.get(&id).cloned().unwrap_or_else(|| id.to_string()))
            .collect();
        let schedule = config.schedule(steps);
        std::fs::create_dir_all(&run_dir).map_err(|e| Error::io(&run_dir, "create the folder", e))?;
        Ok(Self {
            config,
            run_dir,
            device,
            parts,
            recipe,
            statistics_batches,
            class_names,
            model,
            average,
            adam,
            supervision,
            plan,
            schedule,
        })
    }

    /// The size of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the batch when the loss or the gradients are not numbers; errors of the data, of
    /// an operation, and of files that cannot be written.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Summary> {
        let start = Instant::now();
        let path = self.run_dir.join("config.toml");
        let text = self.config.to_toml()?;
        write_atomically(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        let mut log = MetricsLog::create(&self.run_dir.join("metrics.csv"), &self.class_names)?;
        observer.observe(&Event::Start(self.plan.clone()));

        let (steps, per_epoch) = (self.plan.steps, self.plan.steps_per_epoch);
        let data = &self.config.data;
        let mut loader = Loader::start(&self.recipe, 0..steps, data.workers, data.prefetch)?;
        let mut best: Option<(f64, usize)> = None;
        let (mut loss_sum, mut seconds, mut epoch_steps) = (0.0, 0.0, 0usize);
        for step in 0..steps {
            let step_start = Instant::now();
            let batch = loader.next()?;
            let (loss, gradient_norm) = self.step(step, &batch)?;
            let elapsed = step_start.elapsed().as_secs_f64();
            loss_sum += loss;
            seconds += elapsed;
            epoch_steps += 1;
            let (epoch, learning_rate) = (step / per_epoch + 1, self.schedule.rate(step));
            let images_per_second = batch.names.len() as f64 / elapsed;
            let report =
                StepReport { step: step + 1, epoch, loss, gradient_norm, learning_rate, images_per_second };
            observer.observe(&Event::Step(report));

            let is_last = step + 1 == steps;
            if (step + 1) % per_epoch != 0 && !is_last {
                continue;
            }
            let mut report = EpochReport {
                epoch,
                step: step + 1,
                loss: loss_sum / epoch_steps as f64,
                learning_rate,
                images_per_second: (epoch_steps * batch.names.len()) as f64 / seconds,
                validation: None,
                is_best: false,
            };
            (loss_sum, seconds, epoch_steps) = (0.0, 0.0, 0);
            if epoch % self.config.train.validate_every == 0 || is_last {
                self.checkpoint(&mut report, &mut best)?;
            }
            log.add(&report)?;
            observer.observe(&Event::Epoch(report));
        }
        let summary = Summary {
            steps,
            seconds: start.elapsed().as_secs_f64(),
            best,
            best_model: self.run_dir.join("best"),
            last_model: self.run_dir.join("last"),
        };
        observer.observe(&Event::Done(summary.clone()));
        Ok(summary)
    }

    /// One optimizer step: the loss and the norm of its gradients.
    fn step(&mut self, step: usize, batch: &Batch) -> Result<(f64, f64)> {
        let learning_rate = self.schedule.rate(step);
        let finite = |what: &'static str, value: f64| {
            if value.is_finite() {
                return Ok(value);
            }
            let files = batch.names.clone();
            Err(Error::NotFinite { what, value, step: step + 1, learning_rate, files })
        };
        let target = batch.target(self.config.model.num_classes, self.config.activation(), &self.device)?;
        let mut dropout = generator(self.config.train.seed, Purpose::Dropout, step);
        let output = self.model.forward_train(&batch.input(&self.device)?, &mut dropout)?;
        let loss = self.loss(&output, &target)?;
        let value = finite("loss", f64::from(loss.to_scalar::<f32>()?))?;
        let gradients = Gradients::take(loss.backward()?, self.adam.parameters())?;
        let norm = finite("norm of the gradients", gradients.global_norm()?)?;
        let limit = self.config.train.clip_norm;
        let scale = if limit > 0.0 { clip_factor(norm, limit) } else { 1.0 };
        self.adam.step(&gradients, learning_rate, scale)?;
        if let Some(average) = &mut self.average {
            average.weights.update()?;
        }
        Ok((value, norm))
    }

    /// The weighted losses of all heads, and of the classification-guided module where there is one.
    fn loss(&self, output: &TrainOutput, target: &Target) -> Result<Tensor> {
        let heads = self.supervision.forward(&output.logits, target)?;
        match &output.presence {
            Some(presence) if self.config.loss.presence > 0.0 => {
                Ok((heads + (presence_loss(presence, target)? * self.config.loss.presence)?)?)
            }
            _ => Ok(heads),
        }
    }

    /// Validates the weights of this moment and saves them.
    fn checkpoint(&self, report: &mut EpochReport, best: &mut Option<(f64, usize)>) -> Result<()> {
        let model = match &self.average {
            None => &self.model,
            Some(average) => {
                let (batches, seed) = (&self.statistics_batches, self.config.train.seed);
                statistics::estimate(&average.model, batches, seed, &self.device)?;
                &average.model
            }
        };
        report.validation = self.validation(model)?;
        report.is_best = match report.validation.as_ref().map(|v| v.mean_dice().unwrap_or(0.0)) {
            None => true,
            Some(dice) if best.is_none_or(|(highest, _)| dice > highest) => {
                *best = Some((dice, report.epoch));
                true
            }
            Some(_) => false,
        };
        self.save(model, report, "last")?;
        if report.is_best {
            self.save(model, report, "best")?;
        }
        Ok(())
    }

    fn validation(&self, model: &UNet3Plus) -> Result<Option<Validation>> {
        if self.parts.validation.is_empty() {
            return Ok(None);
        }
        let (dataset, classes) = (&self.recipe.dataset, self.config.classes());
        validate(model, dataset, &self.parts.validation, classes, &self.device).map(Some)
    }

    /// Writes a model folder of the run.
    fn save(&self, model: &UNet3Plus, report: &EpochReport, folder: &str) -> Result<()> {
        let card = Card {
            config: &self.config,
            network: model.config(),
            dataset: &self.recipe.dataset,
            parts: &self.parts,
            plan: &self.plan,
            class_names: &self.class_names,
            report,
        };
        let text = card.text();
        replace_folder(&self.run_dir.join(folder), |folder| {
            model.save(folder, DType::F32)?;
            self.recipe.dataset.preprocessor().save(folder)?;
            let path = folder.join(card::FILE_NAME);
            Ok(write_atomically(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
        })
    }
}

impl Average {
    /// A copy of `model` that follows its weights.
    fn of(model: &UNet3Plus, decay: f64, device: &Device) -> Result<Self> {
        let copy = |(name, variable): (String, Var)| Ok((name, variable.as_detached_tensor().copy()?));
        let tensors = model.parameters().all().into_iter().map(copy).collect::<Result<HashMap<_, _>>>()?;
        let copy = UNet3Plus::from_tensors(model.config(), tensors, DType::F32, device)?;
        let averages = copy.parameters().trainable().into_iter();
        let pairs = averages.zip(model.parameters().trainable()).map(|((_, a), (_, w))| (a, w)).collect();
        Ok(Self { model: copy, weights: WeightAverage::new(pairs, decay) })
    }
}

/// Whether a folder has a model or a line of metrics. What a run leaves that ended before its first checkpoint is
/// no more than a repeated run makes again.
fn holds_run(dir: &Path) -> bool {
    let measured =
        std::fs::read_to_string(dir.join("metrics.csv")).is_ok_and(|text| text.lines().count() > 1);
    measured || ["last", "best"].iter().any(|folder| dir.join(folder).exists())
}

/// The smallest size of multiples of 16 that holds every slice.
fn smallest_crop(dataset: &SliceDataset, slices: &[usize]) -> [usize; 2] {
    if let Some(size) = dataset.preprocessor().size {
        return [size.height, size.width].map(|n| n.next_multiple_of(SIZE_MULTIPLE));
    }
    let slices = || slices.iter().map(|&i| &dataset.slices()[i]);
    let [height, width] = [slices().map(|s| s.height).max(), slices().map(|s| s.width).max()];
    [height, width].map(|n| n.unwrap_or(SIZE_MULTIPLE).next_multiple_of(SIZE_MULTIPLE))
}
