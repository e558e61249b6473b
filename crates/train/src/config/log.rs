//! The `[log]` table: what a run writes about itself.

use serde::{Deserialize, Serialize};

use super::check::check;
use crate::Result;

/// The most slices that are drawn at each validation.
const MOST_IMAGES: usize = 256;

/// The `[log]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `metrics.csv`, one line an epoch (default true).
    pub csv: bool,
    /// Event files for TensorBoard (default true).
    pub tensorboard: bool,
    /// Validation slices that are drawn for TensorBoard at each validation (default 4; 0: none).
    pub images: usize,
    /// `progress.png`, the curves, drawn after each validation (default true).
    pub plot: bool,
    /// `report.html`, at the end of the run (default true).
    pub report: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { csv: true, tensorboard: true, images: 4, plot: true, report: true }
    }
}

impl LogConfig {
    /// Checks the values of this table.
    pub(super) fn validate(&self) -> Result<()> {
        check("log.images", self.images, self.images <= MOST_IMAGES, &format!("0 to {MOST_IMAGES}"))
    }
}
