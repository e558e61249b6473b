//! Training on blocked maps: convolutions with their gradients, batch normalisation, pooling, a convolution of an
//! upsampled map, a segmentation head.
//!
//! They work on batches ([`crate::BlockedShape::batch`]) and on slots of a concatenation, in f32; the functions on dense
//! tensors compute the same in f32 and f64 and are what these are held to. Gradients of inputs can be added to what
//! other readers of the same map gave.

mod batch_norm;
mod conv;
mod direct_weight_gradient;
mod head;
mod kernel;
mod pool;
mod taps;
mod upsampled;
mod wide;

pub use batch_norm::BlockedBatchNorm;
pub use conv::BlockedConv2d;
pub use head::BlockedHead;
pub use kernel::Kernel;
pub use pool::{max_pools2d_blocked, max_pools2d_blocked_backward};
pub use upsampled::BlockedUpsampledConv2d;

/// What becomes of the values that a gradient's place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// They are replaced, whatever they are.
    Replace,
    /// The gradient is added to them.
    Add,
}
