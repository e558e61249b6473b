//! Differentiable operations on `[batch, channels, height, width]`, each on the CPU kernels and as a
//! set of Candle operations.
//!
//! They exist because several of Candle's own lack a backward pass or have a wrong one. At a tie the first
//! maximum of a window, in row-major order, takes the whole gradient; the derivative of ReLU at 0 is 0.

mod attach;
mod batch_norm;
mod conv;
mod dropout;
mod kernel;
mod max_pool;
mod relu;
mod unfold;
mod upsample;

pub use batch_norm::{BatchStatistics, batch_norm, batch_norm_relu, batch_statistics};
pub use conv::conv2d;
pub use dropout::dropout;
pub use max_pool::{global_max_pool, max_pool2d};
pub use relu::relu;
pub use unet3p_kernels::Window;
pub use unfold::conv2d_strided;
pub use upsample::{upsample_bilinear2d, upsample_conv2d};
