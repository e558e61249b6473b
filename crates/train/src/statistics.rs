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
        model.set_generator(generator(seed, Purpose::Statistics, index));
        model.forward_train(&batch.input(device)?)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use unet3p_models::{UNet3PlusConfig, Variant};

    /// f32 roundings of sums over thousands of values, relative to the largest statistic of a layer.
    const TOLERANCE: f32 = 1e-5;

    fn model(momentum: f64) -> UNet3Plus {
        let builder = UNet3PlusConfig::builder().variant(Variant::DeepSupervisionCgm).base_filters(4);
        let config = builder.batch_norm_momentum(momentum).build().unwrap();
        UNet3Plus::init(&config, 5, DType::F32, &Device::Cpu).unwrap()
    }

    fn batch(seed: u64) -> Batch {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let crop = [32, 16];
        let images = (0..2 * 3 * 32 * 16).map(|_| rng.random_range(-1.0..2.0)).collect();
        let names = vec![String::new(); 2];
        Batch { images, labels: vec![0; 2 * 32 * 16], ignored: None, channels: 3, crop, names }
    }

    fn estimated(model: &UNet3Plus, batches: &[Batch]) -> Vec<Vec<f32>> {
        estimate(model, batches, 1, &Device::Cpu).unwrap();
        model.parameters().buffers().iter().map(|(_, buffer)| buffer.to_vec1().unwrap()).collect()
    }

    #[test]
    fn the_mean_over_batches_whatever_was_there_and_whatever_the_momentum() {
        let (one, two) = (batch(1), batch(2));
        let (slow, fast) = (model(0.01), model(0.5));
        let first = estimated(&slow, std::slice::from_ref(&one));
        let second = estimated(&slow, std::slice::from_ref(&two));
        let both = estimated(&fast, &[one, two]);
        for ((a, b), both) in first.iter().zip(&second).zip(&both) {
            let largest = both.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
            for ((a, b), both) in a.iter().zip(b).zip(both) {
                assert!((0.5 * (a + b) - both).abs() < TOLERANCE * largest, "{a} {b} {both}");
            }
        }
    }
}
