//! The parts that a UNet 3+ is made of.

mod classification_guide;
mod conv_block;
mod full_scale_skip;
mod segmentation_head;

pub use classification_guide::ClassificationGuide;
pub use conv_block::{BatchNormOptions, ConvBlock};
pub use full_scale_skip::FullScaleSkip;
pub use segmentation_head::SegmentationHead;
