//! Segmentation losses on [Candle](candle_core): focal, SSIM, MS-SSIM, IoU, Dice, Tversky, binary and softmax
//! cross-entropy, the UNet 3+ hybrid loss and deep supervision.
//!
//! Every loss starts from **logits** `[batch, classes, height, width]` and a [`Target`], returns a scalar tensor and
//! never reads anything back to the host. Losses that are defined on probabilities (the overlap losses, SSIM, MS-SSIM,
//! the reference's focal loss) have an `on_probabilities` as well.
//!
//! Gradients are written out beside each formula instead of being recorded operation by operation: Candle 0.11.1
//! yields NaN for a composed sigmoid at large negative logits, and computes gradients for constants too, which costs
//! as much again. Finite differences and TensorFlow's results check them. They are first-order gradients.
//!
//! ```
//! use candle_core::{DType, Device, Var};
//! use unet3p_losses::{Activation, LabelBatch, LossConfig, SegmentationLoss, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::Cpu;
//! let logits = Var::zeros((1, 1, 32, 48), DType::F32, &device)?;
//! let ids: Vec<u8> = (0..32 * 48).map(|i| u8::from(i % 48 > 20)).collect();
//! let labels = LabelBatch { ids: &ids, shape: (1, 32, 48), ignored: None };
//! let target = Target::from_labels(&labels, 1, Activation::Sigmoid, &device)?;
//!
//! let loss = LossConfig::default().build(Activation::Sigmoid)?; // focal + MS-SSIM + IoU, as in the paper
//! let value = loss.forward(&logits, &target)?;
//! let gradients = value.backward()?;
//! assert_eq!(gradients.get(&logits).unwrap().dims(), [1, 1, 32, 48]);
//! # Ok(())
//! # }
//! ```
//!
//! # Several losses on the logits of any network
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/loss.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

mod activation;
mod backward;
mod bce;
mod config;
mod cross_entropy;
mod deep_supervision;
mod dice;
mod dice_cross_entropy;
mod error;
mod focal;
mod focal_reference;
mod hybrid;
mod iou;
mod ms_ssim;
mod numerics;
mod overlap;
mod pixel_mean;
mod presence;
mod separable;
mod ssim;
mod target;
mod tversky;

pub use activation::Activation;
pub use bce::Bce;
pub use config::{LossConfig, SegmentationLoss};
pub use cross_entropy::CrossEntropy;
pub use deep_supervision::DeepSupervision;
pub use dice::Dice;
pub use dice_cross_entropy::DiceCrossEntropy;
pub use error::{Error, Result};
pub use focal::Focal;
pub use focal_reference::FocalReference;
pub use hybrid::{Hybrid, HybridPreset};
pub use iou::Iou;
pub use ms_ssim::MsSsim;
pub use overlap::Classes;
pub use presence::presence_loss;
pub use ssim::Ssim;
pub use target::{LabelBatch, Target};
pub use tversky::Tversky;
