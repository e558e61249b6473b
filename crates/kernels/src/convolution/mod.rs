//! Convolution, of dense tensors and of blocked maps, for inference and for training.

pub(crate) mod algorithm;
pub(crate) mod channels;
pub(crate) mod dense;
pub(crate) mod direct;
pub(crate) mod direct_weight_gradient;
pub(crate) mod epilogue;
mod im2col;
mod kernel;
pub(crate) mod pointwise;
pub(crate) mod product;
mod taps;
mod training;
mod unfold;
mod wide;
pub(crate) mod winograd;

pub use algorithm::{ConvAlgorithm, ConvCosts};
pub use dense::{Conv2d, conv2d, conv2d_backward_input, conv2d_backward_weight};
pub use direct::DirectConv2d;
pub use kernel::Kernel;
pub use pointwise::PointwiseConv2d;
pub use training::BlockedConv2d;
pub use unfold::unfold2d_blocked;
pub use winograd::{Tile, WinogradConv2d};
