//! The ratio of sums behind Dice, IoU and Tversky.

use candle_core::{D, Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error;
use crate::numerics;
use crate::target::Target;

/// Which sums an overlap loss takes its ratios of. The loss is the mean over images (and classes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classes {
    /// One ratio for each image, of sums over all classes: the reference's form.
    Together,
    /// One ratio for each image and class, so that small classes count as much as large ones.
    Each,
    /// As `Each`, without class 0: the usual choice with a softmax, whose class 0 is the background.
    Foreground,
}

/// `1 - mean( N / D )` with `N = n I + s` and `D = i I + a A + b B + s`, where `I = sum p y`, `A = sum p` and
/// `B = sum y` over the valid pixels.
///
/// Gradient of a ratio: `y (n / D - i N / D^2) - a N / D^2`.
pub(crate) struct Overlap {
    pub(crate) intersection_above: f64,
    pub(crate) intersection_below: f64,
    pub(crate) predicted: f64,
    pub(crate) labelled: f64,
    pub(crate) smooth: f64,
    pub(crate) classes: Classes,
}

impl Overlap {
    pub(crate) fn loss(&self, probabilities: &Tensor, target: &Target) -> error::Result<Tensor> {
        let target = target.matching(probabilities)?;
        if self.classes == Classes::Foreground && probabilities.dim(1)? < 2 {
            return Err(error::Error::Shape {
                what: "the prediction of a loss over the foreground",
                found: probabilities.dims().to_vec(),
                expected: "at least 2 channels, the first of them the background".into(),
            });
        }
        let p = probabilities.detach();
        let y = target.masked(&target.classes)?;
        let intersection = self.sums(&(&p * &y)?)?;
        let predicted = self.sums(&target.masked(&p)?)?;
        let labelled = self.sums(&y)?;
        let above = intersection.affine(self.intersection_above, self.smooth)?;
        let below = (intersection.affine(self.intersection_below, self.smooth)?
            + ((predicted * self.predicted)? + (labelled * self.labelled)?)?)?;
        let weights = self.weights(&below)?;
        let value = (1.0 - ((&above / &below)?.broadcast_mul(&weights))?.sum_all()?)?;

        let (n, i, a) = (self.intersection_above, self.intersection_below, self.predicted);
        let classes = y.dim(1)?;
        Ok(with_backward(probabilities, value, move |upstream| {
            // [batch, groups] each; the minus of `1 - ratio` is in the scale.
            let scale = weights.broadcast_mul(&upstream.neg()?)?;
            let curve = (&above / below.sqr()?)?;
            let at_label = ((below.recip()? * n)? - (&curve * i)?)?.broadcast_mul(&scale)?;
            let everywhere = (curve * -a)?.broadcast_mul(&scale)?;
            let spread =
                |t: Tensor| t.broadcast_as((t.dim(0)?, classes))?.reshape((t.dim(0)?, classes, 1, 1));
            let gradient = y.broadcast_mul(&spread(at_label)?)?.broadcast_add(&spread(everywhere)?)?;
            target.masked(&gradient)
        })?)
    }

    /// Sums over the pixels `[batch, classes]`, or over the classes as well `[batch, 1]`.
    fn sums(&self, x: &Tensor) -> Result<Tensor> {
        let sums = numerics::sum_pixels(x)?;
        match self.classes {
            Classes::Together => sums.sum_keepdim(D::Minus1),
            Classes::Each | Classes::Foreground => Ok(sums),
        }
    }

    /// Weights `[1, groups]` that turn a sum over images and groups into the mean.
    fn weights(&self, ratios: &Tensor) -> Result<Tensor> {
        let (batch, groups) = ratios.dims2()?;
        let skipped = usize::from(self.classes == Classes::Foreground);
        let weight = 1.0 / (batch * (groups - skipped)) as f64;
        let weights: Vec<f64> = (0..groups).map(|k| if k < skipped { 0.0 } else { weight }).collect();
        // Cast on the host: Metal has no f64.
        Tensor::from_vec(weights, (1, groups), &Device::Cpu)?
            .to_dtype(ratios.dtype())?
            .to_device(ratios.device())
    }
}

/// A smoothing term must be positive: an empty image would be 0 / 0.
pub(crate) fn check_smooth(loss: &'static str, smooth: f64) -> error::Result<()> {
    error::require(smooth > 0.0 && smooth.is_finite(), loss, || format!("smooth is {smooth}, expected > 0"))
}
