//! Inference on the CPU by compiled layers.
//!
//! [`UNet3Plus::compile`](crate::UNet3Plus::compile) lowers the network's graph in passes:
//!
//! 1. `fuse_upsampling` and `remove_dropout` (of `unet3p_core::graph`) rewrite the graph;
//! 2. `schedule` orders it into steps: convolutions that follow one another run in horizontal strips, so that the widest
//!    maps never exist whole, and branches write their parts of a concatenation;
//! 3. `compile` folds batch normalisation into the weights, chooses an algorithm for each layer and packs its weights;
//! 4. `plan` gives the maps their memory, once for each image size.
//!
//! `run` computes the steps for an image, and only the heads that are asked for.

mod compile;
mod layer;
mod memory;
mod plan;
mod report;
mod run;
mod schedule;
mod strip;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};
use unet3p_kernels::Isa;

pub use layer::Algorithm;
pub use report::LayerReport;

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::network::UNet3Plus;
use crate::predictor::{Logits, Predictor, checked_dims};
use layer::Packed;
use plan::Plan;
use run::{Prediction, Run};
use schedule::Schedule;

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
    schedule: Schedule,
    /// By node.
    layers: Vec<Option<Packed>>,
    /// Plans for one size that no pass is using. No lock is held during a pass: a thread that waits for a part of its image
    /// may take up another image meanwhile, and would then wait for itself.
    free: Mutex<Vec<Plan>>,
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
        let Self { config, architecture, module, parameters } = self;
        drop(module);
        let tensors = parameters.all().into_iter().map(|(name, var)| (name, var.into_inner())).collect();
        drop(parameters);
        let schedule = Schedule::new(architecture)?;
        let CompileOptions { size, isa } = options;
        let layers = compile::compile(&schedule, tensors, config.batch_norm_eps, isa, size)?;
        let (free, times) = (Mutex::default(), Mutex::default());
        Ok(Engine { config, isa, schedule, layers, free, times })
    }
}

impl Engine {
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

    /// One image `[channels, height, width]`.
    fn run(&self, image: &[f32], size: [usize; 2], heads: usize) -> Prediction {
        let padded = size.map(|side| side.next_multiple_of(self.config.size_multiple()));
        let mut plan = self.take_plan(padded);
        let run = Run::new(self, &mut plan, size, heads);
        // On a thread of the pool: from outside, each layer would first wake the pool up and then be woken by it.
        let (prediction, times) = rayon::scope(|_| run.run(image));
        *lock(&self.times) = times;
        lock(&self.free).push(plan);
        prediction
    }

    /// A plan for a padded image. Those for another size go before a new one comes.
    fn take_plan(&self, padded: [usize; 2]) -> Plan {
        let found = {
            let mut free = lock(&self.free);
            free.retain(|plan| plan.size == padded);
            free.pop()
        };
        found.unwrap_or_else(|| Plan::new(&self.schedule, padded))
    }
}

impl Predictor for Engine {
    fn config(&self) -> &UNet3PlusConfig {
        &self.config
    }

    fn logits(&self, x: &Tensor, heads: usize) -> Result<Logits> {
        let (batch, channels, height, width) = checked_dims(&self.config, x)?;
        if height == 0 || width == 0 || batch == 0 {
            return Err(Error::Input(format!("{batch} images of {height}x{width} pixels")));
        }
        let images = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        // the strips of head 1 are computed in any case
        let mut logits = vec![Vec::new(); heads.clamp(1, self.heads())];
        let mut presences = Vec::new();
        for image in images.chunks_exact(channels * height * width) {
            let found = self.run(image, [height, width], logits.len());
            logits.iter_mut().zip(found.logits).for_each(|(all, one)| all.extend(one));
            presences.extend(found.presence.into_iter().flatten());
        }
        let shape = (batch, self.config.num_classes, height, width);
        let heads = logits.into_iter().map(|values| Tensor::from_vec(values, shape, &Device::Cpu));
        let heads = heads.collect::<candle_core::Result<_>>()?;
        let presence = self.config.variant.has_cgm();
        let presence = presence.then(|| Tensor::from_vec(presences, (batch, 2), &Device::Cpu)).transpose()?;
        Ok(Logits { heads, presence })
    }
}

/// What a mutex holds: a panic elsewhere leaves nothing half done in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
