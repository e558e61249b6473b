//! Inference on the CPU by compiled layers.
//!
//! [`UNet3Plus::compile`](crate::UNet3Plus::compile) folds batch normalisation into the weights, chooses an algorithm for
//! each layer and packs its weights once. A forward pass then writes each branch into its slot of the concatenation,
//! works at full resolution in horizontal strips, so that the widest maps never exist whole, and computes only the
//! heads that are asked for.

mod buffers;
mod compile;
mod layer;
mod strip;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use unet3p_kernels::{
    AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut, Isa, max_pool2d_blocked, upsample_bilinear2d,
};

pub use layer::Algorithm;

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::gate::{Ungated, all_outputs, mean_over_flips};
use crate::network::{AllOutputs, Output, UNet3Plus};
use crate::padding::{SIZE_MULTIPLE, padding_source};
use buffers::{Buffers, KEPT_FOR_HEAD, KEPT_FOR_TILES, strip_rows};
use compile::{Branch, Layers};
use strip::{Strip, readable, strips};

/// Rows of a Winograd tile: what a convolution that reads strips computes at once.
const TILE: usize = 4;

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

/// One layer of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// Its name, as in the tensors' names.
    pub name: String,
    /// How it is computed; none for pooling.
    pub algorithm: Option<Algorithm>,
    /// Multiply-adds that are executed for one image.
    pub multiply_adds: u64,
    /// Time of the last forward pass.
    pub time: Duration,
}

/// A compiled network: head 1, or all heads, in evaluation mode on the CPU.
///
/// It gives what [`UNet3Plus`](crate::UNet3Plus) gives, to a relative error of 1e-5, several times faster. Memory for
/// an input size is made when the first image of that size comes and kept for the next; images are computed one after
/// the other, each by all threads.
pub struct Engine {
    config: UNet3PlusConfig,
    isa: Isa,
    layers: Layers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buffers: Option<Buffers>,
    times: Vec<LayerReport>,
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

/// What one image gives.
struct Prediction {
    /// Logits `[classes, height, width]` of each head that was asked for.
    logits: Vec<Vec<f32>>,
    /// Logits [absent, present].
    presence: Option<[f32; 2]>,
}

impl Engine {
    /// Packs a network's tensors, by name; each is dropped when packed.
    pub(crate) fn new(
        config: &UNet3PlusConfig,
        tensors: HashMap<String, Tensor>,
        options: CompileOptions,
    ) -> Result<Self> {
        let layers = compile::compile(config, tensors, options.isa, options.size)?;
        Ok(Self { config: config.clone(), isa: options.isa, layers, state: Mutex::default() })
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner).times.clone()
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
        // a panic elsewhere leaves nothing half done that the next run would read
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let padded = size.map(|side| side.next_multiple_of(SIZE_MULTIPLE));
        if state.buffers.as_ref().is_none_or(|buffers| buffers.size != padded) {
            // the old ones go before the new ones come
            state.buffers = None;
            state.buffers = Some(Buffers::new(&self.config, &self.layers, padded));
        }
        let mut pass = Pass { engine: self, size, padded, times: Vec::new() };
        let State { buffers, times } = &mut *state;
        let Some(buffers) = buffers else { unreachable!("made above") };
        let prediction = pass.run(buffers, image, heads);
        *times = pass.times;
        prediction
    }
}

/// Takes a buffer out, and leaves an empty one.
fn take(buffer: &mut AlignedBuffer) -> AlignedBuffer {
    std::mem::replace(buffer, AlignedBuffer::zeroed(0))
}

/// A forward pass on its way.
struct Pass<'a> {
    engine: &'a Engine,
    /// Rows and columns of the image.
    size: [usize; 2],
    /// Rows and columns of the maps at full resolution.
    padded: [usize; 2],
    times: Vec<LayerReport>,
}

impl Pass<'_> {
    fn run(&mut self, buffers: &mut Buffers, image: &[f32], heads: usize) -> Prediction {
        self.read(buffers, image);
        for level in 0..buffers.encoder.len() {
            self.stage(buffers, level);
        }
        let presence = self.presence(buffers);
        let mut planes = vec![Vec::new(); heads];
        for level in (0..self.engine.layers.nodes.len()).rev() {
            self.node(buffers, level, &mut planes[0]);
        }
        for (level, planes) in planes.iter_mut().enumerate().skip(1) {
            *planes = self.coarse_head(buffers, level);
        }
        let logits = planes.into_iter().map(|planes| self.crop(planes)).collect();
        Prediction { logits, presence }
    }

    /// Pads the image and turns it into blocks.
    fn read(&mut self, buffers: &mut Buffers, image: &[f32]) {
        let ([height, width], [rows, cols]) = (self.size, self.padded);
        let channels = self.engine.config.in_channels;
        if self.size == self.padded {
            return buffers.input.view_mut().pack(channels, image);
        }
        let columns: Vec<usize> = (0..cols).map(|j| padding_source(j, width, cols)).collect();
        let mut padded = Vec::with_capacity(channels * rows * cols);
        for plane in image.chunks_exact(height * width) {
            for i in 0..rows {
                let row = &plane[padding_source(i, height, rows) * width..][..width];
                padded.extend(columns.iter().map(|&j| row[j]));
            }
        }
        buffers.input.view_mut().pack(channels, &padded);
    }

    /// Two convolutions, the one between them in strips, and the pooled maps of the result.
    fn stage(&mut self, buffers: &mut Buffers, level: usize) {
        let [first, second] = &self.engine.layers.encoder[level];
        let Buffers { input, encoder, pooled, strips: [memory, _], .. } = buffers;
        let [height, width] = self.padded.map(|side| side >> level);
        let name = |i: usize| format!("encoder.{}.conv{i}", level + 1);
        let map = BlockedShape { channels: encoder[level].shape.channels, height, width };
        let strip = strip_rows(map);
        let mut between = Strip::new(map, strip, KEPT_FOR_TILES, take(memory));
        for rows in strips(height, strip) {
            let x = if level == 0 { &*input } else { &pooled[level - 1][0] };
            let to = between.advance(rows.clone());
            self.timed(|| name(1), first.algorithm(), || first.run(x.view().rows(rows.clone()), to));
            let ready = readable(&rows, height, 1, TILE);
            if !ready.is_empty() {
                let to = encoder[level].view_mut().rows(ready.clone());
                self.timed(|| name(2), second.algorithm(), || second.run(between.rows(ready), to));
            }
        }
        *memory = between.into_memory();
        let size = [height, width];
        self.count(&name(1), first.multiply_adds(size));
        self.count(&name(2), second.multiply_adds(size));
        let Some(pooled) = pooled.get_mut(level) else { return };
        for i in 0..pooled.len() {
            let (before, rest) = pooled.split_at_mut(i);
            let x = before.last().unwrap_or(&encoder[level]);
            let isa = self.engine.isa;
            self.timed(
                || format!("encoder.{}.pool", level + 1),
                None,
                || {
                    max_pool2d_blocked(isa, x.view(), rest[0].view_mut());
                },
            );
        }
    }

    /// A decoder node in strips; the finest goes on into head 1.
    fn node(&mut self, buffers: &mut Buffers, level: usize, planes: &mut Vec<f32>) {
        let node = &self.engine.layers.nodes[level];
        let head = &self.engine.layers.heads[0];
        let Buffers { encoder, pooled, decoder, nodes, strips: memory, .. } = buffers;
        let own = &mut nodes[level];
        let [height, width] = self.padded.map(|side| side >> level);
        let size = [height, width];
        let part = format!("decoder.{}", level + 1);
        let [for_branches, for_finest] = memory;
        let mut branches = Strip::new(own.concatenation, own.rows, KEPT_FOR_TILES, take(for_branches));
        let mut finest = (level == 0).then(|| {
            planes.resize(self.engine.config.num_classes * height * width, 0.0);
            let channels = self.engine.config.filters[0] * node.branches.len();
            // as many rows as come of the branches, and the tile that the last strip has more
            let map = BlockedShape { channels, height, width };
            Strip::new(map, own.rows + TILE, KEPT_FOR_HEAD, take(for_finest))
        });
        for rows in strips(height, own.rows) {
            let mut concatenation = branches.advance(rows.clone());
            let blocks = concatenation.size()[0] / node.branches.len();
            for (source, branch) in node.branches.iter().enumerate() {
                let slot = concatenation.reborrow().blocks(source * blocks..(source + 1) * blocks);
                let name = || format!("{part}.branch{}", source + 1);
                match (branch, own.rings[source].as_mut()) {
                    (Branch::Same(layer), _) => {
                        let x = if source == level {
                            &encoder[level]
                        } else {
                            &pooled[source][level - source - 1]
                        };
                        self.timed(name, layer.algorithm(), || layer.run(x.view().rows(rows.clone()), slot));
                    }
                    (Branch::Upsampled(layer), Some(ring)) => {
                        // the decoder's outputs below the node, the encoder's at the bottom
                        let x =
                            if source + 1 == encoder.len() { &encoder[source] } else { &decoder[source - 1] };
                        let run = || layer.run(x.view(), rows.clone(), slot, ring);
                        self.timed(name, Algorithm::BeforeUpsampling, run);
                    }
                    (Branch::Upsampled(_), None) => unreachable!("an upsampled branch has a ring"),
                }
            }
            let ready = readable(&rows, height, 1, TILE);
            if ready.is_empty() {
                continue;
            }
            let x = branches.rows(ready.clone());
            let mut fuse = |x: BlockedView<'_>, y: BlockedViewMut<'_>| {
                self.timed(|| format!("{part}.fuse"), node.fuse.algorithm(), || node.fuse.run(x, y));
            };
            let Some(finest) = &mut finest else {
                fuse(x, decoder[level - 1].view_mut().rows(ready));
                continue;
            };
            fuse(x, finest.advance(ready.clone()));
            let ready = readable(&ready, height, 1, 1);
            if !ready.is_empty() {
                let run = || head.run(finest.rows(ready.clone()), ready.start, height, planes);
                self.timed(|| "head.1".into(), Algorithm::Taps, run);
            }
        }
        *for_branches = branches.into_memory();
        if let Some(finest) = finest {
            *for_finest = finest.into_memory();
        }
        for (source, branch) in node.branches.iter().enumerate() {
            let multiply_adds = match branch {
                Branch::Same(layer) => layer.multiply_adds(size),
                Branch::Upsampled(layer) => {
                    let [height, width] = self.padded.map(|side| side >> source);
                    layer.multiply_adds(height, width)
                }
            };
            self.count(&format!("{part}.branch{}", source + 1), multiply_adds);
        }
        self.count(&format!("{part}.fuse"), node.fuse.multiply_adds(size));
        if level == 0 {
            self.count("head.1", head.multiply_adds(height, width));
        }
    }

    /// Head 2..5: at the resolution of its map, then upsampled.
    fn coarse_head(&mut self, buffers: &Buffers, level: usize) -> Vec<f32> {
        let head = &self.engine.layers.heads[level];
        let [height, width] = self.padded.map(|side| side >> level);
        let x = buffers.decoder.get(level - 1).unwrap_or(&buffers.encoder[level]).view();
        let mut coarse = vec![0.0; self.engine.config.num_classes * height * width];
        let name = format!("head.{}", level + 1);
        self.timed(|| name.clone(), Algorithm::Taps, || head.run(x, 0, height, &mut coarse));
        self.count(&name, head.multiply_adds(height, width));
        let mut planes = vec![0.0; coarse.len() << (2 * level)];
        upsample_bilinear2d([height, width], 1 << level, &coarse, &mut planes);
        planes
    }

    /// Logits of the classification-guided module: the largest over the map of a 1x1 convolution of E5.
    fn presence(&mut self, buffers: &Buffers) -> Option<[f32; 2]> {
        let guide = self.engine.layers.guide.as_ref()?;
        let map = buffers.encoder.last()?;
        let (channels, area) = (map.shape.channels, map.shape.height * map.shape.width);
        let mut planes = vec![0.0; channels * area];
        map.view().unpack(channels, &mut planes);
        let logit = |class: usize| {
            let mut sums = vec![guide.bias[class]; area];
            for (plane, &weight) in planes.chunks_exact(area).zip(&guide.weight[class * channels..]) {
                sums.iter_mut().zip(plane).for_each(|(sum, &value)| *sum += weight * value);
            }
            sums.into_iter().fold(f32::NEG_INFINITY, f32::max)
        };
        Some([logit(0), logit(1)])
    }

    fn crop(&self, planes: Vec<f32>) -> Vec<f32> {
        if self.size == self.padded {
            return planes;
        }
        let ([height, width], [rows, cols]) = (self.size, self.padded);
        let lines = planes.chunks_exact(rows * cols).flat_map(|plane| plane.chunks_exact(cols).take(height));
        lines.flat_map(|line| &line[..width]).copied().collect()
    }

    /// Runs `work` and adds its time to the layer's.
    fn timed(
        &mut self,
        name: impl Fn() -> String,
        algorithm: impl Into<Option<Algorithm>>,
        work: impl FnOnce(),
    ) {
        let start = Instant::now();
        work();
        let time = start.elapsed();
        let name = name();
        match self.times.iter_mut().find(|layer| layer.name == name) {
            Some(layer) => layer.time += time,
            None => {
                self.times.push(LayerReport { name, algorithm: algorithm.into(), multiply_adds: 0, time })
            }
        }
    }

    fn count(&mut self, name: &str, multiply_adds: u64) {
        if let Some(layer) = self.times.iter_mut().find(|layer| layer.name == name) {
            layer.multiply_adds = multiply_adds;
        }
    }
}
