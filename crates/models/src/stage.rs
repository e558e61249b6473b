//! The stages of an encoder as layers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use unet3p_core::ops::{Window, max_pool2d};
use unet3p_core::{BatchNormOptions, ConvBlock, Execution, Mode, ResidualBlock, ResidualStem};

use crate::encoder::Stage;

/// The pooling behind the stem of a residual network.
const STEM_POOLING: Window = Window { side: 3, stride: 2, padding: 1 };

/// A [`Stage`] with its parameters.
#[derive(Debug, Clone)]
pub(crate) enum StageLayers {
    Convolutions(ConvBlock),
    Stem(ResidualStem),
    Residual { blocks: Vec<ResidualBlock>, pooled: bool },
}

impl StageLayers {
    pub(crate) fn new(
        stage: &Stage,
        options: BatchNormOptions,
        execution: Execution,
        parameters: &VarBuilder<'_>,
    ) -> Result<Self> {
        Ok(match stage {
            &Stage::Convolutions { inputs, outputs, count } => Self::Convolutions(ConvBlock::new(
                inputs,
                outputs,
                count,
                options,
                execution,
                parameters.clone(),
            )?),
            &Stage::Stem { inputs, outputs } => {
                Self::Stem(ResidualStem::new(inputs, outputs, options, execution, parameters.clone())?)
            }
            Stage::Residual { blocks, pooled } => {
                let blocks = (1..).zip(blocks).map(|(i, &shape)| {
                    ResidualBlock::new(shape, options, execution, parameters.pp(format!("block{i}")))
                });
                Self::Residual { blocks: blocks.collect::<Result<_>>()?, pooled: *pooled }
            }
        })
    }

    /// The stage's map from that of the stage before, or, of the first stage, from the image.
    pub(crate) fn forward(
        &self,
        execution: Execution,
        x: &Tensor,
        is_first: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        match self {
            Self::Convolutions(block) if is_first => block.forward(x, mode),
            Self::Convolutions(block) => block.forward(&max_pool2d(execution, x, 2)?, mode),
            Self::Stem(stem) => stem.forward(x, mode),
            Self::Residual { blocks, pooled } => {
                let x = if *pooled { max_pool2d(execution, x, STEM_POOLING)? } else { x.clone() };
                blocks.iter().try_fold(x, |x, block| block.forward(&x, mode))
            }
        }
    }
}
