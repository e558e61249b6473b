//! The loss of the classification-guided module.

use candle_core::Tensor;

use crate::bce::Bce;
use crate::error::{Error, Result};
use crate::target::Target;

/// The classification-guided module's loss: binary cross-entropy of its two outputs `presence_logits` `[batch, 2]`,
/// before the sigmoid, against `[no organ, organ]` of each image (UNet 3+, section 2.3), a scalar.
///
/// An image holds the organ if any valid pixel of its target `[batch, 1, height, width]` does.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use unet3p_losses::{Target, presence_loss};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let empty = Target { classes: Tensor::zeros((1, 1, 8, 8), candle_core::DType::F32, &Device::Cpu)?, valid: None };
/// let sure = presence_loss(&Tensor::new(&[[9f32, -9.0]], &Device::Cpu)?, &empty)?;
/// let wrong = presence_loss(&Tensor::new(&[[-9f32, 9.0]], &Device::Cpu)?, &empty)?;
/// assert!(sure.to_scalar::<f32>()? < 1e-3 && wrong.to_scalar::<f32>()? > 8.0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Shape`] unless the target has one class and the logits are `[batch, 2]`.
pub fn presence_loss(presence_logits: &Tensor, target: &Target) -> Result<Tensor> {
    let (batch, classes, _, _) = target.classes.dims4()?;
    if classes != 1 {
        return Err(Error::Shape {
            what: "the target of the classification-guided module",
            found: target.classes.dims().to_vec(),
            expected: "one class".into(),
        });
    }
    if presence_logits.dims() != [batch, 2] {
        return Err(Error::Shape {
            what: "the output of the classification-guided module",
            found: presence_logits.dims().to_vec(),
            expected: format!("[{batch}, 2]"),
        });
    }
    let present = target.presence()?.to_dtype(presence_logits.dtype())?;
    let absent = present.affine(-1.0, 1.0)?;
    let classes = Tensor::cat(&[&absent, &present], 1)?.reshape((batch, 2, 1, 1))?;
    Bce {}.forward(&presence_logits.reshape((batch, 2, 1, 1))?, &Target { classes, valid: None })
}
