//! One image on its way through the layers.

use unet3p_kernels::{BlockedView, BlockedViewMut, Isa, TapRows, max_pools2d_blocked, upsample_bilinear2d};

use super::buffers::{Buffers, KEPT_FOR_HEAD, KEPT_FOR_TILES, TILE};
use super::compile::{Branch, EncoderLayers};
use super::layer::Convolution;
use super::memory::Lent;
use super::report::Times;
use super::residual::ResidualPass;
use super::strip::{Strip, readable, strips};
use super::{Algorithm, Engine, LayerReport};
use crate::padding::padding_source;

/// What one image gives.
pub(super) struct Prediction {
    /// Logits `[classes, height, width]` of each head that was asked for.
    pub(super) logits: Vec<Vec<f32>>,
    /// Logits [absent, present].
    pub(super) presence: Option<[f32; 2]>,
}

/// Where a node's fusion goes: the finest goes on into head 1, and need not exist whole.
enum Fused<'a> {
    Whole(Lent<'a>),
    Strip(Strip<'a>),
}

/// A forward pass on its way.
pub(super) struct Pass<'a> {
    engine: &'a Engine,
    /// Rows and columns of the image.
    size: [usize; 2],
    /// Those of the padded image.
    padded: [usize; 2],
    /// Those of the maps of the first scale.
    finest: [usize; 2],
    times: Times,
}

impl<'a> Pass<'a> {
    pub(super) fn new(engine: &'a Engine, size: [usize; 2], padded: [usize; 2]) -> Self {
        let stride = engine.config.encoder.stride();
        Self { engine, size, padded, finest: padded.map(|side| side / stride), times: Times::default() }
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
        let stride = self.engine.config.encoder.stride();
        if stride > 1 {
            planes[0] = enlarge(&planes[0], self.finest, stride);
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
        let [input] = buffers.memory.lend([&buffers.input]);
        let mut input = input.blank();
        if self.size == self.padded {
            return input.view_mut().pack(channels, image);
        }
        let columns: Vec<usize> = (0..cols).map(|j| padding_source(j, width, cols)).collect();
        let mut padded = Vec::with_capacity(channels * rows * cols);
        for plane in image.chunks_exact(height * width) {
            for i in 0..rows {
                let row = &plane[padding_source(i, height, rows) * width..][..width];
                padded.extend(columns.iter().map(|&j| row[j]));
            }
        }
        input.view_mut().pack(channels, &padded);
    }

    /// A stage's map, and the pooled maps of it.
    fn stage(&mut self, buffers: &mut Buffers, level: usize) {
        match &self.engine.layers.encoder {
            EncoderLayers::Convolutions(stages) => self.convolutions(buffers, level, &stages[level]),
            EncoderLayers::Residual(stages) => {
                let Buffers { memory, input, encoder, residual, .. } = &mut *buffers;
                let x = if level == 0 { &*input } else { &encoder[level - 1] };
                let part = format!("encoder.{}", level + 1);
                let mut pass = ResidualPass { isa: self.engine.isa, memory, times: &mut self.times };
                pass.stage(&stages[level], &part, &residual[level], x, &encoder[level]);
            }
        }
        let Buffers { memory, encoder, pooled, .. } = buffers;
        if pooled[level].is_empty() {
            return;
        }
        let (x, isa) = (&encoder[level], self.engine.isa);
        let pool = || match &pooled[level][..] {
            [] => {}
            [by2] => pool(isa, memory.lend([x, by2])),
            [by2, by4] => pool(isa, memory.lend([x, by2, by4])),
            [by2, by4, by8, ..] => pool(isa, memory.lend([x, by2, by4, by8])),
        };
        self.times.measure(|| format!("encoder.{}.pool", level + 1), None, pool);
    }

    /// One convolution, or two with the map between them in strips.
    fn convolutions(&mut self, buffers: &mut Buffers, level: usize, layers: &[Convolution]) {
        let Buffers { memory, input, encoder, between, pooled, .. } = buffers;
        let size @ [height, _] = self.finest.map(|side| side >> level);
        let x = if level == 0 { &*input } else { &pooled[level - 1][0] };
        let part = format!("encoder.{}", level + 1);
        let [first, second] = layers else {
            let [x, y] = memory.lend([x, &encoder[level]]);
            let mut y = y.blank();
            for layer in layers {
                let name = || format!("{part}.conv");
                self.times.measure(name, layer.algorithm(), || layer.run(x.view(), y.view_mut()));
                self.times.count(&name(), layer.multiply_adds(size));
            }
            return;
        };
        let name = |i: usize| format!("{part}.conv{i}");
        let between = &between[level];
        let [x, window, y] = memory.lend([x, &between.window, &encoder[level]]);
        let mut y = y.blank();
        let mut strip = Strip::new(height, KEPT_FOR_TILES, window);
        for rows in strips(height, between.rows) {
            let to = strip.advance(rows.clone());
            self.times.measure(|| name(1), first.algorithm(), || first.run(x.view().rows(rows.clone()), to));
            let ready = readable(&rows, height, 1, TILE);
            if !ready.is_empty() {
                let to = y.view_mut().rows(ready.clone());
                self.times.measure(|| name(2), second.algorithm(), || second.run(strip.rows(ready), to));
            }
        }
        self.times.count(&name(1), first.multiply_adds(size));
        self.times.count(&name(2), second.multiply_adds(size));
    }

    /// A decoder node in strips; the finest goes on into head 1.
    fn node(&mut self, buffers: &mut Buffers, level: usize, planes: &mut Vec<f32>) {
        let node = &self.engine.layers.nodes[level];
        let head = &self.engine.layers.heads[0];
        let Buffers { memory, encoder, pooled, decoder, finest, concatenations, .. } = buffers;
        let size @ [height, width] = self.finest.map(|side| side >> level);
        let part = format!("decoder.{}", level + 1);
        let concatenation = &concatenations[level];
        let [s1, s2, s3, s4, s5] = std::array::from_fn(|source| match source {
            _ if source < level => &pooled[source][level - source - 1],
            _ if source == level || source + 1 == encoder.len() => &encoder[source],
            _ => &decoder[source - 1],
        });
        let output = if level == 0 { &finest.window } else { &decoder[level - 1] };
        let [s1, s2, s3, s4, s5, window, output] =
            memory.lend([s1, s2, s3, s4, s5, &concatenation.window, output]);
        let sources = [s1, s2, s3, s4, s5];
        let mut output = if level == 0 {
            planes.resize(self.engine.config.num_classes * height * width, 0.0);
            Fused::Strip(Strip::new(height, KEPT_FOR_HEAD, output))
        } else {
            Fused::Whole(output.blank())
        };
        let ring = |(branch, source): (&Branch, &Lent<'_>)| match branch {
            Branch::Same(_) => None,
            Branch::Upsampled(layer) => {
                Some(layer.rows_for(concatenation.rows.min(height), source.shape.width))
            }
        };
        let mut rings: Vec<Option<TapRows>> = node.branches.iter().zip(&sources).map(ring).collect();
        let mut strip = Strip::new(height, KEPT_FOR_TILES, window);
        for rows in strips(height, concatenation.rows) {
            let mut to = strip.advance(rows.clone());
            let blocks = to.size()[0] / node.branches.len();
            for (source, ((branch, x), ring)) in
                node.branches.iter().zip(&sources).zip(&mut rings).enumerate()
            {
                let slot = to.reborrow().blocks(source * blocks..(source + 1) * blocks);
                let name = || format!("{part}.branch{}", source + 1);
                match (branch, ring) {
                    (Branch::Same(layer), _) => {
                        let run = || layer.run(x.view().rows(rows.clone()), slot);
                        self.times.measure(name, layer.algorithm(), run);
                    }
                    (Branch::Upsampled(layer), Some(ring)) => {
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
            let x = strip.rows(ready.clone());
            let mut fuse = |x: BlockedView<'_>, y: BlockedViewMut<'_>| {
                let run = || node.fuse.run(x, y);
                self.times.measure(|| format!("{part}.fuse"), node.fuse.algorithm(), run);
            };
            match &mut output {
                Fused::Whole(map) => fuse(x, map.view_mut().rows(ready)),
                Fused::Strip(finest) => {
                    fuse(x, finest.advance(ready.clone()));
                    let ready = readable(&ready, height, 1, 1);
                    if !ready.is_empty() {
                        let run = || head.run(finest.rows(ready.clone()), ready.start, height, planes);
                        self.times.measure(|| "head.1".into(), Algorithm::Taps, run);
                    }
                }
            }
        }
        for (source, branch) in node.branches.iter().enumerate() {
            let multiply_adds = match branch {
                Branch::Same(layer) => layer.multiply_adds(size),
                Branch::Upsampled(layer) => {
                    let [height, width] = self.finest.map(|side| side >> source);
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
    fn coarse_head(&mut self, buffers: &mut Buffers, level: usize) -> Vec<f32> {
        let head = &self.engine.layers.heads[level];
        let [height, width] = self.finest.map(|side| side >> level);
        let map = buffers.decoder.get(level - 1).unwrap_or(&buffers.encoder[level]);
        let [x] = buffers.memory.lend([map]);
        let mut coarse = vec![0.0; self.engine.config.num_classes * height * width];
        let name = format!("head.{}", level + 1);
        self.times.measure(|| name.clone(), Algorithm::Taps, || head.run(x.view(), 0, height, &mut coarse));
        self.times.count(&name, head.multiply_adds(height, width));
        enlarge(&coarse, [height, width], self.engine.config.encoder.stride() << level)
    }

    /// Logits of the classification-guided module: the largest over the map of a 1x1 convolution of E5.
    fn presence(&mut self, buffers: &mut Buffers) -> Option<[f32; 2]> {
        let guide = self.engine.layers.guide.as_ref()?;
        let [map] = buffers.memory.lend([buffers.encoder.last()?]);
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

/// Planes of `size`, upsampled bilinearly.
fn enlarge(planes: &[f32], size: [usize; 2], scale: usize) -> Vec<f32> {
    let mut large = vec![0.0; planes.len() * scale * scale];
    upsample_bilinear2d(size, scale, planes, &mut large);
    large
}

/// Pools the first map into the others: by 2, 4, 8.
fn pool<const N: usize>(isa: Isa, maps: [Lent<'_>; N]) {
    let mut maps = maps.into_iter();
    let Some(x) = maps.next() else { return };
    let mut pooled: Vec<Lent<'_>> = maps.map(Lent::blank).collect();
    let mut views: Vec<_> = pooled.iter_mut().map(Lent::view_mut).collect();
    max_pools2d_blocked(isa, x.view(), &mut views);
}
