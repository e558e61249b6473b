//! What a run tells whoever watches it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Validation;

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The run begins.
    Start(Plan),
    /// A step is done.
    Step(StepReport),
    /// An epoch is done, and with it perhaps a validation and a checkpoint.
    Epoch(EpochReport),
    /// The run is done.
    Done(Summary),
}

/// The size of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Steps in all.
    pub steps: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Slices to train on.
    pub training_slices: usize,
    /// Slices to validate on.
    pub validation_slices: usize,
    /// Height and width of training samples.
    pub crop: [usize; 2],
    /// Weights of the network.
    pub parameters: usize,
}

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The step, from 1.
    pub step: usize,
    /// The epoch, from 1.
    pub epoch: usize,
    /// The loss of the batch.
    pub loss: f64,
    /// Norm of all gradients, before clipping.
    pub gradient_norm: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Slices per second, loading included.
    pub images_per_second: f64,
}

/// One epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Its last step.
    pub step: usize,
    /// Mean loss of its steps.
    pub loss: f64,
    /// Mean norm of their gradients, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Slices per second over the epoch, without validation.
    pub images_per_second: f64,
    /// The validation, in epochs that have one.
    pub validation: Option<Validation>,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// The best validation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The monitored metric.
    pub value: f64,
    /// The epoch, from 1.
    pub epoch: usize,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Steps done.
    pub steps: usize,
    /// Whether it ended before the planned steps, as validations had stopped to improve.
    pub stopped_early: bool,
    /// Whether it was [asked to stop](crate::Trainer::stop_on): it goes on from its checkpoint.
    pub interrupted: bool,
    /// Time taken, over all sessions.
    pub seconds: f64,
    /// Part of them that steps of this session waited for batches.
    pub waited: f64,
    /// The best validation; nothing where the monitored metric was never measured.
    pub best: Option<Best>,
    /// The best model's folder.
    pub best_model: PathBuf,
    /// The last model's folder.
    pub last_model: PathBuf,
    /// The report's file; nothing where none is wanted.
    pub report: Option<PathBuf>,
}

/// Whoever watches a run; closures do.
pub trait Observer {
    /// Called from the training thread, in order.
    fn observe(&mut self, event: &Event);
}

impl<F: FnMut(&Event)> Observer for F {
    fn observe(&mut self, event: &Event) {
        self(event);
    }
}
