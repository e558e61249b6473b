//! Which network the decoder's feature maps come from.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use unet3p_core::graph::{Graph, NodeId};
use unet3p_core::{ResidualShape, conv_block, residual_block, residual_stem};
use unet3p_kernels::Window;

/// The encoder: which network computes the feature maps of the scales.
///
/// | | stages | scale 1 | parameters of the ImageNet networks |
/// |---|---|---|---|
/// | `plain` | two convolutions each, 3 to 6 stages | full size | none: the paper's own encoder |
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
    pub fn filters(self) -> Vec<usize> {
        self.factors().map(|factor| 64 * factor).to_vec()
    }

    /// How many stages it can have: a pretrained network has those that it was trained with, or fewer.
    pub fn depths(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Plain => 3..=6,
            Self::Vgg11Bn | Self::Resnet34 | Self::Resnet50 | Self::Resnet101 => 3..=5,
        }
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

    /// What each stage computes.
    fn stages(self) -> Vec<Stage> {
        let convolutions =
            |counts: &[usize]| counts.iter().map(|&count| Stage::Convolutions(count)).collect();
        let residual =
            |counts: [usize; 4]| std::iter::once(Stage::Stem).chain(counts.map(Stage::Residual)).collect();
        match self {
            Self::Plain => convolutions(&[2; 6]),
            Self::Vgg11Bn => convolutions(&[1, 1, 2, 2, 2]),
            Self::Resnet34 | Self::Resnet50 => residual([3, 4, 6, 3]),
            Self::Resnet101 => residual([3, 4, 23, 3]),
        }
    }

    /// Adds the encoder to the graph, and gives the maps of its stages, the finest first; as many as `filters`.
    ///
    /// Names: `encoder.{stage}.` and the names of [`conv_block`], [`residual_stem`] and `block{k}.` of
    /// [`residual_block`].
    pub(crate) fn maps(self, graph: &mut Graph, image: NodeId, filters: &[usize]) -> Vec<NodeId> {
        let mut x = image;
        let mut maps = Vec::with_capacity(filters.len());
        for (number, (stage, &outputs)) in (1..).zip(self.stages().iter().zip(filters)) {
            let prefix = format!("encoder.{number}");
            let pool = format!("encoder.{}.pool", number - 1);
            x = match *stage {
                Stage::Convolutions(count) => {
                    let x = if number == 1 { x } else { graph.max_pool(&pool, x, 2) };
                    conv_block(graph, &prefix, x, outputs, count)
                }
                Stage::Stem => residual_stem(graph, &prefix, x, outputs),
                Stage::Residual(count) => {
                    let pooled = Window { side: 3, stride: 2, padding: 1 };
                    let x =
                        if number == 2 { graph.max_pool(&format!("{prefix}.pool"), x, pooled) } else { x };
                    (1..=count).fold(x, |x, k| {
                        let stride = if k == 1 && number > 2 { 2 } else { 1 };
                        let (inputs, bottleneck) = (graph[x].channels, self.has_bottlenecks());
                        let shape = ResidualShape { inputs, outputs, stride, bottleneck };
                        residual_block(graph, &format!("{prefix}.block{k}"), x, shape)
                    })
                }
            };
            maps.push(x);
        }
        maps
    }
}

/// What a stage computes from the map of the stage before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Max pooling by 2, but for the first stage, and as many convolutions.
    Convolutions(usize),
    /// The stem of a residual network.
    Stem,
    /// As many residual blocks; behind the stem, max pooling by windows of 3x3 with stride 2 comes first.
    Residual(usize),
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
