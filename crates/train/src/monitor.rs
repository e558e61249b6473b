//! What tells whether a model is better than another.

use serde::{Deserialize, Serialize};

use crate::{EpochReport, Error, Result};

/// The metric that decides on the best model, on a plateau and on stopping early.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Monitor {
    /// `dice`: the mean Dice over volumes and classes of a validation.
    #[default]
    Dice,
    /// `dice_NAME`: the mean Dice over volumes of the class of this name.
    ClassDice(String),
    /// `validation_loss`: the training loss on the slices of a validation.
    ValidationLoss,
    /// `loss`: the mean loss of the epoch's training steps.
    Loss,
}

impl From<String> for Monitor {
    fn from(name: String) -> Self {
        match name.as_str() {
            "dice" => Self::Dice,
            "validation_loss" => Self::ValidationLoss,
            "loss" => Self::Loss,
            // Another name is a class's, or none: see `Monitor::check`.
            other => Self::ClassDice(other.strip_prefix("dice_").unwrap_or(other).to_string()),
        }
    }
}

impl From<Monitor> for String {
    fn from(monitor: Monitor) -> Self {
        match monitor {
            Monitor::Dice => "dice".into(),
            Monitor::ClassDice(name) => format!("dice_{name}"),
            Monitor::ValidationLoss => "validation_loss".into(),
            Monitor::Loss => "loss".into(),
        }
    }
}

impl Monitor {
    /// Checks that the metric exists in a run with these class names.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the metrics there are.
    pub(crate) fn check(&self, class_names: &[String]) -> Result<()> {
        match self {
            Self::ClassDice(name) if !class_names.contains(name) => {
                let classes = class_names.iter().map(|name| format!("dice_{name}"));
                let names: Vec<String> = ["dice", "validation_loss", "loss"]
                    .into_iter()
                    .map(String::from)
                    .chain(classes)
                    .collect();
                Err(Error::setting("train.monitor", name, format!("one of {}", names.join(", "))))
            }
            _ => Ok(()),
        }
    }

    /// The metric after an epoch; nothing where it was not measured or is not defined.
    pub(crate) fn value(&self, report: &EpochReport, class_names: &[String]) -> Option<f64> {
        let validation = report.validation.as_ref();
        match self {
            Self::Dice => validation?.mean_dice(),
            Self::ClassDice(name) => {
                let index = class_names.iter().position(|other| other == name)?;
                validation?.class_dice(u8::try_from(index + 1).ok()?)
            }
            Self::ValidationLoss => Some(validation?.loss).filter(|loss| loss.is_finite()),
            Self::Loss => Some(report.loss),
        }
    }

    /// Whether `value` is better than `best`.
    pub(crate) fn improves(&self, value: f64, best: f64) -> bool {
        match self {
            Self::Dice | Self::ClassDice(_) => value > best,
            Self::ValidationLoss | Self::Loss => value < best,
        }
    }
}
