//! What every form of the network predicts.

use candle_core::Tensor;

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::gate::{BeforeGate, all_outputs, before_gate};

/// Head 1's prediction.
#[derive(Debug, Clone)]
pub struct Output {
    /// Probabilities `[batch, classes, height, width]` at the input's size; the classification-guided module's
    /// gate is applied.
    pub probabilities: Tensor,
    /// Probabilities `[batch, 2]` = [absent, present] of the classification-guided module.
    pub presence: Option<Tensor>,
    /// The module's decision `[batch]`, which is the gate: 1 where the present logit exceeds the absent one, else 0.
    /// Both probabilities may be high, so that presence alone does not tell it.
    pub present: Option<Tensor>,
}

/// Every head's prediction.
#[derive(Debug, Clone)]
pub struct AllOutputs {
    /// As [`Output::probabilities`], head 1 (full resolution) first.
    pub probabilities: Vec<Tensor>,
    /// As [`Output::presence`].
    pub presence: Option<Tensor>,
}

/// Logits without the gate: what losses are computed from.
#[derive(Debug, Clone)]
pub struct Logits {
    /// `[batch, classes, height, width]` of each head at the input's size, head 1 first.
    pub heads: Vec<Tensor>,
    /// `[batch, 2]` = [absent, present] of the classification-guided module.
    pub presence: Option<Tensor>,
}

/// The dimensions of an input, which has the channels that the network takes.
pub(crate) fn checked_dims(config: &UNet3PlusConfig, x: &Tensor) -> Result<(usize, usize, usize, usize)> {
    let dims @ (_, channels, ..) = x.dims4()?;
    let takes = config.in_channels;
    if channels != takes {
        return Err(Error::Input(format!("an input of {channels} channels; the network takes {takes}")));
    }
    Ok(dims)
}

/// A network that predicts: [`UNet3Plus`](crate::UNet3Plus), or compiled as [`Engine`](crate::Engine).
///
/// Everything is in evaluation mode. Images `x` are `[batch, channels, height, width]` of any size: they are padded
/// ([`pad_to_multiple`](crate::pad_to_multiple)) and the result is cropped.
pub trait Predictor {
    /// The configuration.
    fn config(&self) -> &UNet3PlusConfig;

    /// The logits of the first `heads` heads and of the classification-guided module.
    ///
    /// # Errors
    /// Where `x` has other channels than the network takes, or is empty.
    fn logits(&self, x: &Tensor, heads: usize) -> Result<Logits>;

    /// How many heads the network has.
    fn heads(&self) -> usize {
        self.config().variant.heads(self.config().filters.len())
    }

    /// The logits of every head.
    ///
    /// # Errors
    /// As [`Predictor::logits`].
    fn all_logits(&self, x: &Tensor) -> Result<Logits> {
        self.logits(x, self.heads())
    }

    /// Head 1's prediction.
    ///
    /// # Errors
    /// As [`Predictor::logits`].
    fn predict(&self, x: &Tensor) -> Result<Output> {
        self.predict_flips(x, &[&[]])
    }

    /// Head 1's prediction as the mean over mirrored copies of `x`: [`Predictor::predict_before_gate`], gated.
    ///
    /// # Errors
    /// As [`Predictor::predict_before_gate`].
    fn predict_flips(&self, x: &Tensor, flips: &[&[usize]]) -> Result<Output> {
        self.predict_before_gate(x, flips)?.finish(self.config())
    }

    /// Head 1's prediction without the gate, as the mean over mirrored copies of `x`. Each entry of `flips` lists the axes
    /// to mirror, 2 (upside down) and 3 (left-right); an empty list is the image as it is.
    ///
    /// The mean is taken of what the gate multiplies, probabilities or logits, and of the logits of the
    /// classification-guided module; the gate is decided once, from the mean. Gating each copy by itself would
    /// scale the probabilities by the share of copies in which the organ was found.
    ///
    /// # Errors
    /// As [`Predictor::logits`], where `flips` is empty, or where an axis is neither 2 nor 3.
    fn predict_before_gate(&self, x: &Tensor, flips: &[&[usize]]) -> Result<BeforeGate> {
        if flips.is_empty() || flips.iter().any(|axes| axes.iter().any(|axis| ![2, 3].contains(axis))) {
            return Err(Error::Input(format!("flips {flips:?}: at least one list of the axes 2 and 3")));
        }
        let mut sums: Option<BeforeGate> = None;
        for axes in flips {
            let Logits { heads, presence } = self.logits(&x.flip(axes)?.contiguous()?, 1)?;
            let prediction = before_gate(self.config(), &heads[0])?.contiguous()?.flip(axes)?;
            sums = Some(match sums {
                None => BeforeGate { prediction, presence },
                Some(sum) => BeforeGate {
                    prediction: (sum.prediction + prediction)?,
                    presence: sum.presence.zip(presence).map(|(sum, one)| sum + one).transpose()?,
                },
            });
        }
        let Some(sum) = sums else {
            return Err(Error::Input("no flips".into()));
        };
        let share = 1.0 / flips.len() as f64;
        let presence = sum.presence.map(|sum| sum * share).transpose()?;
        Ok(BeforeGate { prediction: (sum.prediction * share)?, presence })
    }

    /// Every head's prediction.
    ///
    /// # Errors
    /// As [`Predictor::logits`].
    fn predict_all(&self, x: &Tensor) -> Result<AllOutputs> {
        all_outputs(self.config(), self.all_logits(x)?)
    }
}
