//! Weights of other programs.

use std::path::Path;

use unet3p_convert::{Converted, encoder, keras, pytorch};
use unet3p_models::Encoder;

use super::said;
use crate::{Outcome, scratch};

/// A checkpoint of PyTorch: its tensors, a network of ours, a classifier's encoder.
pub(crate) fn pytorch(bytes: &[u8]) -> Outcome {
    let path = scratch::file("weights.pth", bytes);
    pytorch::read_state_dict(&path).map_err(said)?;
    convert(&path)
}

/// Weights of Keras: HDF5, or a `.keras` archive.
pub(crate) fn keras(bytes: &[u8]) -> Outcome {
    let path = scratch::file("weights.h5", bytes);
    keras::read_weights(&path).map_err(said)?;
    convert(&path)
}

/// What cannot become a network was read all the same.
fn convert(path: &Path) -> Outcome {
    let _ = encoder::read(path, Encoder::Resnet34);
    Converted::read(path, None).map(|_| ()).map_err(said)
}
