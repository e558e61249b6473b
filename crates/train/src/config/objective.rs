//! The `[loss]` table: what is minimised.

use serde::{Deserialize, Serialize};
use unet3p_losses::LossConfig;

/// What gates the segmentation in training, as the classification-guided module's decision does at prediction. A
/// gated image gives the segmentation's loss no gradient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingGate {
    /// The module's decision, as in the paper (section 2.3).
    #[default]
    Predicted,
    /// The label: whether the mask has any pixel.
    Target,
    /// Nothing: the segmentation learns from every image.
    None,
}

/// The `[loss]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// The weight of each head's loss, the full resolution first. Default: 1 each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<f64>,
    /// The weight of the classification-guided module's loss (default 1).
    pub presence: f64,
    /// What gates the segmentation in training: "predicted" (default), "target" or "none".
    pub gate: TrainingGate,
    /// A loss by name, or a table of its name and parameters. Default: the paper's hybrid.
    pub segmentation: LossConfig,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            heads: Vec::new(),
            presence: 1.0,
            gate: TrainingGate::default(),
            segmentation: LossConfig::default(),
        }
    }
}
