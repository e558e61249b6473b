//! The `[data]` table: where slices are and how batches are made of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use unet3p_models::SIZE_MULTIPLE;

use super::check::{check, check_counts, is_part};
use crate::Result;

/// The longest side of a training sample.
const MOST_PIXELS: usize = 8192;

/// The `[data]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Folders with `images/`, `masks/` and perhaps `regions/`, `dataset.json`, `preprocessor_config.json`.
    pub paths: Vec<PathBuf>,
    /// Volumes to validate on. Without this and `validation_fraction`: those that `dataset.json` marks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_groups: Option<Vec<String>>,
    /// Part of the volumes to validate on, drawn with the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_fraction: Option<f64>,
    /// Height and width of training samples, multiples of 16. Default: the smallest that holds every training
    /// slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<[usize; 2]>,
    /// Part of the samples drawn from slices with any foreground. Default: as they come, each slice once an epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreground_share: Option<f64>,
    /// Threads that decode and augment ahead of the training step (default 1).
    pub workers: usize,
    /// Batches that each of them keeps ready (default 2).
    pub prefetch: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            validation_groups: None,
            validation_fraction: None,
            crop: None,
            foreground_share: None,
            workers: 1,
            prefetch: 2,
        }
    }
}

impl DataConfig {
    /// Checks the values of this table.
    pub(super) fn validate(&self) -> Result<()> {
        check("data.paths", "[]", !self.paths.is_empty(), "one folder or more")?;
        if let (Some(fraction), Some(_)) = (self.validation_fraction, &self.validation_groups) {
            let allowed = "cannot be given together with data.validation_groups";
            check("data.validation_fraction", fraction, false, allowed)?;
        }
        if let Some(crop) = self.crop {
            let fine = crop.iter().all(|&n| n > 0 && n <= MOST_PIXELS && n % SIZE_MULTIPLE == 0);
            let allowed = format!("[height, width], multiples of 16 up to {MOST_PIXELS}");
            check("data.crop", format!("{crop:?}"), fine, &allowed)?;
        }
        let share = self.foreground_share.unwrap_or(0.5);
        check("data.foreground_share", share, is_part(share), "0 to 1")?;
        check_counts([("data.workers", self.workers, 256), ("data.prefetch", self.prefetch, 1024)])
    }
}
