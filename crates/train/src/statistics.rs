//! Batch statistics for weights that were never trained with: those of an average.

use candle_core::{Device, Result as CandleResult, Tensor, Var};
use unet3p_models::UNet3Plus;

use crate::Result;
use crate::loader::Batch;
use crate::sampling::{Purpose, generator};

/// Sets the running statistics of every batch normalisation to the mean of the batch statistics over `batches`
/// (each layer sees what the layers before it make of the batch, normalised by its own statistics).
///
/// Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv:1803.05407), section
/// 3.2: the average's activations are not those of any of the averaged networks.
pub(crate) fn estimate(model: &UNet3Plus, batches: &[Batch], seed: u64, device: &Device) -> Result<()> {
    let momentum = model.config().batch_norm_momentum;
    let buffers: Vec<Var> = model.parameters().buffers().into_iter().map(|(_, variable)| variable).collect();
    let mut sums: Vec<Tensor> =
        buffers.iter().map(|buffer| buffer.as_detached_tensor().zeros_like()).collect::<CandleResult<_>>()?;
    for (index, batch) in batches.iter().enumerate() {
        // From 0 a training pass leaves momentum times the batch's own statistics, whatever the momentum.
        for buffer in &buffers {
            buffer.zero_set()?;
        }
        model.forward_train(&batch.input(device)?, &mut generator(seed, Purpose::Statistics, index))?;
        for (sum, buffer) in sums.iter_mut().zip(&buffers) {
            *sum = (&*sum + buffer.as_detached_tensor())?.detach();
        }
    }
    let factor = 1.0 / (momentum * batches.len() as f64);
    for (sum, buffer) in sums.iter().zip(&buffers) {
        buffer.set(&(sum * factor)?)?;
    }
    Ok(())
}
