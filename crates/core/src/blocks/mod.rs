//! Blocks of UNet 3+: each as a part of a graph and as a module of its own.

mod classification_guided_module;
mod conv_block;
mod full_scale_skip;
mod residual;
mod segmentation_head;

pub use classification_guided_module::{ClassificationGuidedModule, classification_guided_module};
pub use conv_block::{ConvBlock, conv_block};
pub use full_scale_skip::{FullScaleSkip, decoder, full_scale_skip};
pub use residual::{ResidualBlock, ResidualShape, ResidualStem, residual_block, residual_stem};
pub use segmentation_head::{SegmentationHead, segmentation_head};

/// `{prefix}.{name}`, or `name` without a prefix.
fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Implements [`candle_core::ModuleT`] for a struct with `module: GraphModule` and `output: NodeId`.
macro_rules! module {
    ($name:ident) => {
        impl candle_core::ModuleT for $name {
            fn forward_t(
                &self,
                x: &candle_core::Tensor,
                train: bool,
            ) -> candle_core::Result<candle_core::Tensor> {
                Ok(self.module.forward_t(&[x], &[self.output], train)?.remove(0))
            }
        }
    };
}
use module;

/// Implements `with_backend` for a struct with `module: GraphModule`.
macro_rules! with_backend {
    ($name:ident) => {
        impl $name {
            /// With this implementation of the operations, in place of the one for the input's device.
            pub fn with_backend(self, backend: crate::Backend) -> Self {
                Self { module: self.module.with_backend(backend), ..self }
            }
        }
    };
}
use with_backend;

/// Implements `with_batch_norm` for a struct with `module: GraphModule`.
macro_rules! with_batch_norm {
    ($name:ident) => {
        impl $name {
            /// With these constants of batch normalisation.
            pub fn with_batch_norm(self, options: crate::BatchNormOptions) -> Self {
                Self { module: self.module.with_batch_norm(options), ..self }
            }
        }
    };
}
use with_batch_norm;
