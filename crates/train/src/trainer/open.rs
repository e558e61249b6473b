//! From a configuration to a trainer: data, network, optimizer, run folder.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Result as CandleResult, Var};
use unet3p_data::{Parts, SliceDataset};
use unet3p_models::UNet3Plus;

use super::{Average, LOCK, Trainer};
use crate::folders;
use crate::loader::SampleSettings;
use crate::objective::Objective;
use crate::progress::Progress;
use crate::sampling::{Order, Origin, Sampler};
use crate::{Error, Plan, Result, TrainConfig, WeightAverage};

/// Added to the seed for the batches that statistics are estimated on, so that they are not the first steps' own.
const STATISTICS_SEED: u64 = 0x5eed;

impl Trainer {
    /// A trainer before its first step.
    pub(super) fn open(mut config: TrainConfig, run_dir: PathBuf, device: Device) -> Result<Self> {
        config.validate()?;
        let dataset = Arc::new(folders::open(&config)?);
        let split = config.split();
        let parts = dataset.split(&split)?;
        let classes = config.settle(&dataset, &parts)?;
        let crop = config.data.crop.unwrap_or_default();

        let settings = |seed, slices_per_step| {
            let slices = parts.train.iter().map(|&i| (i, dataset.slices()[i].has_foreground()));
            let order =
                Order { shuffle: config.data.shuffle, foreground_share: config.data.foreground_share };
            let sampler = Sampler::new(slices, order, slices_per_step, seed);
            let (dataset, augmentation) = (dataset.clone(), config.augmentation.clone());
            SampleSettings { dataset, sampler, augmentation, crop, seed }
        };
        let seed = config.train.seed;
        let statistics = settings(seed.wrapping_add(STATISTICS_SEED), config.train.batch_size);
        let settings = Arc::new(settings(seed, config.slices_per_step()));

        let network = config.network()?;
        let class_names = config.class_names();
        let model = UNet3Plus::init(&network, seed, DType::F32, &device)?;
        let frozen = |name: &str| config.model.freeze_encoder && name.starts_with("encoder.");
        let trained = model.parameters().trainable().into_iter().filter(|(name, _)| !frozen(name));
        let optimizer = config.train.optimizer.build(trained, config.train.weight_decay)?;
        let (average, statistics_batches) = if config.train.ema_decay > 0.0 {
            let batches = (0..config.train.statistics_batches).map(|step| statistics.batch(step));
            (Some(Average::of(&model, config.train.ema_decay, &device)?), batches.collect::<Result<_>>()?)
        } else {
            (None, Vec::new())
        };
        let objective = Objective::new(&config)?;

        let steps_per_epoch = settings.sampler.steps_per_epoch();
        let steps = config.total_steps(Origin::default(), steps_per_epoch);
        let plan = Plan {
            steps,
            steps_per_epoch,
            training_slices: parts.train.len(),
            validation_slices: parts.validation.len(),
            crop,
            parameters: model.parameters().trainable().iter().map(|(_, v)| v.elem_count()).sum(),
        };
        let schedule = config.schedule(steps, steps_per_epoch);
        let progress = Progress::start(checksum(&dataset, &parts), config.train.monitor.clone());
        let lock = lock(&run_dir)?;
        Ok(Self {
            awaits_model: config.model.init_from.is_some() || config.model.encoder_weights.is_some(),
            config,
            run_dir,
            device,
            parts,
            split,
            classes,
            settings,
            statistics_batches,
            class_names,
            model,
            average,
            optimizer,
            objective,
            plan,
            schedule,
            progress,
            changed_keys: Vec::new(),
            notes: Vec::new(),
            stop: Arc::default(),
            _lock: lock,
        })
    }
}

impl Average {
    /// A copy of `model` that follows its weights.
    pub(super) fn of(model: &UNet3Plus, decay: f64, device: &Device) -> Result<Self> {
        let copy = |(name, variable): (String, Var)| Ok((name, variable.as_detached_tensor().copy()?));
        let tensors =
            model.parameters().all().into_iter().map(copy).collect::<CandleResult<HashMap<_, _>>>()?;
        let copy = UNet3Plus::from_tensors(model.config(), tensors, DType::F32, device)?;
        let averages = copy.parameters().trainable().into_iter();
        let pairs = averages.zip(model.parameters().trainable()).map(|((_, a), (_, w))| (a, w)).collect();
        Ok(Self { model: copy, weights: WeightAverage::new(pairs, decay) })
    }
}

/// Makes the run folder and keeps other processes from training in it. The system takes the lock back when the
/// process ends, however it ends.
fn lock(run_dir: &Path) -> Result<File> {
    std::fs::create_dir_all(run_dir).map_err(|e| Error::io(run_dir, "create the folder", e))?;
    let path = run_dir.join(LOCK);
    let file = File::create(&path).map_err(|e| Error::io(&path, "create", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::RunInUse(run_dir.to_path_buf())),
        // A file system without locks: the run goes on unguarded.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// CRC-32 of the names of the slices on both sides: a resumed run goes on with the same data or not at all.
fn checksum(dataset: &SliceDataset, parts: &Parts) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for side in [&parts.train, &parts.validation] {
        for &index in side {
            let slice = &dataset.slices()[index];
            hasher.update(slice.group.as_bytes());
            hasher.update(b"/");
            hasher.update(slice.name.as_bytes());
            hasher.update(b"\n");
        }
        hasher.update(b"\n");
    }
    hasher.finalize()
}
