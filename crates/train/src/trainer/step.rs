//! One optimizer step.

use candle_core::Tensor;
use unet3p_data::write_atomically;
use unet3p_losses::Target;

use super::Trainer;
use crate::loader::Batch;
use crate::sampling::{Purpose, generator};
use crate::{Error, Gradients, Result, clip_factor};

/// Tells which batch ended a run.
const FAILED_BATCH: &str = "failed_batch.json";

impl Trainer {
    /// One step on a batch, in as many passes as gradients are accumulated over: the mean loss, and the norm of the
    /// mean gradient.
    pub(super) fn step(&mut self, step: usize, learning_rate: f64, batch: &Batch) -> Result<(f64, f64)> {
        let (size, passes) = (self.config.train.batch_size, self.config.train.accumulate);
        let input = batch.input(&self.device)?;
        let target = batch.target(self.config.outputs(), self.config.model.activation, &self.device)?;
        let (mut sum, mut total): (f64, Option<Gradients>) = (0.0, None);
        for pass in 0..passes {
            let part = |tensor: &Tensor| tensor.narrow(0, pass * size, size)?.contiguous();
            let classes = part(&target.classes)?;
            let target = Target { classes, valid: target.valid.as_ref().map(part).transpose()? };
            let pass = step * passes + pass;
            self.model.set_generator(generator(self.config.train.seed, Purpose::Dropout, pass));
            let loss = self.objective.loss(&self.model.forward_train(&part(&input)?)?, &target)?;
            sum += self.finite("loss", f64::from(loss.to_scalar::<f32>()?), step, batch)?;
            let gradients = Gradients::take(loss.backward()?, self.optimizer.parameters())?;
            total = Some(match total {
                Some(total) => total.plus(gradients)?,
                None => gradients,
            });
        }
        let share = 1.0 / passes as f64;
        let gradients = total.unwrap_or_default();
        let norm = self.finite("norm of the gradients", gradients.global_norm()? * share, step, batch)?;
        let limit = self.config.train.clip_norm;
        let scale = if limit > 0.0 { clip_factor(norm, limit) } else { 1.0 };
        self.optimizer.step(&gradients, learning_rate, scale * share)?;
        if let Some(average) = &mut self.average {
            average.weights.update()?;
        }
        Ok((sum * share, norm))
    }

    /// `value`, if it is a number; else the names of the batch's slices are saved, and the run ends.
    fn finite(&self, what: &'static str, value: f64, step: usize, batch: &Batch) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let (step, learning_rate, files) = (step + 1, self.learning_rate(step), batch.names.clone());
        let record = serde_json::json!({
            "what": what,
            "value": value.to_string(),
            "step": step,
            "learning_rate": learning_rate,
            "slices": files,
        });
        write_atomically(&self.run_dir.join(FAILED_BATCH), |file| {
            serde_json::to_writer_pretty(file, &record).map_err(std::io::Error::from)
        })?;
        Err(Error::NotFinite { what, value, step, learning_rate, files })
    }
}
