//! The model card of a trained model: what the run knows, and what only its owner knows.

use std::collections::BTreeSet;

use unet3p_data::{Parts, SliceDataset};
use unet3p_models::{CardResult, ModelCard};

use crate::{EpochReport, OptimizerConfig, Plan, TrainConfig};

/// Volumes that a card lists by name; of more it gives the number.
const MOST_NAMES: usize = 20;

/// What a card is written from.
pub(crate) struct Card<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) dataset: &'a SliceDataset,
    pub(crate) parts: &'a Parts,
    pub(crate) plan: &'a Plan,
    pub(crate) class_names: &'a [String],
    pub(crate) report: &'a EpochReport,
}

impl Card<'_> {
    /// A Hub model card, without a licence: that is for the owner of data and weights to say.
    pub(crate) fn card(&self) -> ModelCard {
        let (train, plan) = (&self.config.train, self.plan);
        let weights = if train.ema_decay > 0.0 {
            format!("their moving average (decay {})", train.ema_decay)
        } else {
            "the weights of the last step".into()
        };
        let loss = serde_json::to_string(&self.config.loss.segmentation).unwrap_or_default();
        let optimizer = match train.optimizer {
            OptimizerConfig::Adamw(_) => "AdamW",
            OptimizerConfig::Adam(_) => "Adam",
            OptimizerConfig::Sgd(_) => "SGD",
        };
        let [height, width] = plan.crop;
        let body = format!(
            "## Data\n\
             \n\
             The split is by volume.\n\
             \n\
             | | slices | volumes |\n\
             |---|---|---|\n\
             | training | {training_slices} | {training} |\n\
             | validation | {validation_slices} | {validation} |\n\
             \n\
             To be filled in: data set, its licence, preprocessing.\n\
             \n\
             ## Training\n\
             \n\
             Epoch {epoch}, step {step} of {steps}: batches of {batch} slices of {height}x{width} pixels, {optimizer} with a\n\
             highest learning rate of {rate}, seed {seed}, the loss `{loss}`. Saved are {weights}.\n\
             \n\
             ## Results\n\
             \n\
             {results}\n\
             \n\
             ## Licence\n\
             \n\
             To be filled in by the owner of the data and the weights.\n",
            training_slices = plan.training_slices,
            training = self.volumes(&self.parts.train),
            validation_slices = plan.validation_slices,
            validation = self.volumes(&self.parts.validation),
            epoch = self.report.epoch,
            step = self.report.step,
            steps = plan.steps,
            batch = train.batch_size,
            rate = train.learning_rate,
            seed = train.seed,
            results = self.results(),
        );
        let dice = self.report.validation.as_ref().and_then(|validation| validation.mean_dice());
        let result = |value| CardResult {
            dataset: "validation volumes of the training run".into(),
            metric: "Dice".into(),
            value,
        };
        ModelCard {
            results: dice.map(result).into_iter().collect(),
            summary: format!("Trained with unet3p {}. Not for clinical use.", env!("CARGO_PKG_VERSION")),
            body,
            ..ModelCard::default()
        }
    }

    /// The names of the slices' volumes, or how many there are.
    fn volumes(&self, slices: &[usize]) -> String {
        let slices = slices.iter().map(|&i| &self.dataset.slices()[i]);
        let names: BTreeSet<&str> = slices.map(|slice| slice.group.as_str()).collect();
        if names.len() > MOST_NAMES {
            return format!("{} volumes", names.len());
        }
        let names: Vec<String> = names.into_iter().map(code).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }

    fn results(&self) -> String {
        let Some(validation) = &self.report.validation else {
            return "Not validated.".into();
        };
        let show = |dice: Option<f64>| dice.map_or("undefined".into(), |dice| format!("{dice:.4}"));
        let mut text = format!(
            "Validation Dice over whole volumes: {} in the mean over volumes and classes.\n\
             The best model of a run is chosen by this number: on other data it may be lower.\n\
             \n\
             | class | Dice |\n\
             |---|---|",
            show(validation.mean_dice())
        );
        for (class, name) in (1..=u8::MAX).zip(self.class_names) {
            text.push_str(&format!("\n| {} | {} |", code(name), show(validation.class_dice(class))));
        }
        text
    }
}

/// A name as Markdown code inside a table.
fn code(name: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '`' | '|') { '_' } else { c };
    format!("`{}`", name.chars().map(plain).collect::<String>())
}
