//! What the network should have answered.

use candle_core::{DType, Device, Tensor};

use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::numerics;

/// The labels of a batch, in the form every loss takes.
#[derive(Debug, Clone)]
pub struct Target {
    /// `[batch, classes, height, width]`, 0 or 1: one-hot (softmax) or one map for each class (sigmoid).
    pub classes: Tensor,
    /// `[batch, 1, height, width]`, 1 where the label counts and 0 where it is ignored; `None`: every pixel counts.
    ///
    /// Ignored pixels get no gradient and their logits and labels do not change a loss. Losses that are means over
    /// pixels are means over the pixels that count; the overlap losses leave ignored pixels out of every sum; SSIM and
    /// MS-SSIM see both images as 0 there.
    pub valid: Option<Tensor>,
}

impl Target {
    /// A target from label maps `labels`, class ids in the order `[batch, height, width]`, `shape = (batch, height,
    /// width)`.
    ///
    /// With [`Activation::Sigmoid`] channel k marks id k + 1 and 0 is no class (ids 0 to `num_classes`); with
    /// [`Activation::Softmax`] channel k marks id k (ids 0 to `num_classes` - 1). Pixels with `ignore_label` are
    /// marked in [`Target::valid`], which stays `None` when there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the number of labels is not that of `shape`; [`Error::Label`] for an id that is no class.
    pub fn from_labels(
        labels: &[u8],
        shape: (usize, usize, usize),
        num_classes: usize,
        activation: Activation,
        ignore_label: Option<u8>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let (batch, height, width) = shape;
        let pixels = height * width;
        if labels.len() != batch * pixels {
            return Err(Error::Shape {
                what: "the label maps",
                found: vec![labels.len()],
                expected: format!("{batch} x {height} x {width} labels"),
            });
        }
        // Id of channel 0.
        let first = match activation {
            Activation::Sigmoid => 1,
            Activation::Softmax => 0,
        };
        let mut classes = vec![0f32; batch * num_classes * pixels];
        let mut valid = vec![1f32; batch * pixels];
        let mut any_ignored = false;
        for (index, &label) in labels.iter().enumerate() {
            let id = usize::from(label);
            if Some(label) == ignore_label {
                valid[index] = 0.0;
                any_ignored = true;
            } else if id >= first + num_classes {
                return Err(Error::Label { label, largest: (first + num_classes).saturating_sub(1) });
            } else if id >= first {
                let (image, pixel) = (index / pixels, index % pixels);
                classes[(image * num_classes + id - first) * pixels + pixel] = 1.0;
            }
        }
        let classes =
            Tensor::from_vec(classes, (batch, num_classes, height, width), device)?.to_dtype(dtype)?;
        let valid = if any_ignored {
            Some(Tensor::from_vec(valid, (batch, 1, height, width), device)?.to_dtype(dtype)?)
        } else {
            None
        };
        Ok(Self { classes, valid })
    }

    /// Which of the classes an image holds in any valid pixel: `[batch, classes]` of 0 and 1.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless the maps are as above.
    pub fn presence(&self) -> Result<Tensor> {
        let target = self.matching(&self.classes)?;
        Ok(numerics::sum_pixels(&target.masked(&target.classes)?)?
            .gt(0.0)?
            .to_dtype(target.classes.dtype())?)
    }

    /// The target without gradients in the dtype of `prediction`, after checking that the shapes fit.
    pub(crate) fn matching(&self, prediction: &Tensor) -> Result<Self> {
        let shape = |what, found: &Tensor, expected: String| Error::Shape {
            what,
            found: found.dims().to_vec(),
            expected,
        };
        let Ok((batch, _, height, width)) = prediction.dims4() else {
            return Err(shape("the prediction", prediction, "[batch, classes, height, width]".into()));
        };
        if self.classes.dims() != prediction.dims() {
            let expected = format!("{:?} as the prediction", prediction.dims());
            return Err(shape("the target", &self.classes, expected));
        }
        let convert = |t: &Tensor| t.detach().to_dtype(prediction.dtype());
        let valid = match &self.valid {
            None => None,
            Some(valid) if valid.dims() == [batch, 1, height, width] => Some(convert(valid)?),
            Some(valid) => {
                let expected = format!("{:?}", [batch, 1, height, width]);
                return Err(shape("the map of valid pixels", valid, expected));
            }
        };
        Ok(Self { classes: convert(&self.classes)?, valid })
    }

    /// `x` with the ignored pixels set to 0.
    pub(crate) fn masked(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match &self.valid {
            None => Ok(x.clone()),
            Some(valid) => x.broadcast_mul(valid),
        }
    }
}
