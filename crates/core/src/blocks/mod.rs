//! The parts that a UNet 3+ is made of.

mod classification_guide;
mod conv_block;
mod conv_layer;
mod full_scale_skip;
mod residual;
mod segmentation_head;

pub use classification_guide::ClassificationGuide;
pub use conv_block::{BatchNormOptions, ConvBlock};
pub use full_scale_skip::FullScaleSkip;
pub use residual::{ResidualBlock, ResidualShape, ResidualStem};
pub use segmentation_head::SegmentationHead;
