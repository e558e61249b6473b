//! The `[loss]` table: what is minimised.

use serde::{Deserialize, Serialize};
use unet3p_losses::LossConfig;

/// The `[loss]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// The weight of each head's loss, the full resolution first. Default: 1 each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<f64>,
    /// The weight of the classification-guided module's loss (default 1).
    pub presence: f64,
    /// A loss by name, or a table of its name and parameters. Default: the paper's hybrid.
    pub segmentation: LossConfig,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self { heads: Vec::new(), presence: 1.0, segmentation: LossConfig::default() }
    }
}
