//! One training step, to be timed.

use candle_core::Tensor;
use unet3p_losses::{Bce, Target};
use unet3p_models::UNet3Plus;
use unet3p_train::{Adam, AdamOptions, Gradients, Optimizer, WeightDecay};

/// The largest error type that a step meets is Candle's.
type Result<T> = std::result::Result<T, unet3p_models::Error>;

/// A network, its optimizer and one batch.
pub(super) struct TrainingStep {
    model: UNet3Plus,
    adam: Adam,
    x: Tensor,
    target: Target,
}

impl TrainingStep {
    pub(super) fn new(model: UNet3Plus, x: Tensor) -> Result<Self> {
        let (batch, _, height, width) = x.dims4()?;
        let parameters = model.parameters().trainable();
        let adam = Adam::new(parameters, AdamOptions::default(), WeightDecay::L2(0.0))?;
        // the first channel's sign, in every class
        let mask = x.narrow(1, 0, 1)?.gt(0.0)?.to_dtype(x.dtype())?;
        let classes = mask.broadcast_as((batch, model.config().num_classes, height, width))?.contiguous()?;
        let target = Target { classes, valid: None };
        Ok(Self { model, adam, x, target })
    }

    /// Forward, the binary cross-entropy of all heads, backward, Adam.
    pub(super) fn run(&mut self) -> Result<()> {
        let output = self.model.forward_train(&self.x)?;
        let mut loss = Tensor::zeros((), self.x.dtype(), self.x.device())?;
        for logits in &output.heads {
            let one = Bce::default().forward(logits, &self.target);
            loss = (loss + one.map_err(|error| candle_core::Error::Msg(error.to_string()))?)?;
        }
        let gradients = Gradients::take(loss.backward()?, self.adam.parameters())?;
        Ok(self.adam.step(&gradients, 1e-4, 1.0)?)
    }
}
