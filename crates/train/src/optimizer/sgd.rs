//! Stochastic gradient descent with momentum.

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::parameter::{Parameter, Rule};
use super::{Optimizer, WeightDecay};
use crate::Gradients;

/// Settings of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdOptions {
    /// What is left of the velocity after a step (default 0.9).
    pub momentum: f64,
    /// Whether the step looks ahead along the velocity (default no).
    pub nesterov: bool,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false }
    }
}

impl SgdOptions {
    pub(super) fn wrong(&self) -> Option<(&'static str, f64, &'static str)> {
        let fine = (0.0..1.0).contains(&self.momentum);
        (!fine).then_some(("momentum", self.momentum, "0 to below 1"))
    }
}

/// Stochastic gradient descent with momentum, in the form of PyTorch (Sutskever et al., "On the importance of
/// initialization and momentum in deep learning", ICML 2013, with the learning rate outside the velocity): with
/// gradient g and momentum u,
///
/// v <- u v + g, w <- w - lr v, or with Nesterov's look ahead w <- w - lr (g + u v).
pub struct Sgd {
    options: SgdOptions,
    decay: WeightDecay,
    parameters: Vec<Parameter<1>>,
}

/// Name of the velocity in the state.
const VELOCITY: [&str; 1] = ["velocity"];

/// The numbers of one step for one parameter.
struct Step {
    options: SgdOptions,
    /// Part of the weight that joins the gradient.
    l2: f64,
    /// Part of the weight that is left beside the step.
    shrink: f64,
    learning_rate: f64,
    /// Factor on the gradients (clipping).
    scale: f64,
}

impl Sgd {
    /// An optimizer of named `parameters`, with velocity 0.
    ///
    /// # Errors
    /// Where the velocity cannot be allocated on the parameter's device.
    pub fn new(
        parameters: impl IntoIterator<Item = (String, Var)>,
        options: SgdOptions,
        decay: WeightDecay,
    ) -> Result<Self> {
        let parameters = parameters.into_iter().map(Parameter::new).collect::<Result<_>>()?;
        Ok(Self { options, decay, parameters })
    }
}

impl Optimizer for Sgd {
    fn parameters(&self) -> Box<dyn Iterator<Item = &Var> + '_> {
        Box::new(self.parameters.iter().map(Parameter::variable))
    }

    fn step(&mut self, gradients: &Gradients, learning_rate: f64, scale: f64) -> Result<()> {
        let options = self.options;
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients.iter()) {
            let Some(gradient) = gradient else { continue };
            let (l2, decoupled) = self.decay.parts(parameter.variable().rank());
            let shrink = 1.0 - learning_rate * decoupled;
            parameter.update(gradient, &Step { options, l2, shrink, learning_rate, scale })?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let states = self.parameters.iter().map(|parameter| parameter.state(VELOCITY));
        Ok(states.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn restore(&mut self, _: usize, state: &HashMap<String, Tensor>) -> Result<()> {
        self.parameters.iter_mut().try_for_each(|parameter| parameter.restore(VELOCITY, state))
    }
}

impl Step {
    /// Parts of the gradient and of the new velocity in the direction of the step.
    fn direction(&self) -> (f64, f64) {
        if self.options.nesterov { (1.0, self.options.momentum) } else { (0.0, 1.0) }
    }
}

impl Rule<1> for Step {
    fn on_slices(&self, weights: &mut [f32], gradients: &[f32], [velocity]: [&mut [f32]; 1]) {
        let (l2, shrink, scale) = (self.l2 as f32, self.shrink as f32, self.scale as f32);
        let (momentum, rate) = (self.options.momentum as f32, self.learning_rate as f32);
        let (of_gradient, of_velocity) = self.direction();
        let (of_gradient, of_velocity) = (of_gradient as f32, of_velocity as f32);
        for ((w, g), v) in weights.iter_mut().zip(gradients).zip(velocity) {
            let g = scale * g + l2 * *w;
            *v = momentum * *v + g;
            *w = shrink * *w - rate * (of_gradient * g + of_velocity * *v);
        }
    }

    fn on_tensors(&self, weight: Tensor, gradient: &Tensor, memory: &mut [Tensor; 1]) -> Result<Tensor> {
        let gradient = ((gradient * self.scale)? + (&weight * self.l2)?)?;
        let [velocity] = memory;
        *velocity = ((&*velocity * self.options.momentum)? + &gradient)?;
        let (of_gradient, of_velocity) = self.direction();
        let direction = ((gradient * of_gradient)? + (&*velocity * of_velocity)?)?;
        (weight * self.shrink)? - (direction * self.learning_rate)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::testing::{STEPS, both_paths};

    /// The weights after [`STEPS`] steps, by the formulas of PyTorch's documentation of its SGD.
    fn by_hand(
        options: SgdOptions,
        mut w: Vec<f64>,
        rank: usize,
        gradient: &dyn Fn(usize, &[f64]) -> Vec<f64>,
    ) -> Vec<f64> {
        let l2 = if rank > 1 { 0.1 } else { 0.0 };
        let mut buffer: Option<Vec<f64>> = None;
        for t in 1..=STEPS {
            let rate = 0.05 / (t as f64).sqrt();
            let g: Vec<f64> = gradient(t, &w).iter().zip(&w).map(|(g, w)| 0.7 * g + l2 * w).collect();
            let b: Vec<f64> = match buffer {
                None => g.clone(),
                Some(b) => b.iter().zip(&g).map(|(b, g)| options.momentum * b + g).collect(),
            };
            for i in 0..w.len() {
                w[i] -= rate * if options.nesterov { g[i] + options.momentum * b[i] } else { b[i] };
            }
            buffer = Some(b);
        }
        w
    }

    #[test]
    fn equals_the_formulas_with_and_without_looking_ahead() {
        for (momentum, nesterov) in [(0.9, false), (0.9, true), (0.0, false)] {
            let options = SgdOptions { momentum, nesterov };
            both_paths(
                |named| Box::new(Sgd::new([named], options, WeightDecay::L2(0.1)).unwrap()),
                |start, rank, gradient| by_hand(options, start, rank, gradient),
            );
        }
    }
}
