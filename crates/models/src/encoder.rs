//! Which network the five feature maps come from.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use unet3p_core::ResidualShape;

/// The encoder: what computes the feature maps of the five scales.
///
/// | | stages | scale 1 | parameters of the ImageNet networks |
/// |---|---|---|---|
/// | `plain` | two convolutions each | full size | none: the paper's own encoder |
/// | `vgg11_bn` | 1, 1, 2, 2, 2 convolutions | full size | VGG-11 with batch normalisation (Simonyan and Zisserman 2014, arXiv:1409.1556), without the last pooling |
/// | `resnet34`, `resnet50`, `resnet101` | stem, then the four stages | half size | ResNet (He et al. 2016, arXiv:1512.03385), in the form of torchvision and timm |
///
/// A residual network has no map at full size: its five maps, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's, take the
/// places of the five scales, and the heads' logits are upsampled by two more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// The paper's: two convolutions 3x3 at each scale, max pooling between them.
    #[default]
    Plain,
    /// VGG-11 with batch normalisation.
    Vgg11Bn,
    /// ResNet-34.
    Resnet34,
    /// ResNet-50.
    Resnet50,
    /// ResNet-101.
    Resnet101,
}

/// What computes the map of one scale from that of the scale before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Max pooling by 2, but for the first stage; then `count` times convolution 3x3, batch normalisation, ReLU.
    Convolutions {
        /// Channels of the input.
        inputs: usize,
        /// Channels of the output.
        outputs: usize,
        /// Convolutions.
        count: usize,
    },
    /// Convolution 7x7 with stride 2, batch normalisation, ReLU.
    Stem {
        /// Channels of the input.
        inputs: usize,
        /// Channels of the output.
        outputs: usize,
    },
    /// Residual blocks; before the first of an encoder, max pooling by windows of 3x3 with stride 2.
    Residual {
        /// The blocks, from the input on.
        blocks: Vec<ResidualShape>,
        /// Whether the max pooling comes first.
        pooled: bool,
    },
}

impl Encoder {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Vgg11Bn, Self::Resnet34, Self::Resnet50, Self::Resnet101];

    /// Channels of the five stages as multiples of the first stage's.
    pub(crate) fn factors(self) -> [usize; 5] {
        match self {
            Self::Plain => [1, 2, 4, 8, 16],
            Self::Vgg11Bn => [1, 2, 4, 8, 8],
            Self::Resnet34 => [1, 1, 2, 4, 8],
            Self::Resnet50 | Self::Resnet101 => [1, 4, 8, 16, 32],
        }
    }

    /// Channels of the five stages in the original, where the first has 64.
    pub fn filters(self) -> [usize; 5] {
        self.factors().map(|factor| 64 * factor)
    }

    /// Rows and columns of the image for one of the first stage's map: 1 or 2.
    pub fn stride(self) -> usize {
        match self {
            Self::Plain | Self::Vgg11Bn => 1,
            Self::Resnet34 | Self::Resnet50 | Self::Resnet101 => 2,
        }
    }

    /// Whether blocks have a bottleneck, whose width is a quarter of their output.
    pub(crate) fn has_bottlenecks(self) -> bool {
        matches!(self, Self::Resnet50 | Self::Resnet101)
    }

    /// The five stages, for an image of `in_channels` channels and maps of `filters`.
    pub fn stages(self, in_channels: usize, filters: [usize; 5]) -> Vec<Stage> {
        let inputs = |i: usize| if i == 0 { in_channels } else { filters[i - 1] };
        let convolutions = |counts: [usize; 5]| {
            let stage = |(i, count)| Stage::Convolutions { inputs: inputs(i), outputs: filters[i], count };
            counts.into_iter().enumerate().map(stage).collect()
        };
        let residual = |counts: [usize; 4]| {
            let stage = |(i, count): (usize, usize)| {
                let block = |k: usize| ResidualShape {
                    inputs: if k == 0 { inputs(i) } else { filters[i] },
                    outputs: filters[i],
                    stride: if k == 0 && i > 1 { 2 } else { 1 },
                    bottleneck: self.has_bottlenecks(),
                };
                Stage::Residual { blocks: (0..count).map(block).collect(), pooled: i == 1 }
            };
            let stem = Stage::Stem { inputs: in_channels, outputs: filters[0] };
            std::iter::once(stem).chain((1..).zip(counts).map(stage)).collect()
        };
        match self {
            Self::Plain => convolutions([2; 5]),
            Self::Vgg11Bn => convolutions([1, 1, 2, 2, 2]),
            Self::Resnet34 | Self::Resnet50 => residual([3, 4, 6, 3]),
            Self::Resnet101 => residual([3, 4, 23, 3]),
        }
    }
}

impl Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Vgg11Bn => "vgg11_bn",
            Self::Resnet34 => "resnet34",
            Self::Resnet50 => "resnet50",
            Self::Resnet101 => "resnet101",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for encoder in Encoder::ALL {
            assert_eq!(serde_json::to_value(encoder).unwrap(), encoder.to_string());
        }
    }
}
