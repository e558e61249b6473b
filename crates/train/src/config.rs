//! What a run is made of, as one TOML file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use unet3p_data::{Augmentation, Parts, SliceDataset, Split, default_color};
use unet3p_models::{Activation, UNet3PlusConfig};

mod check;
mod data;
mod log;
mod model;
mod named;
mod objective;
mod optimization;

pub use data::DataConfig;
pub use log::LogConfig;
pub use model::ModelConfig;
pub use objective::{ObjectiveConfig, TrainingGate};
pub use optimization::OptimizationConfig;

use crate::sampling::Origin;
use crate::{Classes, Error, Result, Schedule};

/// The configuration of a run. Every key but `data.paths` has a default; unknown keys are errors.
///
/// ```
/// use unet3p_train::TrainConfig;
///
/// let text = r#"
///     [data]
///     paths = ["slices"]
///     validation_groups = ["person_2"]
///
///     [model]
///     variant = "deep_supervision_cgm"
///     filters = [16, 32, 64, 128, 256]
/// "#;
/// let config = TrainConfig::from_toml(text, &["train.steps=1000".into()])?;
/// assert_eq!(config.train.steps, Some(1000));
/// assert_eq!(config.train.batch_size, 4);
/// # Ok::<(), unet3p_train::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Where the slices are and how batches are made of them.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The optimization.
    pub train: OptimizationConfig,
    /// What is minimised.
    pub loss: ObjectiveConfig,
    /// Random changes of training slices.
    pub augmentation: Augmentation,
    /// What the run writes about itself.
    pub log: LogConfig,
}

/// Epochs of a run that states neither epochs nor steps.
const DEFAULT_EPOCHS: usize = 100;
/// Keys that say the same in two ways: setting one of them takes the other one's place.
const ALTERNATIVES: [[&str; 2]; 3] = [
    ["train.epochs", "train.steps"],
    ["data.validation_groups", "data.validation_fraction"],
    ["data.mask_values", "data.mask_colors"],
];

impl TrainConfig {
    /// Reads a configuration, with `overrides` of the form `table.key=value` (a TOML value, or else text) on top of
    /// the file, and checks it. An override of `train.steps` replaces `train.epochs`, and so with other keys of which one
    /// alone is allowed.
    ///
    /// # Errors
    /// [`Error::Syntax`] for text that is no TOML, an unknown key or a value of another type; [`Error::Setting`] for
    /// a value that is not allowed.
    pub fn from_toml(text: &str, overrides: &[String]) -> Result<Self> {
        let mut table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| Error::Syntax(e.to_string()))?;
        for [one, other] in ALTERNATIVES {
            match [one, other].map(|key| overrides.iter().any(|entry| is_of(entry, key))) {
                [true, false] => remove_key(&mut table, other),
                [false, true] => remove_key(&mut table, one),
                _ => {}
            }
        }
        for entry in overrides {
            override_key(&mut table, entry)?;
        }
        // Without overrides the text is parsed directly: its errors show the line.
        let config: Self = if overrides.is_empty() { toml::from_str(text) } else { table.try_into() }
            .map_err(|e: toml::de::Error| Error::Syntax(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML. Optional keys without a value are left out.
    ///
    /// # Errors
    /// [`Error::Syntax`] for values that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Syntax(e.to_string()))
    }

    /// Fills in what the data decides and the defaults that depend on other keys, and checks what follows: read again,
    /// the configuration gives the same run, also where the data's own index is changed. Tells the classes.
    ///
    /// # Errors
    /// [`Error::Setting`] for values that do not fit the data, and the errors of [`TrainConfig::classes`] and
    /// [`TrainConfig::validate`].
    pub fn settle(&mut self, dataset: &SliceDataset, parts: &Parts) -> Result<Classes> {
        let classes = self.classes_of(dataset)?;
        self.data.paths.iter_mut().for_each(make_absolute);
        self.model.num_classes = Some(self.outputs_for(classes.count));
        self.model.class_names.clone_from(&classes.names);
        self.model.filters = Some(self.model.filters());
        let multiple = self.network()?.size_multiple();
        let crop = self.data.crop.unwrap_or_else(|| smallest_crop(dataset, &parts.train, multiple));
        self.data.crop = Some(crop);
        self.check_batch(crop)?;
        let validated: BTreeSet<&str> =
            parts.validation.iter().map(|&i| dataset.slices()[i].group.as_str()).collect();
        self.data.validation_groups = Some(validated.into_iter().map(String::from).collect());
        self.data.validation_fraction = None;
        if self.train.steps.is_none() {
            self.train.epochs.get_or_insert(DEFAULT_EPOCHS);
        }
        self.loss.heads = self.head_weights();
        self.validate()?;
        self.train.monitor.check(&self.class_names())?;
        Ok(classes)
    }

    /// The network's configuration.
    pub(crate) fn network(&self) -> Result<UNet3PlusConfig> {
        let model = &self.model;
        let mut builder = UNet3PlusConfig::builder()
            .variant(model.variant)
            .encoder(model.encoder)
            .filters(model.filters())
            .in_channels(model.in_channels)
            .num_classes(self.outputs())
            .activation(model.activation)
            .cgm_gate(model.cgm_gate);
        for (id, name) in (1..=u8::MAX).zip(&model.class_names) {
            builder = builder.label(usize::from(id), name, default_color(id));
        }
        Ok(builder.build()?)
    }

    /// Output channels. Until the data has told them, they are those of the names, or as few as there can be.
    pub(crate) fn outputs(&self) -> usize {
        self.model.num_classes.unwrap_or_else(|| self.outputs_for(self.model.class_names.len().max(1)))
    }

    /// Output channels for `count` classes beside the background.
    pub(crate) fn outputs_for(&self, count: usize) -> usize {
        match self.model.activation {
            Activation::Sigmoid => count,
            Activation::Softmax => count + 1,
        }
    }

    /// The highest class id.
    pub(crate) fn highest_id(&self) -> usize {
        match self.model.activation {
            Activation::Sigmoid => self.outputs(),
            Activation::Softmax => self.outputs().saturating_sub(1),
        }
    }

    /// Names of the classes 1, 2, ...; their ids where they have none.
    pub(crate) fn class_names(&self) -> Vec<String> {
        match self.model.class_names.as_slice() {
            [] => (1..=self.highest_id()).map(|id| id.to_string()).collect(),
            names => names.to_vec(),
        }
    }

    /// Heads that give a loss.
    fn heads(&self) -> usize {
        self.model.variant.heads(self.model.filters().len())
    }

    /// The weight of each head's loss.
    pub(crate) fn head_weights(&self) -> Vec<f64> {
        if self.loss.heads.is_empty() { vec![1.0; self.heads()] } else { self.loss.heads.clone() }
    }

    /// Steps of the run, whose passes over the slices count from `origin`.
    pub(crate) fn total_steps(&self, origin: Origin, steps_per_epoch: usize) -> usize {
        let left = self.train.epochs.unwrap_or(DEFAULT_EPOCHS).saturating_sub(origin.pass);
        let by_epochs = || origin.step.saturating_add(left.saturating_mul(steps_per_epoch));
        self.train.steps.unwrap_or_else(by_epochs)
    }

    pub(crate) fn schedule(&self, steps: usize, steps_per_epoch: usize) -> Schedule {
        let train = &self.train;
        Schedule {
            peak: train.learning_rate,
            decay: train.schedule,
            warm_up: train.warm_up.min(steps),
            steps,
            steps_per_epoch,
        }
    }

    /// Slices of an optimizer step.
    pub(crate) fn slices_per_step(&self) -> usize {
        self.train.batch_size * self.train.accumulate
    }

    /// Which volumes validate.
    pub fn split(&self) -> Split {
        match (&self.data.validation_groups, self.data.validation_fraction) {
            (Some(groups), _) => Split::Groups(groups.clone()),
            (None, Some(fraction)) => Split::Fraction { fraction, seed: self.train.seed },
            (None, None) => Split::AsPrepared,
        }
    }
}

/// The smallest size of such multiples that holds every slice.
fn smallest_crop(dataset: &SliceDataset, slices: &[usize], multiple: usize) -> [usize; 2] {
    if let Some(size) = dataset.preprocessor().size {
        return [size.height, size.width].map(|n| n.next_multiple_of(multiple));
    }
    let slices = || slices.iter().map(|&i| &dataset.slices()[i]);
    let [height, width] = [slices().map(|s| s.height).max(), slices().map(|s| s.width).max()];
    [height, width].map(|n| n.unwrap_or(multiple).next_multiple_of(multiple))
}

/// Lets a path mean the same from any folder. What TOML cannot hold stays as it is.
pub(crate) fn make_absolute(path: &mut PathBuf) {
    if let Some(absolute) = std::path::absolute(&*path).ok().filter(|path| path.to_str().is_some()) {
        *path = absolute;
    }
}

/// Whether `a.b=value` sets this key, or one in its table.
fn is_of(entry: &str, key: &str) -> bool {
    let rest = entry.split('=').next().and_then(|name| name.trim().strip_prefix(key));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Removes `a.b` from a table.
fn remove_key(table: &mut toml::Table, key: &str) {
    if let Some((outer, inner)) = key.split_once('.')
        && let Some(toml::Value::Table(table)) = table.get_mut(outer)
    {
        table.remove(inner);
    }
}

/// Sets `a.b.c=value` in a table.
fn override_key(table: &mut toml::Table, entry: &str) -> Result<()> {
    let Some((key, value)) = entry.split_once('=') else {
        return Err(Error::Syntax(format!("{entry}: expected table.key=value")));
    };
    let text = value.trim();
    let parsed = format!("v = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(text.to_string()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = table;
    for part in parts {
        let next = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(next) = next else {
            return Err(Error::Syntax(format!("{entry}: {part} is not a table")));
        };
        at = next;
    }
    at.insert(last.to_string(), value);
    Ok(())
}

#[cfg(test)]
mod tests;
