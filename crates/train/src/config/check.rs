//! What the values of a configuration may be.

use unet3p_losses::DeepSupervision;
use unet3p_models::SIZE_MULTIPLE;

use super::TrainConfig;
use crate::{Error, Result};

/// The longest side of a training sample.
const MOST_PIXELS: usize = 8192;
/// Values of a batch's images or labels: 1 GiB as f32.
const MOST_VALUES: usize = 1 << 28;
/// Parameters of a network: 2 GiB as f32, and training holds five times that.
const MOST_PARAMETERS: usize = 1 << 29;

impl TrainConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] and the errors of the network's, the loss's and the augmentation's own checks.
    pub fn validate(&self) -> Result<()> {
        let check = |key: &str, value: String, fine: bool, allowed: &str| {
            if fine { Ok(()) } else { Err(Error::setting(key, value, allowed)) }
        };
        let (data, train) = (&self.data, &self.train);
        check("data.paths", "[]".into(), !data.paths.is_empty(), "one folder or more")?;
        if let (Some(fraction), Some(_)) = (data.validation_fraction, &data.validation_groups) {
            let allowed = "cannot be given together with data.validation_groups";
            return Err(Error::setting("data.validation_fraction", fraction, allowed));
        }
        if let Some(crop) = data.crop {
            let fine = crop.iter().all(|&n| n > 0 && n <= MOST_PIXELS && n % SIZE_MULTIPLE == 0);
            let allowed = format!("[height, width], multiples of 16 up to {MOST_PIXELS}");
            check("data.crop", format!("{crop:?}"), fine, &allowed)?;
            self.check_batch(crop)?;
        }
        let part = |v: f64| (0.0..=1.0).contains(&v);
        let share = data.foreground_share.unwrap_or(0.5);
        check("data.foreground_share", share.to_string(), part(share), "0 to 1")?;
        for (key, value, most) in [
            ("data.workers", data.workers, 256),
            ("data.prefetch", data.prefetch, 1024),
            ("train.batch_size", train.batch_size, 1024),
            ("train.statistics_batches", train.statistics_batches, 4096),
        ] {
            check(key, value.to_string(), (1..=most).contains(&value), &format!("1 to {most}"))?;
        }
        for (key, value) in [
            ("train.validate_every", train.validate_every),
            ("train.epochs", train.epochs.unwrap_or(1)),
            ("train.steps", train.steps.unwrap_or(1)),
        ] {
            check(key, value.to_string(), value > 0, "1 or more")?;
        }
        if train.epochs.is_some() && train.steps.is_some() {
            let allowed = "cannot be given together with train.epochs";
            return Err(Error::setting("train.steps", train.steps.unwrap_or(0), allowed));
        }
        let rate = train.learning_rate;
        check("train.learning_rate", rate.to_string(), rate.is_finite() && rate > 0.0, "a number above 0")?;
        for (key, value) in [
            ("train.weight_decay", train.weight_decay),
            ("train.clip_norm", train.clip_norm),
            ("loss.presence", self.loss.presence),
        ] {
            check(key, value.to_string(), value.is_finite() && value >= 0.0, "a number, 0 or more")?;
        }
        let value = train.final_part;
        check("train.final_part", value.to_string(), part(value), "0 to 1")?;
        let value = train.ema_decay;
        check("train.ema_decay", value.to_string(), part(value) && value < 1.0, "0 to below 1")?;
        let heads = self.loss.heads.len();
        let expected = self.heads();
        let fine = heads == 0 || heads == expected;
        check("loss.heads", format!("{:?}", self.loss.heads), fine, &format!("{expected} weights"))?;
        let loss = &self.loss.segmentation;
        let built =
            loss.build(self.activation()).and_then(|loss| DeepSupervision::new(loss, self.head_weights()));
        built.map_err(|error| Error::setting("loss", format!("{:?}", self.loss), error.to_string()))?;
        let names = self.model.class_names.len();
        let allowed = "a name for each class (without the background)";
        check("model.class_names", names.to_string(), [0, self.classes()].contains(&names), allowed)?;
        self.augmentation.validate()?;
        let parameters = self.network(&[])?.parameter_count();
        let filters = format!("{:?}", self.model.filters);
        let allowed = format!("at most {MOST_PARAMETERS} parameters, these give {parameters}");
        check("model.filters", filters, parameters <= MOST_PARAMETERS, &allowed)
    }

    /// Checks that a batch of slices of `crop` fits in memory.
    ///
    /// # Errors
    /// [`Error::Setting`] when it does not.
    pub(crate) fn check_batch(&self, crop: [usize; 2]) -> Result<()> {
        let channels = self.model.in_channels.max(self.model.num_classes);
        let values = [self.train.batch_size, channels, crop[0], crop[1]]
            .into_iter()
            .try_fold(1, usize::checked_mul)
            .filter(|&values| values <= MOST_VALUES);
        if values.is_some() {
            return Ok(());
        }
        let allowed = format!(
            "height x width x train.batch_size ({}) x channels ({channels}) may be at most {MOST_VALUES}",
            self.train.batch_size
        );
        Err(Error::setting("data.crop", format!("{crop:?}"), allowed))
    }
}
