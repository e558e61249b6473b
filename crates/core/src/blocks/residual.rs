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

    /// The convolution of the shortcut, as [`ResidualShape::convolutions`]: where it cannot be the input itself.
    pub fn downsample(&self) -> Option<[usize; 4]> {
        let Self { inputs, outputs, stride, .. } = *self;
        (stride != 1 || inputs != outputs).then_some([inputs, outputs, 1, stride])
    }

    /// All convolutions with the names of their parameters and of those of the batch normalisation behind: the
    /// shortcut's last.
    pub fn named_convolutions(&self) -> Vec<([String; 2], [usize; 4])> {
        let names =
            |suffix: String, prefix: &str| ["conv", "bn"].map(|name| format!("{prefix}{name}{suffix}"));
        let convolutions = (1..).zip(self.convolutions()).map(|(i, one)| (names(i.to_string(), ""), one));
        let downsample = self.downsample().map(|one| (names(String::new(), "downsample."), one));
        convolutions.chain(downsample).collect()
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
        // what is summed up has no ReLU of its own: the last convolution and the shortcut's
        let last = shape.convolutions().len() - 1;
        let layer = |(i, ([conv, bn], convolution)): (usize, ([String; 2], [usize; 4]))| {
            let [inputs, outputs, kernel, stride] = convolution;
            let convolution = Convolution { inputs, outputs, kernel, stride, bias: false };
            let (conv, bn) = (parameters.pp(conv), parameters.pp(bn));
            ConvLayer::new(convolution, i < last, options, execution, conv, bn)
        };
        let layers = shape.named_convolutions().into_iter().enumerate().map(layer);
        let mut layers = layers.collect::<Result<Vec<_>>>()?;
        let downsample = if layers.len() > last + 1 { layers.pop() } else { None };
        Ok(Self { layers, downsample })
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
