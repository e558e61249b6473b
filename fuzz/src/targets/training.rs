//! Checkpoints of a training run.

use candle_core::Device;
use unet3p_train::Trainer;

use super::said;
use crate::{Outcome, scratch, seeds};

/// `checkpoint.safetensors` of a run that goes on.
pub(crate) fn checkpoint(bytes: &[u8]) -> Outcome {
    let folder = scratch::folder("run", seeds::training::run_folder);
    scratch::write(&folder.join("checkpoint.safetensors"), bytes);
    Trainer::resume(folder, &[], Device::Cpu).map(|_| ()).map_err(said)
}
