//! The layers of UNet 3+ with 64 filters at 320x320, by each algorithm that can compute them: what the engine's cost model
//! is checked against. `UNET3P_ISA` chooses the instruction set.
#![allow(missing_docs)]

use std::fmt::{self, Display};

use divan::Bencher;
use divan::counter::ItemsCount;
use unet3p_kernels::{
    AlignedBuffer, BlockedConv2d, BlockedShape, DirectConv2d, HeadConv2d, Isa, Kernel, Tile, UpsampledConv2d,
    WinogradConv2d, Write,
};

fn main() {
    println!("{} of {:?}", Isa::current(), Isa::available());
    divan::main();
}

/// A convolution: channels in and out, side of the map; side of the input where that is upsampled.
struct Layer {
    inputs: usize,
    outputs: usize,
    side: usize,
    scale: usize,
}

impl Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, outputs, side, scale } = self;
        write!(f, "{inputs} to {outputs} at {side}")?;
        if *scale > 1 { write!(f, " from {}", side / scale) } else { Ok(()) }
    }
}

fn layer(inputs: usize, outputs: usize, side: usize, scale: usize) -> Layer {
    Layer { inputs, outputs, side, scale }
}

fn same_size() -> Vec<Layer> {
    vec![
        layer(3, 64, 320, 1),
        layer(16, 16, 320, 1),
        layer(64, 64, 320, 1),
        layer(320, 320, 160, 1),
        layer(256, 256, 80, 1),
        layer(512, 512, 40, 1),
        layer(1024, 1024, 20, 1),
    ]
}

fn upsampled() -> Vec<Layer> {
    vec![layer(320, 64, 320, 2), layer(320, 64, 320, 4), layer(320, 64, 320, 8), layer(1024, 64, 320, 16)]
}

impl Layer {
    fn weight(&self) -> Vec<f32> {
        (0..self.outputs * self.inputs * 9).map(|i| (i % 17) as f32 * 0.01 - 0.08).collect()
    }

    fn map(channels: usize, side: usize) -> (BlockedShape, AlignedBuffer) {
        let shape = BlockedShape { channels, height: side, width: side };
        let mut data = AlignedBuffer::zeroed(shape.elements());
        data.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 31) as f32 * 0.1);
        shape.clear_halo(&mut data);
        (shape, data)
    }
}

#[divan::bench(args = same_size())]
fn direct(bencher: Bencher, layer: &Layer) {
    let conv = DirectConv2d::new(Isa::current(), &[layer.inputs], &layer.weight());
    let conv = conv.with_bias(&vec![0.1; layer.outputs]).with_relu();
    let ((from, x), (to, mut y)) =
        (Layer::map(layer.inputs, layer.side), Layer::map(layer.outputs, layer.side));
    let count = ItemsCount::new(conv.multiply_adds(layer.side, layer.side));
    bencher.counter(count).bench_local(|| conv.run(from.view(&x), to.view_mut(&mut y)));
}

fn winograd(bencher: Bencher, layer: &Layer, tile: Tile) {
    let conv = WinogradConv2d::new(Isa::current(), tile, &[layer.inputs], &layer.weight());
    let conv = conv.with_bias(&vec![0.1; layer.outputs]).with_relu();
    let ((from, x), (to, mut y)) =
        (Layer::map(layer.inputs, layer.side), Layer::map(layer.outputs, layer.side));
    let count = ItemsCount::new(conv.multiply_adds(layer.side, layer.side));
    bencher.counter(count).bench_local(|| conv.run(from.view(&x), to.view_mut(&mut y)));
}

#[divan::bench(args = same_size())]
fn winograd_2x2(bencher: Bencher, layer: &Layer) {
    winograd(bencher, layer, Tile::Two);
}

#[divan::bench(args = same_size())]
fn winograd_4x4(bencher: Bencher, layer: &Layer) {
    winograd(bencher, layer, Tile::Four);
}

#[divan::bench(args = upsampled())]
fn before_upsampling(bencher: Bencher, layer: &Layer) {
    let low = layer.side / layer.scale;
    let conv = UpsampledConv2d::new(Isa::current(), layer.scale, &[layer.inputs], &layer.weight());
    let conv = conv.with_bias(&vec![0.1; layer.outputs]).with_relu();
    let ((from, x), (to, mut y)) = (Layer::map(layer.inputs, low), Layer::map(layer.outputs, layer.side));
    let mut tap_rows = conv.rows_for(layer.side, low);
    let count = ItemsCount::new(conv.multiply_adds(low, low));
    let rows = 0..layer.side;
    bencher
        .counter(count)
        .bench_local(|| conv.run(from.view(&x), rows.clone(), to.view_mut(&mut y), &mut tap_rows));
}

#[divan::bench(args = [layer(320, 1, 320, 1)])]
fn head(bencher: Bencher, layer: &Layer) {
    let conv = HeadConv2d::new(Isa::current(), &[layer.inputs], &layer.weight()).with_bias(&[0.1]);
    let (from, x) = Layer::map(layer.inputs, layer.side);
    let mut planes = vec![0.0; layer.side * layer.side];
    let count = ItemsCount::new(conv.multiply_adds(layer.side, layer.side));
    bencher.counter(count).bench_local(|| conv.run(from.view(&x), 0, layer.side, &mut planes));
}

/// A convolution in training: channels in and out, side of the input, kernel.
struct Trained {
    inputs: usize,
    outputs: usize,
    side: usize,
    kernel: Kernel,
}

/// Images of a batch.
const IMAGES: usize = 2;

impl Display for Trained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, outputs, side, kernel: Kernel { side: k, stride } } = self;
        write!(f, "{k}x{k}/{stride} {inputs} to {outputs} at {side}")
    }
}

fn trained() -> Vec<Trained> {
    let layer = |side, stride, inputs, outputs, map| Trained {
        inputs,
        outputs,
        side: map,
        kernel: Kernel { side, stride },
    };
    vec![
        layer(7, 2, 3, 64, 320),
        layer(3, 2, 64, 128, 80),
        layer(3, 2, 256, 512, 20),
        layer(3, 1, 64, 128, 80),
        layer(1, 2, 256, 512, 80),
        layer(1, 1, 256, 64, 80),
        layer(1, 1, 64, 256, 80),
    ]
}

impl Trained {
    /// Floating-point operations.
    fn count(&self) -> ItemsCount {
        let [height, width] = self.kernel.output([self.side; 2]);
        let taps = self.kernel.side * self.kernel.side;
        ItemsCount::new(2 * IMAGES * self.inputs * self.outputs * taps * height * width)
    }

    fn weight(&self) -> Vec<f32> {
        let len = self.outputs * self.inputs * self.kernel.side * self.kernel.side;
        (0..len).map(|i| (i % 17) as f32 * 0.01 - 0.08).collect()
    }

    fn conv<'a>(&self, weight: &'a [f32]) -> BlockedConv2d<'a> {
        BlockedConv2d::with_kernel(Isa::current(), &[self.inputs], self.kernel, weight)
    }

    /// Input and output.
    fn maps(&self) -> [(BlockedShape, AlignedBuffer); 2] {
        let [rows, _] = self.kernel.output([self.side; 2]);
        [(self.inputs, self.side), (self.outputs, rows)].map(|(channels, side)| {
            let (shape, image) = Layer::map(channels, side);
            let mut images = AlignedBuffer::zeroed(IMAGES * image.len());
            images.chunks_exact_mut(image.len()).for_each(|to| to.copy_from_slice(&image));
            (shape, images)
        })
    }
}

#[divan::bench(args = trained())]
fn train_forward(bencher: Bencher, layer: &Trained) {
    let (weight, [(from, x), (to, mut y)]) = (layer.weight(), layer.maps());
    let (conv, mut memory) = (layer.conv(&weight), AlignedBuffer::zeroed(0));
    bencher
        .counter(layer.count())
        .bench_local(|| conv.run(from.batch(IMAGES, &x), to.batch_mut(IMAGES, &mut y), &mut memory));
}

#[divan::bench(args = trained())]
fn train_input_gradient(bencher: Bencher, layer: &Trained) {
    let (weight, [(from, mut x), (to, y)]) = (layer.weight(), layer.maps());
    let (conv, mut memory) = (layer.conv(&weight), AlignedBuffer::zeroed(0));
    bencher.counter(layer.count()).bench_local(|| {
        let grad_x = from.batch_mut(IMAGES, &mut x);
        conv.input_gradient(to.batch(IMAGES, &y), grad_x, Write::Replace, &mut memory);
    });
}

#[divan::bench(args = trained())]
fn train_weight_gradient(bencher: Bencher, layer: &Trained) {
    let (weight, [(from, x), (to, y)]) = (layer.weight(), layer.maps());
    let (conv, mut memory) = (layer.conv(&weight), AlignedBuffer::zeroed(0));
    let mut grad = weight.clone();
    bencher.counter(layer.count()).bench_local(|| {
        conv.weight_gradient(from.batch(IMAGES, &x), to.batch(IMAGES, &y), &mut grad, &mut memory);
    });
}
