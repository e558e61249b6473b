//! Batch normalisation, of dense tensors and of blocked maps.

mod blocked;
mod dense;

pub use blocked::BlockedBatchNorm;
pub use dense::{
    ChannelStatistics, batch_norm, batch_norm_backward_input, batch_norm_backward_sums, channel_statistics,
    channel_sums,
};
