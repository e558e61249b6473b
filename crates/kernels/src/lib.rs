//! CPU kernels of UNet 3+ on plain slices: convolution, pooling, resampling and batch normalisation,
//! forward and backward.
//!
//! Tensors are dense slices in row-major order, activations as `[batch, channels, height, width]` and
//! convolution weights as `[out_channels, in_channels, k, k]`. Every kernel takes `f32` and `f64`, writes
//! every element of its output whatever was there before, runs on the global rayon pool, and gives the same
//! result whatever the number of threads: the work is cut by shape, never by thread count, and partial sums
//! are added in a fixed order.
//!
//! A slice whose length does not match the stated shape is a programming error and panics; the crates above
//! check shapes where they come from a user. Every function checks its operands once, before it writes, in release
//! builds as well. The message starts with the operand's name and says what is given and what fits:
//! `w: 8 values, where [1, 1, 3, 3] takes 9` for a length, `y: [1, 2, 4, 4], where [2, 2, 4, 4] fits` for the images, blocks
//! of channels, rows and columns of a blocked map. A side of 0, and sides whose product exceeds the address space,
//! are refused the same way.
//!
//! ```
//! use unet3p_kernels::{Conv2d, conv2d};
//!
//! // One 3x3 box filter over a 1x1x2x2 image of ones: zero padding leaves four taps inside everywhere.
//! let shape = Conv2d { batch: 1, in_channels: 1, out_channels: 1, height: 2, width: 2, kernel: 3 };
//! let mut y = [f32::NAN; 4];
//! conv2d(&shape, &[1.0; 4], &[1.0; 9], None, &mut y);
//! assert_eq!(y, [4.0; 4]);
//! ```
#![allow(unsafe_code)] // raw strided writes and GEMM calls; each block states why it is sound
#![warn(clippy::missing_safety_doc)]

mod algorithm;
mod aligned;
mod batch_norm;
mod bilinear;
mod blocked;
mod channels;
mod conv;
mod direct;
mod head_conv;
mod im2col;
mod matmul;
mod max_pool;
mod panel;
mod pointwise;
mod product;
pub mod reference;
mod residual;
mod scalar;
mod shared;
mod simd;
mod sizes;
mod tap_sum;
mod training;
mod unfold;
mod upsampled_conv;
mod winograd;

pub use algorithm::{ConvAlgorithm, ConvCosts};
pub use aligned::AlignedBuffer;
pub use batch_norm::{
    ChannelStatistics, batch_norm, batch_norm_backward_input, batch_norm_backward_sums, channel_statistics,
    channel_sums,
};
pub use bilinear::{bilinear_weights, upsample_bilinear2d, upsample_bilinear2d_backward};
pub use blocked::{BlockedShape, BlockedView, BlockedViewMut};
pub use conv::{Conv2d, conv2d, conv2d_backward_input, conv2d_backward_weight};
pub use direct::DirectConv2d;
pub use head_conv::HeadConv2d;
pub use max_pool::{Window, max_pool2d, max_pool2d_backward};
pub use pointwise::PointwiseConv2d;
pub use residual::{
    add_relu_blocked, add_relu_blocked_backward, max_pool2d_3x3_blocked, max_pool2d_3x3_blocked_backward,
};
pub use scalar::Scalar;
pub use simd::{ISA_VARIABLE, Isa, LANES};
pub use tap_sum::{tap_sum, tap_sum_backward};
pub use training::{
    BlockedBatchNorm, BlockedConv2d, BlockedHead, BlockedUpsampledConv2d, Kernel, Write, max_pools2d_blocked,
    max_pools2d_blocked_backward,
};
pub use unfold::unfold2d_blocked;
pub use upsampled_conv::{TapRows, UpsampledConv2d};
pub use winograd::{Tile, WinogradConv2d};
