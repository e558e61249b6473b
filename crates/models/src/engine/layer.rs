//! One packed convolution and the algorithm that computes it.

use std::fmt::{self, Display};

use unet3p_kernels::{
    BlockedView, BlockedViewMut, DirectConv2d, HeadConv2d, Isa, LANES, PointwiseConv2d, Tile,
    UpsampledConv2d, WinogradConv2d,
};

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// As written, tap by tap.
    Direct,
    /// Winograd F(2x2, 3x3): 4 multiplications an output instead of 9.
    Winograd2,
    /// Winograd F(4x4, 3x3): 2.25 multiplications an output instead of 9.
    Winograd4,
    /// At low resolution, before upsampling: a ninth of `9 scale^2` multiplications, or less.
    BeforeUpsampling,
    /// All taps as one product, then shifted sums: for few outputs.
    Taps,
}

impl Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Winograd2 => "winograd 2x2",
            Self::Winograd4 => "winograd 4x4",
            Self::BeforeUpsampling => "before upsampling",
            Self::Taps => "taps",
        })
    }
}

/// A transformed value costs about as much as this many multiply-adds of the matrix product: measured at 64 channels
/// and 320x320, where transforms take a third of the time.
const TRANSFORM_COST: u64 = 16;
/// Reading a packed weight from memory costs about as much as this many multiply-adds: 100 billion of them a second
/// against 2.5 billion weights, on two cores.
const WEIGHT_COST: u64 = 40;

impl Algorithm {
    const CHOICES: [Self; 3] = [Self::Direct, Self::Winograd2, Self::Winograd4];

    /// The cheapest for a 3x3 convolution of maps of `size`, by a model of its cost; `parts` are the channels of the
    /// concatenated inputs.
    fn choose(parts: &[usize], outputs: usize, size: [usize; 2]) -> Self {
        // the first of equal ones has the smallest weights
        Self::CHOICES
            .into_iter()
            .min_by_key(|algorithm| algorithm.cost(parts, outputs, size))
            .unwrap_or(Self::Direct)
    }

    /// Cost in multiply-adds of the matrix product.
    fn cost(self, parts: &[usize], outputs: usize, [height, width]: [usize; 2]) -> u64 {
        let longest = parts.iter().copied().max().unwrap_or(0).min(LANES).next_multiple_of(4);
        let blocks: usize = parts.iter().map(|part| part.div_ceil(LANES)).sum();
        let outputs = outputs.next_multiple_of(LANES);
        let (tile, side) = match self {
            Self::Winograd2 => (2, 4),
            Self::Winograd4 => (4, 6),
            _ => (1, 3),
        };
        let (places, tiles) = (side * side, height.div_ceil(tile) * width.div_ceil(tile));
        let count = |factors: &[usize]| factors.iter().map(|&n| n as u64).fold(1, u64::saturating_mul);
        let products = count(&[tiles, places, blocks * longest, outputs]);
        let weights = count(&[places, blocks * longest, outputs]).saturating_mul(WEIGHT_COST);
        let transforms = match self {
            Self::Winograd2 | Self::Winograd4 => {
                count(&[tiles, places, blocks * LANES + outputs]).saturating_mul(TRANSFORM_COST)
            }
            _ => 0,
        };
        products.saturating_add(weights).saturating_add(transforms)
    }
}

/// A convolution's weight, `[outputs, inputs, 3, 3]`, with batch normalisation folded in, and bias.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// A convolution with its weights packed.
pub(crate) enum Packed {
    /// 3x3 at its own resolution.
    Direct(DirectConv2d),
    /// The same by Winograd's transforms.
    Winograd(Tile, WinogradConv2d),
    /// 3x3 of an upsampled map.
    Upsampled { scale: usize, layer: UpsampledConv2d },
    /// 1x1; with another kernel or a stride, of the neighbourhoods as channels.
    Pointwise(PointwiseConv2d),
    /// 3x3 to planes of logits.
    Head(HeadConv2d),
    /// 1x1 to two numbers a pixel, of which only the largest are wanted.
    Scores(Folded),
}

impl Packed {
    /// A 3x3 convolution at its own resolution, by the algorithm that suits maps of `size`.
    pub(crate) fn same(isa: Isa, parts: &[usize], folded: &Folded, relu: bool, size: [usize; 2]) -> Self {
        let Folded { weight, bias } = folded;
        let winograd = |tile| Self::Winograd(tile, WinogradConv2d::new(isa, tile, parts, weight, bias, relu));
        match Algorithm::choose(parts, bias.len(), size) {
            Algorithm::Winograd2 => winograd(Tile::Two),
            Algorithm::Winograd4 => winograd(Tile::Four),
            _ => Self::Direct(DirectConv2d::new(isa, parts, weight, bias, relu)),
        }
    }

    /// Computes rows of the output from as many of the input, where these are at hand.
    pub(crate) fn run(&self, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
        match self {
            Self::Direct(layer) => layer.run(x, y),
            Self::Winograd(_, layer) => layer.run(x, y),
            Self::Pointwise(layer) => layer.run(x, y),
            Self::Upsampled { .. } | Self::Head(_) | Self::Scores(_) => {
                unreachable!("a layer that is run with more than its input and output")
            }
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Direct(_) | Self::Pointwise(_) | Self::Scores(_) => Algorithm::Direct,
            Self::Winograd(Tile::Two, _) => Algorithm::Winograd2,
            Self::Winograd(Tile::Four, _) => Algorithm::Winograd4,
            Self::Upsampled { .. } => Algorithm::BeforeUpsampling,
            Self::Head(_) => Algorithm::Taps,
        }
    }

    /// Multiply-adds for an output of `[height, width]`.
    pub(crate) fn multiply_adds(&self, [height, width]: [usize; 2]) -> u64 {
        match self {
            Self::Direct(layer) => layer.multiply_adds(height, width),
            Self::Winograd(_, layer) => layer.multiply_adds(height, width),
            Self::Pointwise(layer) => layer.multiply_adds(height, width),
            Self::Upsampled { scale, layer } => layer.multiply_adds(height / scale, width / scale),
            Self::Head(layer) => layer.multiply_adds(height, width),
            Self::Scores(folded) => (folded.weight.len() * height * width) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What measurement prefers (see docs/performance.md).
    #[test]
    fn the_model_chooses_as_measured() {
        let choose = |parts: &[usize], outputs, side| Algorithm::choose(parts, outputs, [side, side]);
        assert_eq!(choose(&[3], 64, 320), Algorithm::Direct);
        assert_eq!(choose(&[1], 16, 512), Algorithm::Direct);
        assert_eq!(choose(&[64], 64, 320), Algorithm::Winograd4);
        assert_eq!(choose(&[64; 5], 320, 320), Algorithm::Winograd4);
        assert_eq!(choose(&[512], 512, 40), Algorithm::Winograd4);
        assert_eq!(choose(&[1024], 1024, 20), Algorithm::Winograd2);
        assert_eq!(choose(&[1024], 1024, 64), Algorithm::Winograd4);
    }
}
