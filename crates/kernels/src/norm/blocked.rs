//! Batch normalisation, with ReLU or not.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut, Layout};
use crate::norm::dense::ChannelStatistics;
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::sizes::{check_len, check_size};

/// Rows that one task takes: partial sums are added in the order of tasks, whatever the number of threads.
const ROWS: usize = 16;

/// Batch normalisation and ReLU, `y = max(0, gamma (z - mean) / sqrt(variance + eps) + beta)` (Ioffe and Szegedy 2015,
/// algorithm 1), for the statistics of a batch; or without the ReLU, [`BlockedBatchNorm::without_relu`].
///
/// ```
/// use unet3p_kernels::{AlignedBuffer, BlockedBatchNorm, BlockedShape, Isa};
///
/// let map = BlockedShape { channels: 1, height: 1, width: 2 };
/// let (mut z, mut y) = (AlignedBuffer::zeroed(map.elements()), AlignedBuffer::zeroed(map.elements()));
/// map.view_mut(&mut z).pack(1, &[3.0, 7.0]);
/// let norm = BlockedBatchNorm::new(Isa::current(), map.view(&z), [&[1.0], &[0.0]], 0.0);
/// let mut planes = [0.0; 2];
/// norm.run(map.view(&z), map.view_mut(&mut y));
/// map.view(&y).unpack(1, &mut planes);
/// assert_eq!(planes, [0.0, 1.0]);
/// norm.without_relu().run(map.view(&z), map.view_mut(&mut y));
/// map.view(&y).unpack(1, &mut planes);
/// assert_eq!(planes, [-1.0, 1.0]);
/// ```
#[derive(Debug, Clone)]
pub struct BlockedBatchNorm {
    isa: Isa,
    statistics: ChannelStatistics,
    eps: f64,
    /// Mean, `scale = gamma / sqrt(variance + eps)` and `beta - mean scale` of each channel, in whole blocks, zero beyond
    /// the channels.
    affine: Vec<Affine>,
    relu: bool,
}

impl BlockedBatchNorm {
    /// With `gamma` and `beta`, and the statistics over images, rows and columns of `z`, whose first channels are theirs.
    ///
    /// # Panics
    /// Where `beta` is of another length than `gamma`, or `z` has other channels: `beta: ...`, `z: ...`.
    pub fn new(isa: Isa, z: BlockedView<'_>, [gamma, beta]: [&[f32]; 2], eps: f64) -> Self {
        let channels = gamma.len();
        check_len("beta", beta.len(), &[channels]);
        let [images, _, height, width] = z.layout.dims();
        check_size("z", z.layout.dims(), [images, channels.div_ceil(LANES), height, width]);
        let statistics = isa.run(Statistics { z, channels });
        let scale = |(&gamma, variance): (&f32, &f64)| f64::from(gamma) / (variance + eps).sqrt();
        let scales: Vec<f64> = gamma.iter().zip(&statistics.variance).map(scale).collect();
        let shift = |((&beta, mean), scale): ((&f32, &f64), &f64)| (f64::from(beta) - mean * scale) as f32;
        let shifts = blocks(beta.iter().zip(&statistics.mean).zip(&scales).map(shift));
        let means = blocks(statistics.mean.iter().map(|&mean| mean as f32));
        let affine = means.into_iter().zip(blocks(scales.iter().map(|&scale| scale as f32))).zip(shifts);
        let affine = affine.map(|((mean, scale), shift)| Affine { mean, scale, shift }).collect();
        Self { isa, statistics, eps, affine, relu: true }
    }

    /// The same without the ReLU, `y = gamma (z - mean) / sqrt(variance + eps) + beta`: what comes before the sum with a
    /// residual block's shortcut.
    #[must_use]
    pub fn without_relu(self) -> Self {
        Self { relu: false, ..self }
    }

    /// The part of a gradient that passes the ReLU behind a normalised value.
    #[inline(always)]
    fn passed<S: Simd>(&self, s: S, value: S::V, grad: S::V) -> S::V {
        if self.relu { s.where_positive(value, grad) } else { grad }
    }

    /// Mean and biased variance of each channel.
    pub fn statistics(&self) -> &ChannelStatistics {
        &self.statistics
    }

    /// Checks `z` and another map, with its name.
    #[track_caller]
    fn check(&self, z: [usize; 4], y_name: &str, y: [usize; 4]) {
        let [images, _, height, width] = z;
        check_size("z", z, [images, self.affine.len(), height, width]);
        check_size(y_name, y, z);
    }

    /// Writes `y`.
    ///
    /// # Panics
    /// Where `z` has other channels or `y` another size: `z: ...`, `y: ...`.
    pub fn run(&self, z: BlockedView<'_>, y: BlockedViewMut<'_>) {
        self.check(z.layout.dims(), "y", y.layout.dims());
        self.isa.run(Normalise { norm: self, z, y });
    }

    /// The gradients of `gamma` and `beta`; `grad` holds the gradient of `y` and receives that of `z`.
    ///
    /// # Panics
    /// Where `z` has other channels or `grad` another size: `z: ...`, `grad: ...`.
    pub fn backward(&self, z: BlockedView<'_>, mut grad: BlockedViewMut<'_>) -> [Vec<f32>; 2] {
        self.check(z.layout.dims(), "grad", grad.layout.dims());
        let channels = self.statistics.mean.len();
        let sums = self.isa.run(GradientSums { norm: self, z, grad: grad.reborrow() });
        let [mut gamma, mut beta] = [vec![0.0; channels], vec![0.0; channels]];
        let (mut slope, mut constant) = (vec![0.0; channels], vec![0.0; channels]);
        let count = (z.layout.images * z.layout.height * z.layout.width) as f64;
        for c in 0..channels {
            let [centred, sum] = [0, 1].map(|i| sums[c / LANES][i][c % LANES]);
            let reciprocal = 1.0 / (self.statistics.variance[c] + self.eps).sqrt();
            let scale = f64::from(self.affine[c / LANES].scale[c % LANES]);
            (gamma[c], beta[c]) = ((centred * reciprocal) as f32, sum as f32);
            // scale (g - sum / count - (z - mean) reciprocal^2 centred / count) = scale g + slope (z - mean) + constant
            slope[c] = (-scale * reciprocal * reciprocal * centred / count) as f32;
            constant[c] = (-scale * sum / count) as f32;
        }
        let (slope, constant) = (blocks(slope.into_iter()), blocks(constant.into_iter()));
        self.isa.run(InputGradient { norm: self, z, grad, slope: &slope, constant: &constant });
        [gamma, beta]
    }
}

/// A block of channels' `z scale + shift`: rounded as PyTorch rounds it, which decides what passes the ReLU.
#[derive(Debug, Clone)]
struct Affine {
    mean: Block,
    scale: Block,
    shift: Block,
}

/// [`Affine`] in registers.
struct Loaded<S: Simd> {
    mean: S::V,
    scale: S::V,
    shift: S::V,
}

impl Affine {
    #[inline(always)]
    fn load<S: Simd>(&self, s: S) -> Loaded<S> {
        Loaded { mean: s.load(&self.mean), scale: s.load(&self.scale), shift: s.load(&self.shift) }
    }
}

impl<S: Simd> Loaded<S> {
    /// `z - mean` and the normalised value.
    #[inline(always)]
    fn apply(&self, s: S, z: &Block) -> [S::V; 2] {
        let z = s.load(z);
        [s.sub(z, self.mean), s.mul_add(z, self.scale, self.shift)]
    }
}

/// Values of channels, filled with zeros to whole blocks.
fn blocks(values: impl Iterator<Item = f32>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (i, value) in values.enumerate() {
        if i % LANES == 0 {
            blocks.push([0.0; LANES]);
        }
        blocks[i / LANES][i % LANES] = value;
    }
    blocks
}

/// Some rows of a block of channels of an image.
#[derive(Clone, Copy)]
struct Band {
    image: usize,
    block: usize,
    row: usize,
    rows: usize,
}

impl Band {
    /// The bands of a map, block by block.
    fn all(layout: &Layout) -> Vec<Self> {
        let &Layout { images, blocks, height, .. } = layout;
        let band = |block, image, row| Self { image, block, row, rows: ROWS.min(height - row) };
        (0..blocks)
            .flat_map(|block| (0..images).map(move |image| (block, image)))
            .flat_map(|(block, image)| (0..height).step_by(ROWS).map(move |row| band(block, image, row)))
            .collect()
    }

    /// Where each of its rows starts in a map, and elements of a row.
    fn lines(self, layout: &Layout) -> impl Iterator<Item = (usize, usize)> + use<> {
        let start = layout.at(self.block, self.row, 0) + self.image * layout.image;
        let (pitch, len) = (layout.pitch, layout.width * LANES);
        (0..self.rows).map(move |row| (start + row * pitch, len))
    }
}

/// Partial sums of bands, added block by block in order.
fn total(layout: &Layout, partial: &[[[f64; LANES]; 2]]) -> Vec<[[f64; LANES]; 2]> {
    let bands = partial.len() / layout.blocks;
    let add = |sums: &[[[f64; LANES]; 2]]| {
        let mut total = [[0.0; LANES]; 2];
        for sum in sums {
            for (total, sum) in total.iter_mut().flatten().zip(sum.iter().flatten()) {
                *total += sum;
            }
        }
        total
    };
    partial.chunks_exact(bands).map(add).collect()
}

struct Statistics<'a> {
    z: BlockedView<'a>,
    channels: usize,
}

impl Task for Statistics<'_> {
    type Output = ChannelStatistics;

    #[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
    fn run<S: Simd>(self, s: S) -> ChannelStatistics {
        let Self { z, channels } = self;
        let layout = z.layout;
        let line = |(start, len): (usize, usize)| z.data[start..start + len].as_chunks::<LANES>().0;
        // sums of (z - c) and (z - c)^2, where c is the mean of a row in the middle: close enough to the mean that
        // their difference loses little
        let centres: Vec<Block> = (0..layout.blocks)
            .map(|block| {
                let row = line((layout.at(block, layout.height / 2, 0), layout.width * LANES));
                let mut sums = [0.0f64; LANES];
                for pixel in row {
                    sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
                }
                sums.map(|sum| (sum / layout.width as f64) as f32)
            })
            .collect();
        let partial: Vec<_> = Band::all(&layout)
            .into_par_iter()
            .map(|band| {
                let mut sums = [[0.0f64; LANES]; 2];
                for at in band.lines(&layout) {
                    let row = line(at);
                    let mut of_row = [[0.0f32; LANES]; 2];
                    s.vectorize(
                        #[inline(always)]
                        || {
                            let centre = s.load(&centres[band.block]);
                            let (mut sum, mut squares) = (s.splat(0.0), s.splat(0.0));
                            for i in 0..row.len() {
                                let value = s.sub(s.load(&row[i]), centre);
                                sum = s.add(sum, value);
                                squares = s.mul_add(value, value, squares);
                            }
                            s.store(sum, &mut of_row[0]);
                            s.store(squares, &mut of_row[1]);
                        },
                    );
                    for (sum, value) in sums.iter_mut().flatten().zip(of_row.iter().flatten()) {
                        *sum += f64::from(*value);
                    }
                }
                sums
            })
            .collect();
        let count = (layout.images * layout.height * layout.width) as f64;
        let sums = total(&layout, &partial);
        let of = |channel: usize| {
            let (block, lane) = (channel / LANES, channel % LANES);
            let [sum, squares] = sums[block].map(|sums| sums[lane] / count);
            (f64::from(centres[block][lane]) + sum, (squares - sum * sum).max(0.0))
        };
        let (mean, variance) = (0..channels).map(of).unzip();
        ChannelStatistics { mean, variance }
    }
}

struct Normalise<'a> {
    norm: &'a BlockedBatchNorm,
    z: BlockedView<'a>,
    y: BlockedViewMut<'a>,
}

impl Task for Normalise<'_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // as above
    fn run<S: Simd>(self, s: S) {
        let Self { norm, z, y } = self;
        Band::all(&z.layout).into_par_iter().for_each(|band| {
            for ((from, len), (to, _)) in band.lines(&z.layout).zip(band.lines(&y.layout)) {
                let z = z.data[from..from + len].as_chunks::<LANES>().0;
                // SAFETY: the rows of a band are its task's alone.
                let y = unsafe { y.data.slice(to, len) }.as_chunks_mut::<LANES>().0;
                s.vectorize(
                    #[inline(always)]
                    || {
                        let lowest = if norm.relu { 0.0 } else { f32::NEG_INFINITY };
                        let (affine, lower_bound) = (norm.affine[band.block].load(s), s.splat(lowest));
                        for i in 0..y.len() {
                            let [_, value] = affine.apply(s, &z[i]);
                            s.store(s.at_least(value, lower_bound), &mut y[i]);
                        }
                    },
                );
            }
        });
    }
}

/// Sums over each channel of `g (z - mean)` and of `g`, where `g` is the gradient behind the ReLU.
struct GradientSums<'a> {
    norm: &'a BlockedBatchNorm,
    z: BlockedView<'a>,
    grad: BlockedViewMut<'a>,
}

impl Task for GradientSums<'_> {
    type Output = Vec<[[f64; LANES]; 2]>;

    #[allow(clippy::needless_range_loop)] // as above
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let Self { norm, z, ref grad } = self;
        let partial: Vec<_> = Band::all(&z.layout)
            .into_par_iter()
            .map(|band| {
                let mut sums = [[0.0f64; LANES]; 2];
                for ((from, len), (at, _)) in band.lines(&z.layout).zip(band.lines(&grad.layout)) {
                    let z = z.data[from..from + len].as_chunks::<LANES>().0;
                    // SAFETY: the rows of a band are its task's alone.
                    let grad = unsafe { grad.data.slice(at, len) }.as_chunks::<LANES>().0;
                    let mut of_row = [[0.0f32; LANES]; 2];
                    s.vectorize(
                        #[inline(always)]
                        || {
                            let affine = norm.affine[band.block].load(s);
                            let (mut products, mut sum) = (s.splat(0.0), s.splat(0.0));
                            for i in 0..z.len().min(grad.len()) {
                                let [centred, value] = affine.apply(s, &z[i]);
                                let g = norm.passed(s, value, s.load(&grad[i]));
                                sum = s.add(sum, g);
                                products = s.mul_add(g, centred, products);
                            }
                            s.store(products, &mut of_row[0]);
                            s.store(sum, &mut of_row[1]);
                        },
                    );
                    for (sum, value) in sums.iter_mut().flatten().zip(of_row.iter().flatten()) {
                        *sum += f64::from(*value);
                    }
                }
                sums
            })
            .collect();
        let mut sums = total(&z.layout, &partial);
        // the mean was rounded: put the difference right
        for (c, &mean) in norm.statistics.mean.iter().enumerate() {
            let sums = &mut sums[c / LANES];
            sums[0][c % LANES] += sums[1][c % LANES] * (f64::from(mean as f32) - mean);
        }
        sums
    }
}

/// `grad = scale g + slope (z - mean) + constant`.
struct InputGradient<'a> {
    norm: &'a BlockedBatchNorm,
    z: BlockedView<'a>,
    grad: BlockedViewMut<'a>,
    slope: &'a [Block],
    constant: &'a [Block],
}

impl Task for InputGradient<'_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // as above
    fn run<S: Simd>(self, s: S) {
        let Self { norm, z, grad, slope, constant } = self;
        Band::all(&z.layout).into_par_iter().for_each(|band| {
            for ((from, len), (at, _)) in band.lines(&z.layout).zip(band.lines(&grad.layout)) {
                let z = z.data[from..from + len].as_chunks::<LANES>().0;
                // SAFETY: the rows of a band are its task's alone.
                let grad = unsafe { grad.data.slice(at, len) }.as_chunks_mut::<LANES>().0;
                s.vectorize(
                    #[inline(always)]
                    || {
                        let affine = norm.affine[band.block].load(s);
                        let (slope, constant) = (s.load(&slope[band.block]), s.load(&constant[band.block]));
                        for i in 0..grad.len() {
                            let [centred, value] = affine.apply(s, &z[i]);
                            let g = norm.passed(s, value, s.load(&grad[i]));
                            let rest = s.mul_add(slope, centred, constant);
                            s.store(s.mul_add(affine.scale, g, rest), &mut grad[i]);
                        }
                    },
                );
            }
        });
    }
}
