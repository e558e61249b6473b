//! The `[train]` table: the optimization.

use serde::{Deserialize, Serialize};

use super::check::{check, check_counts, check_not_negative, is_part};
use super::named::name_or_table;
use crate::{Decay, Monitor, OptimizerConfig, Result};

/// The `[train]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizationConfig {
    /// Passes over the training slices. Default: 100, unless `steps` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Optimizer steps, in place of `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Slices per batch (default 4).
    pub batch_size: usize,
    /// Batches whose gradients are averaged into one step (default 1).
    pub accumulate: usize,
    /// "adamw" (default), "adam" or "sgd", or a table of its name and parameters.
    #[serde(deserialize_with = "name_or_table")]
    pub optimizer: OptimizerConfig,
    /// The highest learning rate (default 1e-3).
    pub learning_rate: f64,
    /// "constant", "step", "cosine" (default), "polynomial" or "plateau", or a table of its name and parameters.
    #[serde(deserialize_with = "name_or_table")]
    pub schedule: Decay,
    /// Steps over which the learning rate rises (default 20).
    pub warm_up: usize,
    /// Strength of the decay of convolution kernels (default 1e-4).
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm (default 5; 0: never).
    pub clip_norm: f64,
    /// Decay of the weights' moving average, which is what is validated and saved (default 0.99; 0: no average).
    pub ema_decay: f64,
    /// Batches over which the average's batch statistics are estimated before it is used (default 16).
    pub statistics_batches: usize,
    /// Epochs between validations (default 1).
    pub validate_every: usize,
    /// What tells the best model, a plateau and when to stop early (default "dice").
    pub monitor: Monitor,
    /// Validations without improvement after which the run stops early (default 0: never).
    pub patience: usize,
    /// Steps between checkpoints beside those that follow each epoch (default 0: none).
    pub checkpoint_every: usize,
    /// Seed of weights, split, order, augmentation and dropout (default 0).
    pub seed: u64,
}

impl Default for OptimizationConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            batch_size: 4,
            accumulate: 1,
            optimizer: OptimizerConfig::default(),
            learning_rate: 1e-3,
            schedule: Decay::default(),
            warm_up: 20,
            weight_decay: 1e-4,
            clip_norm: 5.0,
            ema_decay: 0.99,
            statistics_batches: 16,
            validate_every: 1,
            monitor: Monitor::default(),
            patience: 0,
            checkpoint_every: 0,
            seed: 0,
        }
    }
}

impl OptimizationConfig {
    /// Checks the values of this table.
    pub(super) fn validate(&self) -> Result<()> {
        check_counts([
            ("train.batch_size", self.batch_size, 1024),
            ("train.accumulate", self.accumulate, 1024),
            ("train.statistics_batches", self.statistics_batches, 4096),
        ])?;
        for (key, value) in [
            ("train.validate_every", self.validate_every),
            ("train.epochs", self.epochs.unwrap_or(1)),
            ("train.steps", self.steps.unwrap_or(1)),
        ] {
            check(key, value, value > 0, "1 or more")?;
        }
        if let (Some(steps), Some(_)) = (self.steps, self.epochs) {
            let allowed = "cannot be given together with train.epochs: leave one of them out";
            check("train.steps", steps, false, allowed)?;
        }
        let rate = self.learning_rate;
        check("train.learning_rate", rate, rate.is_finite() && rate > 0.0, "a number above 0")?;
        for (table, wrong) in [("optimizer", self.optimizer.wrong()), ("schedule", self.schedule.wrong())] {
            if let Some((key, value, allowed)) = wrong {
                check(&format!("train.{table}.{key}"), value, false, allowed)?;
            }
        }
        check_not_negative([("train.weight_decay", self.weight_decay), ("train.clip_norm", self.clip_norm)])?;
        let decay = self.ema_decay;
        check("train.ema_decay", decay, is_part(decay) && decay < 1.0, "0 to below 1")
    }
}
