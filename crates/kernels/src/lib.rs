//! CPU kernels of UNet 3+ on plain slices: convolution, pooling, resampling and batch normalisation,
//! forward and backward.
//!
//! Tensors are dense slices in row-major order, activations as `[batch, channels, height, width]` and
//! convolution weights as `[out_channels, in_channels, k, k]`. Every kernel takes `f32` and `f64`, writes
//! every element of its output whatever was there before, runs on the global rayon pool, and gives the same
//! result whatever the number of threads: the work is cut by shape, never by thread count, and partial sums
//! are added in a fixed order.
//!
//! Networks run and train on blocked maps ([`BlockedShape`]): f32 in blocks of sixteen channels. Their functions take batches
//! and slots of a concatenation, and are held to those on dense tensors. A gradient of an input replaces what is there, or
//! is added to what other readers of the same map gave ([`Write`]).
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

mod aligned;
mod blocked;
mod class_rule;
mod convolution;
mod head;
mod matmul;
mod norm;
mod panel;
mod pooling;
pub mod reference;
mod scalar;
mod shared;
mod shortcut;
mod simd;
mod sizes;
mod upsampling;
mod write;

pub use aligned::AlignedBuffer;
pub use blocked::{BlockedShape, BlockedView, BlockedViewMut};
pub use class_rule::ClassRule;
pub use convolution::{
    BlockedConv2d, Conv2d, ConvAlgorithm, ConvCosts, DirectConv2d, Kernel, PointwiseConv2d, Tile,
    WinogradConv2d, conv2d, conv2d_backward_input, conv2d_backward_weight, unfold2d_blocked,
};
pub use head::{BlockedHead, HeadConv2d};
pub use norm::{
    BlockedBatchNorm, ChannelStatistics, batch_norm, batch_norm_backward_input, batch_norm_backward_sums,
    channel_statistics, channel_sums,
};
pub use pooling::{
    Window, max_pool2d, max_pool2d_3x3_blocked, max_pool2d_3x3_blocked_backward, max_pool2d_backward,
    max_pools2d_blocked, max_pools2d_blocked_backward,
};
pub use scalar::Scalar;
pub use shortcut::{add_relu_blocked, add_relu_blocked_backward};
pub use simd::{ISA_VARIABLE, Isa, LANES};
pub use upsampling::{
    BlockedUpsampledConv2d, TapRows, UpsampledConv2d, bilinear_weights, tap_sum, tap_sum_backward,
    upsample_bilinear2d, upsample_bilinear2d_backward,
};
pub use write::Write;
