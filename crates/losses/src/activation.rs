//! From logits to probabilities.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::backward::with_backward;
use crate::error::{Error, Result};
use crate::numerics;

/// How logits become probabilities, and with it what the channels of a [`Target`](crate::Target) mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Element-wise `1 / (1 + exp(-x))`: one class or several that may overlap. Channel k is class id k + 1.
    Sigmoid,
    /// `exp(x_k) / sum_j exp(x_j)` over the channels, at least two. Channel k is class id k, 0 the background.
    Softmax,
}

impl Activation {
    /// Probabilities of `logits` `[batch, classes, height, width]`, the same shape, with the gradient.
    ///
    /// Gradients: `g p (1 - p)` for the sigmoid, `p (g - sum_j g_j p_j)` for the softmax.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a softmax over fewer than two channels.
    pub fn probabilities(self, logits: &Tensor) -> Result<Tensor> {
        let x = logits.detach();
        let result = match self {
            Self::Sigmoid => {
                let p = numerics::sigmoid(&x)?;
                with_backward(logits, p.clone(), move |g| g * ((&p * (1.0 - &p)?)?))
            }
            Self::Softmax => {
                self.check_channels(logits)?;
                let p = numerics::log_softmax(&x)?.exp()?;
                with_backward(logits, p.clone(), move |g| {
                    let inner = numerics::sum_channels(&(g * &p)?)?;
                    &p * g.broadcast_sub(&inner)?
                })
            }
        };
        Ok(result?)
    }

    /// A softmax over one channel is constant 1: refuse it.
    fn check_channels(self, logits: &Tensor) -> Result<()> {
        let (_, channels, _, _) = logits.dims4()?;
        if self == Self::Softmax && channels < 2 {
            return Err(Error::Shape {
                what: "the logits of a softmax",
                found: logits.dims().to_vec(),
                expected: "at least 2 channels (use the sigmoid for one class)".into(),
            });
        }
        Ok(())
    }
}
