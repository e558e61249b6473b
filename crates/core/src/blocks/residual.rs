//! The blocks and the stem of residual networks (He et al. 2016, arXiv:1512.03385).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::conv_block::BatchNormOptions;
use super::conv_layer::{ConvLayer, Convolution};
use crate::execution::{Execution, Mode};
use crate::ops::relu;

/// The stem of a residual network: convolution 7x7 with stride 2, batch normalisation, ReLU; from
/// `[batch, in, height, width]` to `[batch, out, height / 2, width / 2]`. The max pooling behind it is the caller's.
///
/// Parameters: `conv.weight`, `bn.{weight,bias,running_mean,running_var}`.
#[derive(Debug, Clone)]
pub struct ResidualStem(ConvLayer);

impl ResidualStem {
    /// A stem from `inputs` to `outputs` channels.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(
        inputs: usize,
        outputs: usize,
        options: BatchNormOptions,
        execution: Execution,
        parameters: VarBuilder<'_>,
    ) -> Result<Self> {
        let convolution = Convolution { inputs, outputs, kernel: 7, stride: 2, bias: false };
        let (conv, bn) = (parameters.pp("conv"), parameters.pp("bn"));
        Ok(Self(ConvLayer::new(convolution, true, options, execution, conv, bn)?))
    }

    /// The stem's output.
    ///
    /// # Errors
    /// Where `x` has other channels than the stem takes, or an odd side.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.0.forward(x, 1, mode)
    }
}

/// The form of a [`ResidualBlock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidualShape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Rows and columns of the input for one of the output: 1 or 2.
    pub stride: usize,
    /// Two convolutions 3x3, or, with a bottleneck, 1x1, 3x3 and 1x1, the first two with a quarter of the channels.
    pub bottleneck: bool,
}

impl ResidualShape {
    /// Input channels, output channels, kernel and stride of the convolutions. The stride is the first 3x3's, as in
    /// torchvision and timm.
    pub fn convolutions(&self) -> Vec<[usize; 4]> {
        let Self { inputs, outputs, stride, bottleneck } = *self;
        let width = outputs / 4;
        match bottleneck {
            false => vec![[inputs, outputs, 3, stride], [outputs, outputs, 3, 1]],
            true => vec![[inputs, width, 1, 1], [width, width, 3, stride], [width, outputs, 1, 1]],
        }
    }

    /// Whether the shortcut has a convolution: where it cannot be the input itself.
    pub fn has_downsample(&self) -> bool {
        self.stride != 1 || self.inputs != self.outputs
    }
}

/// A block of a residual network, `relu(f(x) + shortcut(x))`: f is two or three convolutions with batch normalisation, all
/// but the last with ReLU; the shortcut is x itself, or a 1x1 convolution with batch normalisation where the shapes
/// differ. From `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
///
/// Parameters: `conv1.weight`, `bn1.{weight,bias,running_mean,running_var}`, `conv2...`, and where needed
/// `downsample.conv.weight`, `downsample.bn.*`.
#[derive(Debug, Clone)]
pub struct ResidualBlock {
    layers: Vec<ConvLayer>,
    downsample: Option<ConvLayer>,
}

impl ResidualBlock {
    /// A block of the given form.
    ///
    /// # Errors
    /// Where `parameters` lacks a tensor or has one of another shape.
    pub fn new(
        shape: ResidualShape,
        options: BatchNormOptions,
        execution: Execution,
        parameters: VarBuilder<'_>,
    ) -> Result<Self> {
        let layer = |[inputs, outputs, kernel, stride]: [usize; 4], relu, conv: &str, bn: &str| {
            let convolution = Convolution { inputs, outputs, kernel, stride, bias: false };
            let (conv, bn) = (parameters.pp(conv), parameters.pp(bn));
            ConvLayer::new(convolution, relu, options, execution, conv, bn)
        };
        let convolutions = shape.convolutions();
        let count = convolutions.len();
        let layers = (1..)
            .zip(convolutions)
            .map(|(i, convolution)| layer(convolution, i < count, &format!("conv{i}"), &format!("bn{i}")));
        let ResidualShape { inputs, outputs, stride, .. } = shape;
        let downsample = || layer([inputs, outputs, 1, stride], false, "downsample.conv", "downsample.bn");
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            downsample: shape.has_downsample().then(downsample).transpose()?,
        })
    }

    /// The block's output.
    ///
    /// # Errors
    /// Where `x` has other channels than the block takes, or sides that are no multiples of its stride.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x, 1, mode))?;
        let shortcut = match &self.downsample {
            Some(layer) => layer.forward(x, 1, mode)?,
            None => x.clone(),
        };
        relu(&(y + shortcut)?)
    }
}
