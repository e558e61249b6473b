//! Inference on the CPU by compiled layers.
//!
//! [`UNet3Plus::compile`](crate::UNet3Plus::compile) folds batch normalisation into the weights, chooses an algorithm for
//! each layer and packs its weights once. A forward pass then writes each branch into its slot of the concatenation,
//! works at full resolution in horizontal strips, so that the widest maps never exist whole, and computes only the
//! heads that are asked for.

mod buffers;
mod compile;
mod layer;
mod memory;
mod pass;
mod report;
mod residual;
mod strip;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};
use unet3p_kernels::Isa;

pub use layer::Algorithm;
pub use report::LayerReport;

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::gate::{Ungated, all_outputs, mean_over_flips};
use crate::network::{AllOutputs, Output, TrainOutput, UNet3Plus};
use buffers::Buffers;
use compile::Layers;
use pass::{Pass, Prediction};

/// How a network is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileOptions {
    /// The image size that algorithms are chosen for; the engine takes any. Default: 320x320.
    pub size: [usize; 2],
    /// The instruction set. Default: [`Isa::current`].
    pub isa: Isa,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self { size: [320, 320], isa: Isa::current() }
    }
}

/// A compiled network: head 1, or all heads, in evaluation mode on the CPU.
///
/// It gives what [`UNet3Plus`](crate::UNet3Plus) gives, to a relative error of 1e-5, several times faster. An image is
/// computed by all threads of the rayon pool that it is asked for in, the global one from outside of any. Memory for an
/// input size is made when the first image of that size comes and kept for the next; callers at the same time have
/// memory each.
pub struct Engine {
    config: UNet3PlusConfig,
    isa: Isa,
    layers: Layers,
    /// Maps of one size that no pass is using. No lock is held during a pass: a thread that waits for a part of its image
    /// may take up another image meanwhile, and would then wait for itself.
    idle: Mutex<Vec<Buffers>>,
    /// Of the last pass.
    times: Mutex<Vec<LayerReport>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).field("isa", &self.isa).finish()
    }
}

impl UNet3Plus {
    /// The network compiled for inference on the CPU, with the weights and running statistics that it has now.
    ///
    /// The weights are packed layer by layer and the originals freed as that goes on, where no clone of the network
    /// holds them.
    ///
    /// # Errors
    /// None that occurs in practice: the tensors are there.
    pub fn compile(self, options: CompileOptions) -> Result<Engine> {
        let config = self.config().clone();
        let tensors = self.parameters().all();
        let tensors = tensors.into_iter().map(|(name, var)| (name, var.into_inner())).collect();
        drop(self);
        Engine::new(&config, tensors, options)
    }
}

impl Engine {
    /// Packs a network's tensors, by name; each is dropped when packed.
    pub(crate) fn new(
        config: &UNet3PlusConfig,
        tensors: HashMap<String, Tensor>,
        options: CompileOptions,
    ) -> Result<Self> {
        let layers = compile::compile(config, tensors, options.isa, options.size)?;
        Ok(Self {
            config: config.clone(),
            isa: options.isa,
            layers,
            idle: Mutex::default(),
            times: Mutex::default(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &UNet3PlusConfig {
        &self.config
    }

    /// The instruction set that the layers are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The layers in the order of computation, with their times in the last forward pass; none before the first.
    pub fn layers(&self) -> Vec<LayerReport> {
        lock(&self.times).clone()
    }

    /// As [`UNet3Plus::forward`].
    ///
    /// # Errors
    /// Where `x` has other channels than the network takes, or is empty.
    pub fn forward(&self, x: &Tensor) -> Result<Output> {
        self.forward_flips(x, &[&[]])
    }

    /// As [`UNet3Plus::forward_flips`].
    ///
    /// # Errors
    /// As [`UNet3Plus::forward_flips`].
    pub fn forward_flips(&self, x: &Tensor, flips: &[&[usize]]) -> Result<Output> {
        self.forward_ungated(x, flips)?.finish(&self.config)
    }

    /// As [`UNet3Plus::forward_ungated`].
    ///
    /// # Errors
    /// As [`UNet3Plus::forward_ungated`].
    pub fn forward_ungated(&self, x: &Tensor, flips: &[&[usize]]) -> Result<Ungated> {
        mean_over_flips(&self.config, x, flips, |x| self.logits(x, 1))
    }

    /// As [`UNet3Plus::forward_all`].
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn forward_all(&self, x: &Tensor) -> Result<AllOutputs> {
        let (logits, presence) = self.logits(x, self.layers.heads.len())?;
        all_outputs(&self.config, &logits, presence)
    }

    /// As [`UNet3Plus::forward_logits`].
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn forward_logits(&self, x: &Tensor) -> Result<TrainOutput> {
        let (logits, presence) = self.logits(x, self.layers.heads.len())?;
        Ok(TrainOutput { logits, presence })
    }

    /// Logits `[batch, classes, height, width]` of the first `heads` heads at the size of `x`, and those of the
    /// classification-guided module, `[batch, 2]`.
    fn logits(&self, x: &Tensor, heads: usize) -> Result<(Vec<Tensor>, Option<Tensor>)> {
        let (batch, channels, height, width) = x.dims4()?;
        if channels != self.config.in_channels {
            let takes = self.config.in_channels;
            return Err(Error::Input(format!("an input of {channels} channels; the network takes {takes}")));
        }
        if height == 0 || width == 0 || batch == 0 {
            return Err(Error::Input(format!("{batch} images of {height}x{width} pixels")));
        }
        let images = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let mut logits = vec![Vec::new(); heads];
        let mut presences = Vec::new();
        for image in images.chunks_exact(channels * height * width) {
            let found = self.run(image, [height, width], heads);
            logits.iter_mut().zip(found.logits).for_each(|(all, one)| all.extend(one));
            presences.extend(found.presence.into_iter().flatten());
        }
        let shape = (batch, self.config.num_classes, height, width);
        let logits = logits.into_iter().map(|values| Tensor::from_vec(values, shape, &Device::Cpu));
        let logits = logits.collect::<candle_core::Result<_>>()?;
        let presence = self.layers.guide.is_some();
        let presence = presence.then(|| Tensor::from_vec(presences, (batch, 2), &Device::Cpu)).transpose()?;
        Ok((logits, presence))
    }

    /// One image `[channels, height, width]`.
    fn run(&self, image: &[f32], size: [usize; 2], heads: usize) -> Prediction {
        let padded = size.map(|side| side.next_multiple_of(self.config.size_multiple()));
        let mut buffers = self.take_buffers(padded);
        let mut pass = Pass::new(self, size, padded);
        // On a thread of the pool: from outside, each layer would first wake the pool up and then be woken by it.
        let prediction = rayon::scope(|_| pass.run(&mut buffers, image, heads));
        *lock(&self.times) = pass.into_layers();
        lock(&self.idle).push(buffers);
        prediction
    }

    /// Maps for a padded image. Those of another size go before new ones come.
    fn take_buffers(&self, padded: [usize; 2]) -> Buffers {
        let found = {
            let mut idle = lock(&self.idle);
            idle.retain(|buffers| buffers.size == padded);
            idle.pop()
        };
        found.unwrap_or_else(|| Buffers::new(&self.config, &self.layers.encoder, padded))
    }
}

/// What a mutex holds: a panic elsewhere leaves nothing half done in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
