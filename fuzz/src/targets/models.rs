//! Model folders.

use candle_core::Device;
use unet3p::{ModelSource, Segmenter};
use unet3p_models::{UNet3Plus, UNet3PlusConfig, check_safetensors, parts, tensor_shapes};

use super::{said, utf8};
use crate::{Outcome, scratch, seeds};

/// `model.safetensors`, alone and in a folder.
pub(crate) fn weights(bytes: &[u8]) -> Outcome {
    let folder = scratch::folder("weights", seeds::models::save);
    let path = folder.join("model.safetensors");
    scratch::write(&path, bytes);
    check_safetensors(&path).map_err(said)?;
    let alone = UNet3Plus::load_file(&path, &Device::Cpu).map(|_| ()).map_err(said);
    let whole = Segmenter::load(&ModelSource::Folder(folder), &Device::Cpu).map(|_| ()).map_err(said);
    alone.or(whole)
}

/// `config.json`, alone and in a folder.
pub(crate) fn config(bytes: &[u8]) -> Outcome {
    let folder = scratch::folder("config", seeds::models::save);
    scratch::write(&folder.join("config.json"), bytes);
    // Most are not those of the weights, and may be sound all the same.
    let _ = Segmenter::load(&ModelSource::Folder(folder), &Device::Cpu);
    let config = UNet3PlusConfig::from_json(utf8(bytes)?).map_err(said)?;
    tensor_shapes(&config);
    parts(&config, [320, 320]);
    config.parameter_count();
    let again = UNet3PlusConfig::from_json(&config.to_json().map_err(said)?);
    assert!(again.is_ok_and(|again| again == config), "a configuration that is not read back");
    Ok(())
}
