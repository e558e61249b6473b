//! One packed convolution and the algorithm that computes it.

use std::fmt::{self, Display};

use unet3p_kernels::{
    BlockedView, BlockedViewMut, ConvAlgorithm, ConvCosts, DirectConv2d, HeadConv2d, Isa, PointwiseConv2d,
    Tile, UpsampledConv2d, WinogradConv2d,
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
    /// A 3x3 convolution at its own resolution, by the algorithm that suits maps of `[height, width]`.
    pub(crate) fn same(
        isa: Isa,
        parts: &[usize],
        folded: &Folded,
        relu: bool,
        [height, width]: [usize; 2],
    ) -> Self {
        let Folded { weight, bias } = folded;
        match ConvAlgorithm::cheapest(ConvCosts::INFERENCE, parts, bias.len(), [1, height, width]) {
            ConvAlgorithm::Winograd(tile) => {
                let layer = WinogradConv2d::new(isa, tile, parts, weight).with_bias(bias);
                Self::Winograd(tile, if relu { layer.with_relu() } else { layer })
            }
            ConvAlgorithm::Direct => {
                let layer = DirectConv2d::new(isa, parts, weight).with_bias(bias);
                Self::Direct(if relu { layer.with_relu() } else { layer })
            }
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
