//! Choosing a loss by name.

use std::fmt::{self, Debug};

use candle_core::Tensor;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::activation::Activation;
use crate::bce::Bce;
use crate::cross_entropy::CrossEntropy;
use crate::dice::Dice;
use crate::dice_cross_entropy::DiceCrossEntropy;
use crate::error::{Result, require};
use crate::focal::Focal;
use crate::focal_reference::FocalReference;
use crate::hybrid::Hybrid;
use crate::iou::Iou;
use crate::ms_ssim::MsSsim;
use crate::overlap::Classes;
use crate::ssim::Ssim;
use crate::target::Target;
use crate::tversky::Tversky;

/// A loss of logits.
pub trait SegmentationLoss: Debug + Send + Sync {
    /// The loss of `logits` `[batch, classes, height, width]`, a scalar tensor, without waiting for the device.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the target's shape does not fit, or the image is too small.
    fn forward(&self, logits: &Tensor, target: &Target) -> Result<Tensor>;
}

/// A loss with its parameters, as a configuration names it: either the bare name (`"dice"`), or a table with `name`
/// and those parameters that differ from their defaults. Unknown names and parameters are errors.
///
/// ```
/// use unet3p_losses::{LossConfig, Tversky};
///
/// let named: LossConfig = serde_json::from_str(r#""ms_ssim""#)?;
/// assert_eq!(named, LossConfig::MsSsim(Default::default()));
/// let table: LossConfig = serde_json::from_str(r#"{ "name": "tversky", "alpha": 0.2, "beta": 0.8 }"#)?;
/// assert_eq!(table, LossConfig::Tversky(Tversky { alpha: 0.2, beta: 0.8, ..Default::default() }));
/// assert!(serde_json::from_str::<LossConfig>(r#"{ "name": "dice", "gamma": 2 }"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
// "Self" keeps the derived functions as inherent ones, which the implementations below call.
#[serde(remote = "Self", tag = "name", rename_all = "snake_case")]
pub enum LossConfig {
    /// `focal`: see [`Focal`].
    Focal(Focal),
    /// `focal_reference`: see [`FocalReference`].
    FocalReference(FocalReference),
    /// `ssim`: see [`Ssim`].
    Ssim(Ssim),
    /// `ms_ssim`: see [`MsSsim`].
    MsSsim(MsSsim),
    /// `iou`: see [`Iou`].
    Iou(Iou),
    /// `dice`: see [`Dice`].
    Dice(Dice),
    /// `tversky`: see [`Tversky`].
    Tversky(Tversky),
    /// `bce`: see [`Bce`].
    Bce(Bce),
    /// `cross_entropy`: see [`CrossEntropy`].
    CrossEntropy(CrossEntropy),
    /// `dice_cross_entropy`: see [`DiceCrossEntropy`].
    DiceCrossEntropy(DiceCrossEntropy),
    /// `hybrid`: see [`Hybrid`].
    Hybrid(Hybrid),
}

impl Default for LossConfig {
    /// The paper's hybrid loss.
    fn default() -> Self {
        Self::Hybrid(Hybrid::default())
    }
}

impl LossConfig {
    /// The loss for a network with this activation.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) for a parameter out of range, or a loss that is not defined for
    /// the activation (`bce` needs the sigmoid; `cross_entropy` and `classes = "foreground"` need the softmax).
    pub fn build(&self, activation: Activation) -> Result<Box<dyn SegmentationLoss>> {
        let classes = match self {
            Self::Focal(loss) => loss.validate().map(|()| None),
            Self::FocalReference(loss) => loss.validate().map(|()| None),
            Self::Iou(loss) => loss.validate().map(|()| Some(("iou", loss.classes))),
            Self::Dice(loss) => loss.validate().map(|()| Some(("dice", loss.classes))),
            Self::Tversky(loss) => loss.validate().map(|()| Some(("tversky", loss.classes))),
            Self::DiceCrossEntropy(loss) => {
                loss.validate().map(|()| Some(("dice_cross_entropy", loss.classes)))
            }
            Self::Hybrid(loss) => loss.validate().map(|()| None),
            Self::Bce(_) => require(activation == Activation::Sigmoid, "bce", || {
                "needs the sigmoid; with a softmax use cross_entropy".into()
            })
            .map(|()| None),
            Self::CrossEntropy(_) => require(activation == Activation::Softmax, "cross_entropy", || {
                "needs the softmax; with a sigmoid use bce".into()
            })
            .map(|()| None),
            Self::Ssim(_) | Self::MsSsim(_) => Ok(None),
        }?;
        if let Some((name, classes)) = classes {
            require(classes != Classes::Foreground || activation == Activation::Softmax, name, || {
                "classes = \"foreground\" needs the softmax; a sigmoid has no background channel, use \"each\"".into()
            })?;
        }
        Ok(Box::new(Configured { config: *self, activation }))
    }
}

/// A checked configuration, ready to run.
#[derive(Debug)]
struct Configured {
    config: LossConfig,
    activation: Activation,
}

impl SegmentationLoss for Configured {
    fn forward(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let activation = self.activation;
        let probabilities = || activation.probabilities(logits);
        match &self.config {
            LossConfig::Focal(loss) => loss.forward(logits, activation, target),
            LossConfig::FocalReference(loss) => loss.on_probabilities(&probabilities()?, target),
            LossConfig::Ssim(loss) => loss.on_probabilities(&probabilities()?, target),
            LossConfig::MsSsim(loss) => loss.on_probabilities(&probabilities()?, target),
            LossConfig::Iou(loss) => loss.on_probabilities(&probabilities()?, target),
            LossConfig::Dice(loss) => loss.on_probabilities(&probabilities()?, target),
            LossConfig::Tversky(loss) => loss.on_probabilities(&probabilities()?, target),
            LossConfig::Bce(loss) => loss.forward(logits, target),
            LossConfig::CrossEntropy(loss) => loss.forward(logits, target),
            LossConfig::DiceCrossEntropy(loss) => loss.forward(logits, activation, target),
            LossConfig::Hybrid(loss) => loss.forward(logits, activation, target),
        }
    }
}

impl Serialize for LossConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // The inherent function that the derive made.
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for LossConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = LossConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a loss, or a table with `name` and its parameters")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<LossConfig, E> {
                LossConfig::deserialize(MapDeserializer::new(std::iter::once(("name", name))))
                    .map_err(|e: E| E::custom(e))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<LossConfig, A::Error> {
                LossConfig::deserialize(MapAccessDeserializer::new(map)).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}
