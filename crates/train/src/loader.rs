//! Batches, made between steps or on threads ahead of the step that needs them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use candle_core::{Device, Tensor};
use rayon::Yield;
use rayon::prelude::*;
use unet3p_data::{Augmentation, Sample, SliceDataset};
use unet3p_losses::{Activation, LabelBatch, Target};

use crate::sampling::{Pick, Purpose, Sampler, generator};
use crate::{Error, Result};

/// How long an idle thread of the pool waits for a batch before it looks for work again.
const PATIENCE: Duration = Duration::from_micros(200);

/// How samples become batches.
#[derive(Clone)]
pub(crate) struct SampleSettings {
    pub(crate) dataset: Arc<SliceDataset>,
    pub(crate) sampler: Sampler,
    pub(crate) augmentation: Augmentation,
    /// Height and width of the batch.
    pub(crate) crop: [usize; 2],
    pub(crate) seed: u64,
}

/// A batch in the host's memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    /// `[batch, channels, height, width]`.
    pub(crate) images: Vec<f32>,
    /// Class ids `[batch, height, width]`.
    pub(crate) labels: Vec<u8>,
    /// The label of pixels that do not count.
    pub(crate) ignored: Option<u8>,
    /// Number of channels.
    pub(crate) channels: usize,
    /// Height and width.
    pub(crate) crop: [usize; 2],
    /// Names of the slices.
    pub(crate) names: Vec<String>,
}

impl SampleSettings {
    /// The batch of a step, its samples one after the other: the same on whatever thread.
    pub(crate) fn batch(&self, step: usize) -> Result<Batch> {
        let samples = self.sampler.batch(step).into_iter().map(|pick| self.sample(pick));
        Ok(self.collate(samples.collect::<Result<_>>()?))
    }

    /// The same batch, its samples side by side on the threads of the pool.
    fn batch_in_parallel(&self, step: usize) -> Result<Batch> {
        let samples = self.sampler.batch(step).into_par_iter().map(|pick| self.sample(pick));
        Ok(self.collate(samples.collect::<Result<_>>()?))
    }

    fn sample(&self, pick: Pick) -> Result<Sample> {
        let mut sample = self.dataset.sample(pick.slice)?;
        let mut rng = generator(self.seed, Purpose::Sample, pick.place);
        self.augmentation.apply_to_size(&mut sample, self.crop, &mut rng);
        self.dataset.normalize(&mut sample.image);
        Ok(sample)
    }

    fn collate(&self, samples: Vec<Sample>) -> Batch {
        let mut batch = Batch {
            images: Vec::new(),
            labels: Vec::new(),
            ignored: self.dataset.ignored(),
            channels: 0,
            crop: self.crop,
            names: Vec::new(),
        };
        for sample in samples {
            batch.channels = sample.image.channels;
            batch.images.extend(sample.image.data);
            batch.labels.extend(sample.mask.data);
            batch.names.push(sample.name);
        }
        batch
    }
}

impl Batch {
    /// The network's input `[batch, channels, height, width]`.
    pub(crate) fn input(&self, device: &Device) -> Result<Tensor> {
        let shape = (self.names.len(), self.channels, self.crop[0], self.crop[1]);
        Ok(Tensor::from_slice(&self.images, shape, device)?)
    }

    /// What the network should answer.
    pub(crate) fn target(&self, classes: usize, activation: Activation, device: &Device) -> Result<Target> {
        let shape = (self.names.len(), self.crop[0], self.crop[1]);
        let labels = LabelBatch { ids: &self.labels, shape, ignored: self.ignored };
        Ok(Target::from_labels(&labels, classes, activation, device)?)
    }
}

/// The batches of a run, in order.
pub(crate) enum Loader {
    /// Each made when it is asked for, on all threads of the pool: on a CPU a thread beside the step's would take a
    /// core from one of them, for which the others wait.
    Between { settings: Arc<SampleSettings>, steps: Range<usize> },
    /// Threads that each make every n-th batch and hold a few ready. Dropping it ends them.
    Ahead { queues: Vec<Receiver<Result<Batch>>>, next: usize },
}

impl Loader {
    /// Batches of the steps `steps`, made by `workers` threads that stay at most `prefetch` batches ahead each;
    /// without any, between steps.
    pub(crate) fn start(
        settings: &Arc<SampleSettings>,
        steps: Range<usize>,
        workers: usize,
        prefetch: usize,
    ) -> Result<Self> {
        if workers == 0 {
            return Ok(Self::Between { settings: settings.clone(), steps });
        }
        let start = |worker: usize| {
            let (sender, receiver) = sync_channel(prefetch);
            let (settings, steps) = (settings.clone(), steps.clone());
            let work = move || feed(&settings, steps.skip(worker).step_by(workers), &sender);
            let thread = std::thread::Builder::new().name(format!("batches {worker}"));
            thread.spawn(work).map_err(|e| Error::io("a loading thread".as_ref(), "start", e))?;
            Ok(receiver)
        };
        let queues = (0..workers).map(start).collect::<Result<_>>()?;
        Ok(Self::Ahead { queues, next: 0 })
    }

    /// The next step's batch.
    pub(crate) fn next(&mut self) -> Result<Batch> {
        match self {
            Self::Between { settings, steps } => {
                settings.batch_in_parallel(steps.next().ok_or(Error::Loader)?)
            }
            Self::Ahead { queues, next } => {
                let queue = &queues[*next];
                *next = (*next + 1) % queues.len();
                receive(queue).ok_or(Error::Loader)?
            }
        }
    }
}

/// What comes next out of a queue. A thread of the pool does what there is to do on the pool meanwhile: those who fill the
/// queue may wait for that, and it may be the only thread.
fn receive<T>(queue: &Receiver<T>) -> Option<T> {
    loop {
        match queue.try_recv() {
            Ok(item) => return Some(item),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        match rayon::yield_now() {
            Some(Yield::Executed) => {}
            Some(Yield::Idle) => match queue.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Timeout) => {}
                received => return received.ok(),
            },
            // not a thread of the pool
            None => return queue.recv().ok(),
        }
    }
}

fn feed(settings: &SampleSettings, steps: impl Iterator<Item = usize>, sender: &SyncSender<Result<Batch>>) {
    for step in steps {
        let batch = settings.batch(step);
        let failed = batch.is_err();
        // An error here means that nobody waits for more: the run has ended.
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}
