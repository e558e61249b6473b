//! Max pooling, of dense tensors and of blocked maps.

mod dense;
mod nested;
mod overlapping;

pub use dense::{Window, max_pool2d, max_pool2d_backward};
pub use nested::{max_pools2d_blocked, max_pools2d_blocked_backward};
pub use overlapping::{max_pool2d_3x3_blocked, max_pool2d_3x3_blocked_backward};
