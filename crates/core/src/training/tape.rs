//! The forward pass, and what it leaves for the backward pass.

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use unet3p_kernels::{
    AlignedBuffer, BlockedBatchNorm, BlockedConv2d, BlockedHead, BlockedShape, BlockedUpsampledConv2d,
    BlockedView, BlockedViewMut, ChannelStatistics, Isa, Kernel, LANES, add_relu_blocked,
    max_pool2d_3x3_blocked, max_pools2d_blocked,
};

use super::memory::MapMemory;
use crate::graph::Conv;

/// A map of a pass, or a slot of one: what a layer reads or writes.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(super) id: usize,
    /// First block of channels.
    pub(super) block: usize,
    /// Channels of the maps that it is a concatenation of; each starts a block.
    pub(super) parts: Vec<usize>,
}

impl Map {
    /// The slot of a part of a concatenation.
    pub(crate) fn slot(&self, part: usize) -> Self {
        let block = self.block + self.parts[..part].iter().map(|part| part.div_ceil(LANES)).sum::<usize>();
        Self { id: self.id, block, parts: vec![self.parts[part]] }
    }

    pub(super) fn blocks(&self) -> std::ops::Range<usize> {
        self.block..self.block + self.parts.iter().map(|part| part.div_ceil(LANES)).sum::<usize>()
    }
}

/// A batch of maps in memory.
pub(super) struct Values {
    pub(super) shape: BlockedShape,
    pub(super) data: AlignedBuffer,
    /// Steps that write it.
    pub(super) writers: usize,
    /// Whether gradients flow further back from here.
    pub(super) needs_gradient: bool,
}

/// The parameters of a convolution with batch normalisation behind it.
pub(crate) struct LayerParameters<'a> {
    pub(crate) weight: &'a Tensor,
    pub(crate) bias: Option<&'a Tensor>,
    pub(crate) gamma: &'a Tensor,
    pub(crate) beta: &'a Tensor,
    pub(crate) eps: f64,
}

/// What has been computed.
pub(super) enum TapeStep {
    /// Convolution, of the input upsampled by `scale`, batch normalisation and ReLU. Parameters: weight, gamma, beta and,
    /// where there is one, bias, the first of which is number `parameters`.
    Layer { layer: TapeLayer, norm: BlockedBatchNorm, parameters: usize },
    /// Max pooling by 2, 4, 8, ...
    Pools { x: Map, pooled: Vec<Map> },
    /// Max pooling by windows of 3x3 with stride 2.
    OverlappingPool { x: Map, y: Map },
    /// `y = relu(a + b)`.
    AddRelu { a: Map, b: Map, y: Map },
    /// A convolution to planes. Parameters: weight, bias.
    Head { x: Map, output: usize, parameters: usize },
    /// A map as planes.
    Planes { x: Map, output: usize },
}

/// The maps and the form of a convolution with batch normalisation behind it.
pub(super) struct TapeLayer {
    pub(super) x: Map,
    pub(super) kernel: Kernel,
    pub(super) scale: usize,
    /// The convolution's output.
    pub(super) z: usize,
    pub(super) y: Map,
    pub(super) has_bias: bool,
}

/// A training pass: layers are computed as they are called; [`Tape::finish`] attaches the outputs to Candle's graph.
///
/// In f32 on the CPU.
pub(crate) struct Tape {
    pub(super) isa: Isa,
    pub(super) images: usize,
    pub(super) memory: MapMemory,
    /// By id; none where the memory has gone back.
    pub(super) maps: Vec<Option<Values>>,
    pub(super) steps: Vec<TapeStep>,
    pub(super) parameters: Vec<Tensor>,
    pub(super) outputs: Vec<(Vec<f32>, [usize; 4])>,
}

impl Tape {
    /// A pass over `x`, `[batch, channels, height, width]` in f32 on the CPU, with maps from `memory`, and `x` as a map.
    ///
    /// # Errors
    /// Where `x` is empty or not such a tensor.
    pub(crate) fn new(x: &Tensor, memory: &MapMemory) -> Result<(Self, Map)> {
        let (images, channels, height, width) = x.dims4()?;
        if [images, channels, height, width].contains(&0) {
            bail!("a training pass over an empty batch {:?}", x.dims());
        }
        memory.prepare(images, [height, width]);
        let mut tape = Self {
            isa: Isa::current(),
            images,
            memory: memory.clone(),
            maps: Vec::new(),
            steps: Vec::new(),
            parameters: Vec::new(),
            outputs: Vec::new(),
        };
        let map = tape.packed(x)?;
        Ok((tape, map))
    }

    fn packed(&mut self, x: &Tensor) -> Result<Map> {
        let (_, channels, height, width) = x.dims4()?;
        let map = self.map(vec![channels], [height, width], false);
        with_values(&x.contiguous()?, |x| {
            let mut to = self.view_mut(&map);
            for (image, planes) in x.chunks_exact(channels * height * width).enumerate() {
                to.reborrow().image(image).pack(channels, planes);
            }
        })?;
        Ok(map)
    }

    /// A map to be written: the slots of a concatenation, one behind the other.
    fn map(&mut self, parts: Vec<usize>, [height, width]: [usize; 2], needs_gradient: bool) -> Map {
        // channels of single maps lie without gaps; those of slots start at blocks
        let channels = match &parts[..] {
            [one] => *one,
            several => several.iter().map(|part| part.next_multiple_of(LANES)).sum(),
        };
        let shape = BlockedShape { channels, height, width };
        let data = self.memory.take(self.images, shape);
        self.maps.push(Some(Values { shape, data, writers: 0, needs_gradient }));
        Map { id: self.maps.len() - 1, block: 0, parts }
    }

    /// A map that is a concatenation of maps of `parts` channels, each in its [`Map::slot`].
    pub(crate) fn concatenation(&mut self, parts: &[usize], size: [usize; 2]) -> Map {
        self.map(parts.to_vec(), size, true)
    }

    /// Rows and columns of a map.
    pub(crate) fn size(&self, map: &Map) -> [usize; 2] {
        let shape = self.shape(map);
        [shape.height, shape.width]
    }

    /// Values of a channel in the batch.
    pub(crate) fn pixels(&self, map: &Map) -> usize {
        self.images * self.size(map).iter().product::<usize>()
    }

    /// Rows and columns of a map upsampled by `scale`, of which `channels` channels fit an address space.
    fn scaled(&self, map: &Map, scale: usize, channels: usize) -> Result<[usize; 2]> {
        let [height, width] = self.size(map);
        // with room for what maps have around their pixels
        let room = |side: usize| side.checked_mul(scale)?.checked_mul(8);
        let sides = [room(height), room(width), Some(channels.next_multiple_of(LANES)), Some(self.images)];
        let values = sides.into_iter().try_fold(size_of::<f32>(), |product, side| product.checked_mul(side?));
        if scale == 0 || values.is_none() {
            bail!("upsampling of a {height}x{width} map by a factor of {scale}");
        }
        Ok([height * scale, width * scale])
    }

    pub(super) fn shape(&self, map: &Map) -> BlockedShape {
        self.values(map.id).shape
    }

    #[allow(clippy::expect_used)] // a map goes back when the last step that needs it is done
    pub(super) fn values(&self, id: usize) -> &Values {
        self.maps[id].as_ref().expect("a map in use")
    }

    pub(super) fn view(&self, map: &Map) -> BlockedView<'_> {
        let Values { shape, data, .. } = self.values(map.id);
        shape.batch(self.images, data).blocks(map.blocks())
    }

    #[allow(clippy::expect_used)] // as above
    fn view_mut(&mut self, map: &Map) -> BlockedViewMut<'_> {
        let Values { shape, data, .. } = self.maps[map.id].as_mut().expect("a map in use");
        shape.batch_mut(self.images, data).blocks(map.blocks())
    }

    /// Takes a map out, so that it can be written while others are read; [`Tape::wrote`] puts it back.
    #[allow(clippy::expect_used)] // as above
    fn writing(&mut self, map: &Map) -> Values {
        self.maps[map.id].take().expect("a map in use")
    }

    fn wrote(&mut self, map: &Map, mut values: Values) {
        values.writers += 1;
        self.maps[map.id] = Some(values);
    }

    /// Convolution of `x`, batch normalisation with the batch's statistics, and ReLU where `conv` has it, into `slot` or a
    /// new map. The statistics are those of the convolution with its bias.
    pub(crate) fn layer(
        &mut self,
        conv: &Conv,
        layer: &LayerParameters<'_>,
        x: &Map,
        slot: Option<Map>,
    ) -> Result<(Map, ChannelStatistics)> {
        let (kernel, scale) = (Kernel { side: conv.kernel, stride: conv.stride }, conv.upsample);
        let (outputs, inputs) = channels(layer.weight, conv.kernel, x)?;
        let vectors = [("bias", layer.bias), ("gamma", Some(layer.gamma)), ("beta", Some(layer.beta))];
        for (what, tensor) in vectors.into_iter().filter_map(|(what, tensor)| Some((what, tensor?))) {
            if tensor.dims() != [outputs] {
                bail!("a layer of {outputs} channels with a {what} {:?}: give it [{outputs}]", tensor.dims());
            }
        }
        let [height, width] = kernel.output(self.scaled(x, scale, outputs)?);
        if let Some(slot) = &slot {
            let (size, blocks) = (self.size(slot), slot.blocks().len());
            if slot.id == x.id || size != [height, width] || blocks != outputs.div_ceil(LANES) {
                let of = format!("{} channels of {}x{}", slot.parts.iter().sum::<usize>(), size[0], size[1]);
                bail!("a layer of {outputs} channels of {height}x{width} into a slot of {of}");
            }
        }
        let z = self.map(vec![outputs], [height, width], false);
        let y = slot.unwrap_or_else(|| self.map(vec![outputs], [height, width], true));
        let mut to = self.writing(&z);
        let images = self.images;
        with_values(layer.weight, |weight| {
            let (from, shape) = (self.view(x), to.shape);
            let to = shape.batch_mut(images, &mut to.data);
            if scale == 1 {
                let mut scratch = self.memory.take_scratch();
                let conv = BlockedConv2d::with_kernel(self.isa, &x.parts, kernel, weight);
                conv.run(from, to, &mut scratch);
                self.memory.give_back_scratch(scratch);
            } else {
                BlockedUpsampledConv2d::new(self.isa, scale, inputs, weight).run(from, to);
            }
        })?;
        self.wrote(&z, to);
        let norm = with_values(layer.gamma, |gamma| {
            with_values(layer.beta, |beta| {
                BlockedBatchNorm::new(self.isa, self.view(&z), [gamma, beta], layer.eps)
            })
        })??;
        let norm = if conv.relu { norm } else { norm.without_relu() };
        let mut to = self.writing(&y);
        let slot = to.shape.batch_mut(images, &mut to.data).blocks(y.blocks());
        norm.run(self.view(&z), slot);
        self.wrote(&y, to);

        // the bias shifts the mean alone, which normalisation takes away again
        let mut statistics = norm.statistics().clone();
        if let Some(bias) = layer.bias {
            with_values(bias, |bias| {
                statistics.mean.iter_mut().zip(bias).for_each(|(mean, &bias)| *mean += f64::from(bias));
            })?;
        }
        let parameters = self.register([Some(layer.weight), Some(layer.gamma), Some(layer.beta), layer.bias]);
        let (x, has_bias) = (x.clone(), layer.bias.is_some());
        let layer = TapeLayer { x, kernel, scale, z: z.id, y: y.clone(), has_bias };
        self.steps.push(TapeStep::Layer { layer, norm, parameters });
        Ok((y, statistics))
    }

    /// Max pooling by windows of 3x3 with stride 2 that begin a row and a column before the map.
    ///
    /// # Errors
    /// Where a side is odd.
    pub(crate) fn overlapping_pool(&mut self, x: &Map) -> Result<Map> {
        let [height, width] = self.size(x);
        if height % 2 != 0 || width % 2 != 0 {
            bail!("max pooling of a {height}x{width} map with stride 2: sides must be even");
        }
        let y = self.map(x.parts.clone(), [height / 2, width / 2], true);
        let mut to = self.writing(&y);
        max_pool2d_3x3_blocked(self.isa, self.view(x), to.shape.batch_mut(self.images, &mut to.data));
        self.wrote(&y, to);
        self.steps.push(TapeStep::OverlappingPool { x: x.clone(), y: y.clone() });
        Ok(y)
    }

    /// `relu(a + b)`.
    ///
    /// # Errors
    /// Where the maps are one or have different shapes.
    pub(crate) fn add_relu(&mut self, a: &Map, b: &Map) -> Result<Map> {
        if a.id == b.id || self.shape(a) != self.shape(b) || a.parts.len() > 1 || b.parts.len() > 1 {
            bail!("a sum of maps of {:?} and {:?}", self.shape(a), self.shape(b));
        }
        let y = self.map(a.parts.clone(), self.size(a), true);
        let mut to = self.writing(&y);
        to.data.copy_from_slice(&self.values(a.id).data);
        add_relu_blocked(self.isa, self.view(b), to.shape.batch_mut(self.images, &mut to.data));
        self.wrote(&y, to);
        self.steps.push(TapeStep::AddRelu { a: a.clone(), b: b.clone(), y: y.clone() });
        Ok(y)
    }

    /// Max pooling by 2, 4, ..., `2^levels`.
    ///
    /// # Errors
    /// Where the sides of `x` are no multiples of the largest window.
    pub(crate) fn max_pools(&mut self, x: &Map, levels: usize) -> Result<Vec<Map>> {
        let [height, width] = self.size(x);
        let window = u32::try_from(levels).ok().and_then(|levels| 1usize.checked_shl(levels));
        if !window.is_some_and(|window| [height, width].iter().all(|side| side.is_multiple_of(window))) {
            bail!("max pooling of a {height}x{width} map by 2^{levels}: sides must be multiples of it");
        }
        let pooled: Vec<Map> = (1..=levels)
            .map(|level| self.map(x.parts.clone(), [height >> level, width >> level], true))
            .collect();
        let mut values: Vec<Values> = pooled.iter().map(|map| self.writing(map)).collect();
        let images = self.images;
        let mut views: Vec<_> =
            values.iter_mut().map(|values| values.shape.batch_mut(images, &mut values.data)).collect();
        max_pools2d_blocked(self.isa, self.view(x), &mut views);
        for (map, values) in pooled.iter().zip(values) {
            self.wrote(map, values);
        }
        self.steps.push(TapeStep::Pools { x: x.clone(), pooled: pooled.clone() });
        Ok(pooled)
    }

    /// Convolution 3x3 with bias to planes, which become an output.
    pub(crate) fn head(&mut self, weight: &Tensor, bias: &Tensor, x: &Map) -> Result<()> {
        let (outputs, inputs) = channels(weight, 3, x)?;
        if bias.dims() != [outputs] {
            bail!("a head of {outputs} channels with a bias {:?}: give it [{outputs}]", bias.dims());
        }
        let [height, width] = self.size(x);
        let mut planes = vec![0.0; self.images * outputs * height * width];
        with_values(weight, |weight| {
            let head = BlockedHead::new(self.isa, inputs, weight);
            with_values(bias, |bias| head.run(self.view(x), bias, &mut planes))
        })??;
        let parameters = self.register([Some(weight), Some(bias)]);
        self.steps.push(TapeStep::Head { x: x.clone(), output: self.outputs.len(), parameters });
        self.outputs.push((planes, [self.images, outputs, height, width]));
        Ok(())
    }

    /// `x` itself as an output, in planes.
    pub(crate) fn planes(&mut self, x: &Map) {
        let ([height, width], channels) = (self.size(x), x.parts.iter().sum::<usize>());
        let area = channels * height * width;
        let mut planes = vec![0.0; self.images * area];
        for (image, planes) in planes.chunks_exact_mut(area).enumerate() {
            self.view(x).image(image).unpack(channels, planes);
        }
        self.steps.push(TapeStep::Planes { x: x.clone(), output: self.outputs.len() });
        self.outputs.push((planes, [self.images, channels, height, width]));
    }

    /// Adds to the parameters, and gives the number of the first.
    fn register<const N: usize>(&mut self, parameters: [Option<&Tensor>; N]) -> usize {
        let first = self.parameters.len();
        self.parameters.extend(parameters.into_iter().flatten().cloned());
        first
    }
}

/// Outputs and inputs of a convolution of `x`.
fn channels(weight: &Tensor, kernel: usize, x: &Map) -> Result<(usize, usize)> {
    let inputs: usize = x.parts.iter().sum();
    match *weight.dims() {
        [outputs, of_weight, rows, cols]
            if outputs > 0 && of_weight == inputs && [rows, cols] == [kernel; 2] =>
        {
            Ok((outputs, inputs))
        }
        ref dims => bail!("conv2d: a weight {dims:?} for an input of {inputs} channels"),
    }
}

/// Calls `f` with the values of a dense f32 tensor on the CPU.
pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(f(&values[start..end])),
        _ => bail!("a training pass takes dense f32 tensors on the CPU"),
    }
}
