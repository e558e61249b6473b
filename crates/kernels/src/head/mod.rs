//! 3x3 convolution of a blocked map to few dense planes: a segmentation head.

mod inference;
mod training;

pub use inference::HeadConv2d;
pub use training::BlockedHead;
