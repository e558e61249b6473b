//! What the network should have answered.

use candle_core::{DType, Device, Tensor};

use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::numerics;

/// The label maps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelBatch<'a> {
    /// Class ids in the order `[batch, height, width]`.
    pub ids: &'a [u8],
    /// `(batch, height, width)`.
    pub shape: (usize, usize, usize),
    /// The id of pixels that do not count; `None`: all do.
    pub ignored: Option<u8>,
}

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
    /// A target from label maps, in f32.
    ///
    /// With [`Activation::Sigmoid`] channel k marks id k + 1 and 0 is no class (ids 0 to `num_classes`); with
    /// [`Activation::Softmax`] channel k marks id k (ids 0 to `num_classes` - 1). Ignored pixels are marked in
    /// [`Target::valid`], which stays `None` when there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the number of ids is not that of the shape; [`Error::Label`] for an id that is no class.
    pub fn from_labels(
        labels: &LabelBatch<'_>,
        num_classes: usize,
        activation: Activation,
        device: &Device,
    ) -> Result<Self> {
        let &LabelBatch { ids, shape: (batch, height, width), ignored } = labels;
        let pixels = height * width;
        if ids.len() != batch * pixels {
            return Err(Error::Shape {
                what: "the label maps",
                found: vec![ids.len()],
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
        for (index, &label) in ids.iter().enumerate() {
            let id = usize::from(label);
            if Some(label) == ignored {
                valid[index] = 0.0;
                any_ignored = true;
            } else if id >= first + num_classes {
                return Err(Error::Label { label, largest: (first + num_classes).saturating_sub(1) });
            } else if id >= first {
                let (image, pixel) = (index / pixels, index % pixels);
                classes[(image * num_classes + id - first) * pixels + pixel] = 1.0;
            }
        }
        let classes = Tensor::from_vec(classes, (batch, num_classes, height, width), device)?;
        let valid = if any_ignored {
            Some(Tensor::from_vec(valid, (batch, 1, height, width), device)?)
        } else {
            None
        };
        Ok(Self { classes, valid })
    }

    /// The same target in another dtype. Every loss does this by itself, for the dtype of the logits.
    ///
    /// # Errors
    ///
    /// [`Error::Candle`] if Candle cannot convert to it.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let convert = |map: &Tensor| map.to_dtype(dtype);
        Ok(Self { classes: convert(&self.classes)?, valid: self.valid.as_ref().map(convert).transpose()? })
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
        if let Some(valid) = self.valid.as_ref().filter(|valid| valid.dims() != [batch, 1, height, width]) {
            let expected = format!("{:?}", [batch, 1, height, width]);
            return Err(shape("the map of valid pixels", valid, expected));
        }
        let constant =
            Self { classes: self.classes.detach(), valid: self.valid.as_ref().map(Tensor::detach) };
        constant.to_dtype(prediction.dtype())
    }

    /// `x` with the ignored pixels set to 0.
    pub(crate) fn masked(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match &self.valid {
            None => Ok(x.clone()),
            Some(valid) => x.broadcast_mul(valid),
        }
    }
}
