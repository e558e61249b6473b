//! What the values of a configuration may be, where more than one table has a say.

use unet3p_data::check_class_names;
use unet3p_losses::DeepSupervision;
use unet3p_models::Encoder;

use super::TrainConfig;
use crate::{Error, Result};

/// Values of a batch's images or labels: 1 GiB as f32.
const MOST_VALUES: usize = 1 << 28;
/// Parameters of a network: 2 GiB as f32, and training holds five times that.
const MOST_PARAMETERS: usize = 1 << 29;

/// An error that names `key` unless its value is fine.
pub(super) fn check(key: &str, value: impl ToString, fine: bool, allowed: &str) -> Result<()> {
    if fine { Ok(()) } else { Err(Error::setting(key, value, allowed)) }
}

/// Whether a value is a part of a whole.
pub(super) fn is_part(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

/// Checks numbers that must be finite and not negative.
pub(super) fn check_not_negative<const N: usize>(values: [(&str, f64); N]) -> Result<()> {
    values.into_iter().try_for_each(|(key, value)| {
        check(key, value, value.is_finite() && value >= 0.0, "a number, 0 or more")
    })
}

/// Checks counts from 1 to a most.
pub(super) fn check_counts<const N: usize>(values: [(&str, usize, usize); N]) -> Result<()> {
    values.into_iter().try_for_each(|(key, value, most)| {
        check(key, value, (1..=most).contains(&value), &format!("1 to {most}"))
    })
}

impl TrainConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] and the errors of the network's, the loss's and the augmentation's own checks.
    pub fn validate(&self) -> Result<()> {
        self.data.validate()?;
        self.train.validate()?;
        self.log.validate()?;
        if let Some(crop) = self.data.crop {
            self.check_batch(crop)?;
        }
        check_not_negative([("loss.presence", self.loss.presence)])?;
        let (given, expected) = (self.loss.heads.len(), self.heads());
        let fine = given == 0 || given == expected;
        let heads = format!("{:?}", self.loss.heads);
        check("loss.heads", &heads, fine, &format!("{expected} weights, one for each head"))?;
        let loss = self.loss.segmentation.build(self.model.activation).map_err(|error| {
            let value = toml::Value::try_from(self.loss.segmentation).map(|loss| loss.to_string());
            Error::setting("loss.segmentation", value.unwrap_or_default(), error.to_string())
        })?;
        let allowed = "weights of 0 or more, and one of them above 0";
        check("loss.heads", heads, DeepSupervision::new(loss, self.head_weights()).is_ok(), allowed)?;
        self.check_names()?;
        self.augmentation.validate()?;
        let model = &self.model;
        if let (Some(weights), Some(_)) = (&model.encoder_weights, &model.init_from) {
            check("model.encoder_weights", weights, false, "cannot be given together with model.init_from")?;
        }
        if let Some(weights) = &model.encoder_weights {
            let fine = model.encoder != Encoder::Plain;
            check("model.encoder_weights", weights, fine, "for an encoder other than \"plain\"")?;
        }
        let network = self.network()?;
        if let Some(crop) = self.data.crop {
            let multiple = network.size_multiple();
            let fine = crop.iter().all(|side| side.is_multiple_of(multiple));
            let allowed = format!("multiples of {multiple} with encoder {}", network.encoder);
            check("data.crop", format!("{crop:?}"), fine, &allowed)?;
        }
        let parameters = network.parameter_count();
        let filters = format!("{:?}", network.filters);
        let allowed = format!("at most {MOST_PARAMETERS} parameters, these give {parameters}");
        check("model.filters", filters, parameters <= MOST_PARAMETERS, &allowed)
    }

    /// Checks that each class has a name of its own, where the configuration names them.
    fn check_names(&self) -> Result<()> {
        let names = &self.model.class_names;
        check_class_names(names)
            .map_err(|problem| Error::setting("model.class_names", format!("{names:?}"), problem))?;
        let fine = [0, self.highest_id()].contains(&names.len());
        let allowed = format!(
            "a name for each class (without the background), where model.num_classes is {}; or {}",
            self.outputs(),
            self.to_count(names.len())
        );
        check("model.class_names", format!("{names:?}"), fine, &allowed)
    }

    /// Checks that a batch of slices of `crop` fits in memory.
    ///
    /// # Errors
    /// [`Error::Setting`] when it does not.
    pub(crate) fn check_batch(&self, crop: [usize; 2]) -> Result<()> {
        let channels = self.model.in_channels.max(self.outputs());
        let values = [self.train.batch_size, self.train.accumulate, channels, crop[0], crop[1]]
            .into_iter()
            .try_fold(1, usize::checked_mul)
            .filter(|&values| values <= MOST_VALUES);
        if values.is_some() {
            return Ok(());
        }
        let allowed = format!(
            "height x width x train.batch_size ({}) x train.accumulate ({}) x channels ({channels}) may be at most {MOST_VALUES}",
            self.train.batch_size, self.train.accumulate
        );
        Err(Error::setting("data.crop", format!("{crop:?}"), allowed))
    }
}
