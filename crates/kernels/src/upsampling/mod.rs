//! Bilinear upsampling, and convolutions of upsampled maps, of dense tensors and of blocked maps.

pub(crate) mod bilinear;
mod inference;
mod tap_sum;
mod training;

pub use bilinear::{bilinear_weights, upsample_bilinear2d, upsample_bilinear2d_backward};
pub use inference::{TapRows, UpsampledConv2d};
pub use tap_sum::{tap_sum, tap_sum_backward};
pub use training::BlockedUpsampledConv2d;
