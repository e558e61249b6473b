//! The `[data]` table: where slices are and how batches are made of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use unet3p_data::{MaskColors, MaskName, MaskValues};
use unet3p_models::SIZE_MULTIPLE;

use super::check::{check, check_counts, is_part};
use crate::Result;

/// The longest side of a training sample.
const MOST_PIXELS: usize = 8192;

/// The `[data]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Folders with `images/` and `masks/`, CSV lists, nnU-Net datasets: see [`Source`](unet3p_data::Source).
    pub paths: Vec<PathBuf>,
    /// The name of an image's mask in a folder, such as "{name}_mask". Default: the image's own, or `mask_` where it
    /// says `image_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_name: Option<MaskName>,
    /// The class ids of values in masks. Default: values are ids, and with one class 255 is 1 where no mask holds
    /// anything but 0 and 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_values: Option<MaskValues>,
    /// The class ids of colours in masks. Default: masks of colours are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_colors: Option<MaskColors>,
    /// The value of mask pixels that count neither in the loss nor in a validation. Default: that of an nnU-Net
    /// dataset, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_label: Option<u16>,
    /// Height and width that images are resized to before they are cropped, in training as in prediction. Default:
    /// those of `preprocessor_config.json`, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<[usize; 2]>,
    /// Mean of each channel, or one for all, that is subtracted from values from 0 to 1, in training as in prediction.
    /// Default: those of `preprocessor_config.json`, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_mean: Option<Vec<f64>>,
    /// The standard deviation by which the rest is divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_std: Option<Vec<f64>>,
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
    /// Whether each epoch has an order of its own (default true); else slices come as they are listed.
    pub shuffle: bool,
    /// Threads that decode and augment ahead of the training step; with 0 batches are made between steps, by all
    /// threads. Default: 0 on a CPU, 2 elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// Batches that each of them keeps ready (default 2).
    pub prefetch: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            mask_name: None,
            mask_values: None,
            mask_colors: None,
            ignore_label: None,
            resize: None,
            image_mean: None,
            image_std: None,
            validation_groups: None,
            validation_fraction: None,
            crop: None,
            foreground_share: None,
            shuffle: true,
            workers: None,
            prefetch: 2,
        }
    }
}

impl DataConfig {
    /// Checks the values of this table.
    pub(super) fn validate(&self) -> Result<()> {
        check("data.paths", "[]", !self.paths.is_empty(), "one path or more")?;
        let values = self.mask_values.as_ref().is_none_or(|values| !values.is_empty());
        check("data.mask_values", "{}", values, "one value or more")?;
        let colors = self.mask_colors.as_ref().is_none_or(|colors| !colors.is_empty());
        check("data.mask_colors", "{}", colors, "one colour or more")?;
        if let Some(resize) = self.resize {
            // Less is not even one pixel at the network's lowest resolution.
            let fine = resize.iter().all(|n| (SIZE_MULTIPLE..=MOST_PIXELS).contains(n));
            let allowed = format!("[height, width], {SIZE_MULTIPLE} to {MOST_PIXELS}");
            check("data.resize", format!("{resize:?}"), fine, &allowed)?;
        }
        let both = self.image_mean.is_some() == self.image_std.is_some();
        check(
            "data.image_mean",
            format!("{:?}", self.image_mean),
            both,
            "given together with data.image_std",
        )?;
        let numbers = |values: &Option<Vec<f64>>, fit: fn(f64) -> bool| {
            values.iter().flatten().all(|&value| fit(value))
        };
        let finite = numbers(&self.image_mean, f64::is_finite);
        check("data.image_mean", format!("{:?}", self.image_mean), finite, "finite numbers")?;
        let positive = numbers(&self.image_std, |std| std > 0.0 && std.is_finite());
        check("data.image_std", format!("{:?}", self.image_std), positive, "positive numbers")?;
        let fraction = self.validation_fraction.unwrap_or(0.5);
        let fits = fraction > 0.0 && fraction < 1.0;
        check("data.validation_fraction", fraction, fits, "between 0 and 1, both excluded")?;
        if let (Some(fraction), Some(_)) = (self.validation_fraction, &self.validation_groups) {
            let allowed = "cannot be given together with data.validation_groups: leave one of them out";
            check("data.validation_fraction", fraction, false, allowed)?;
        }
        if let Some(crop) = self.crop {
            let fine = crop.iter().all(|&n| n > 0 && n <= MOST_PIXELS);
            let allowed = format!("[height, width], each from 1 up to {MOST_PIXELS}");
            check("data.crop", format!("{crop:?}"), fine, &allowed)?;
        }
        let share = self.foreground_share.unwrap_or(0.5);
        check("data.foreground_share", share, is_part(share), "0 to 1")?;
        let workers = self.workers.unwrap_or(0);
        check("data.workers", workers, workers <= 256, "0 to 256")?;
        check_counts([("data.prefetch", self.prefetch, 1024)])
    }
}
