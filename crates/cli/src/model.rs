//! The model that a command line names.

use candle_core::Device;
use unet3p::{ModelSource, Segmenter};

use crate::failure::{Failure, describe};

/// What `name` stands for.
///
/// # Errors
/// A failed run when it is neither a bundled model nor a folder: the model cannot be read.
pub(crate) fn resolve(name: &str) -> Result<ModelSource, Failure> {
    ModelSource::resolve(name).map_err(|e| Failure::run(describe(&e)))
}

/// Reads the model `name` on `device`.
///
/// # Errors
/// A failed run when it cannot be read.
pub(crate) fn load(name: &str, device: &Device) -> Result<Segmenter, Failure> {
    let source = resolve(name)?;
    log::info!("model: {}", source.name());
    Segmenter::load(&source, device).map_err(|e| Failure::run(describe(&e)))
}
