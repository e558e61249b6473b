//! One image on its way through the layers.

use unet3p_kernels::{
    AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut, max_pool2d_blocked, upsample_bilinear2d,
};

use super::buffers::{Buffers, KEPT_FOR_HEAD, KEPT_FOR_TILES, strip_rows};
use super::compile::Branch;
use super::report::Times;
use super::strip::{Strip, readable, strips};
use super::{Algorithm, Engine, LayerReport};
use crate::padding::padding_source;

/// Rows of a Winograd tile: what a convolution that reads strips computes at once.
const TILE: usize = 4;

/// What one image gives.
pub(super) struct Prediction {
    /// Logits `[classes, height, width]` of each head that was asked for.
    pub(super) logits: Vec<Vec<f32>>,
    /// Logits [absent, present].
    pub(super) presence: Option<[f32; 2]>,
}

/// Takes a buffer out, and leaves an empty one.
fn take(buffer: &mut AlignedBuffer) -> AlignedBuffer {
    std::mem::replace(buffer, AlignedBuffer::zeroed(0))
}

/// A forward pass on its way.
pub(super) struct Pass<'a> {
    engine: &'a Engine,
    /// Rows and columns of the image.
    size: [usize; 2],
    /// Rows and columns of the maps at full resolution.
    padded: [usize; 2],
    times: Times,
}

impl<'a> Pass<'a> {
    pub(super) fn new(engine: &'a Engine, size: [usize; 2], padded: [usize; 2]) -> Self {
        Self { engine, size, padded, times: Times::default() }
    }

    /// The layers that ran.
    pub(super) fn into_layers(self) -> Vec<LayerReport> {
        self.times.into_layers()
    }

    /// Logits of the first `heads` heads.
    pub(super) fn run(&mut self, buffers: &mut Buffers, image: &[f32], heads: usize) -> Prediction {
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
            self.times.measure(|| name(1), first.algorithm(), || first.run(x.view().rows(rows.clone()), to));
            let ready = readable(&rows, height, 1, TILE);
            if !ready.is_empty() {
                let to = encoder[level].view_mut().rows(ready.clone());
                self.times.measure(|| name(2), second.algorithm(), || second.run(between.rows(ready), to));
            }
        }
        *memory = between.into_memory();
        let size = [height, width];
        self.times.count(&name(1), first.multiply_adds(size));
        self.times.count(&name(2), second.multiply_adds(size));
        let Some(pooled) = pooled.get_mut(level) else { return };
        for i in 0..pooled.len() {
            let (before, rest) = pooled.split_at_mut(i);
            let x = before.last().unwrap_or(&encoder[level]);
            let isa = self.engine.isa;
            self.times.measure(
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
                        self.times.measure(name, layer.algorithm(), || {
                            layer.run(x.view().rows(rows.clone()), slot)
                        });
                    }
                    (Branch::Upsampled(layer), Some(ring)) => {
                        // the decoder's outputs below the node, the encoder's at the bottom
                        let x =
                            if source + 1 == encoder.len() { &encoder[source] } else { &decoder[source - 1] };
                        let run = || layer.run(x.view(), rows.clone(), slot, ring);
                        self.times.measure(name, Algorithm::BeforeUpsampling, run);
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
                self.times.measure(|| format!("{part}.fuse"), node.fuse.algorithm(), || node.fuse.run(x, y));
            };
            let Some(finest) = &mut finest else {
                fuse(x, decoder[level - 1].view_mut().rows(ready));
                continue;
            };
            fuse(x, finest.advance(ready.clone()));
            let ready = readable(&ready, height, 1, 1);
            if !ready.is_empty() {
                let run = || head.run(finest.rows(ready.clone()), ready.start, height, planes);
                self.times.measure(|| "head.1".into(), Algorithm::Taps, run);
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
            self.times.count(&format!("{part}.branch{}", source + 1), multiply_adds);
        }
        self.times.count(&format!("{part}.fuse"), node.fuse.multiply_adds(size));
        if level == 0 {
            self.times.count("head.1", head.multiply_adds(height, width));
        }
    }

    /// Head 2..5: at the resolution of its map, then upsampled.
    fn coarse_head(&mut self, buffers: &Buffers, level: usize) -> Vec<f32> {
        let head = &self.engine.layers.heads[level];
        let [height, width] = self.padded.map(|side| side >> level);
        let x = buffers.decoder.get(level - 1).unwrap_or(&buffers.encoder[level]).view();
        let mut coarse = vec![0.0; self.engine.config.num_classes * height * width];
        let name = format!("head.{}", level + 1);
        self.times.measure(|| name.clone(), Algorithm::Taps, || head.run(x, 0, height, &mut coarse));
        self.times.count(&name, head.multiply_adds(height, width));
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
}
