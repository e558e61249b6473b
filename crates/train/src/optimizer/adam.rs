//! Adam with decoupled or L2 decay.

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::parameter::{Parameter, Rule};
use super::{Optimizer, WeightDecay};
use crate::Gradients;

/// Settings of [`Adam`]; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamOptions {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl AdamOptions {
    pub(super) fn wrong(&self) -> Option<(&'static str, f64, &'static str)> {
        let below_1 = |value: f64| (0.0..1.0).contains(&value);
        match *self {
            Self { beta1, .. } if !below_1(beta1) => Some(("beta1", beta1, "0 to below 1")),
            Self { beta2, .. } if !below_1(beta2) => Some(("beta2", beta2, "0 to below 1")),
            Self { epsilon, .. } if !(epsilon.is_finite() && epsilon > 0.0) => {
                Some(("epsilon", epsilon, "a number above 0"))
            }
            _ => None,
        }
    }
}

/// Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1): with gradient g at step t,
///
/// m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
///
/// On the CPU in f32 one fused pass updates weight and moments in place.
pub struct Adam {
    options: AdamOptions,
    decay: WeightDecay,
    steps: i32,
    parameters: Vec<Parameter<2>>,
}

/// Names of the moments in the state.
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];

/// The numbers of one step for one parameter.
struct Step {
    options: AdamOptions,
    /// Part of the weight that joins the gradient.
    l2: f64,
    /// Part of the weight that is left beside the step.
    shrink: f64,
    learning_rate: f64,
    /// Factor on the gradients (clipping).
    scale: f64,
    /// 1 - b1^t and 1 - b2^t.
    correction: [f64; 2],
}

impl Adam {
    /// An optimizer of named `parameters`, with moments 0.
    ///
    /// # Errors
    /// Where the moments cannot be allocated on the parameter's device.
    pub fn new(
        parameters: impl IntoIterator<Item = (String, Var)>,
        options: AdamOptions,
        decay: WeightDecay,
    ) -> Result<Self> {
        let parameters = parameters.into_iter().map(Parameter::new).collect::<Result<_>>()?;
        Ok(Self { options, decay, steps: 0, parameters })
    }
}

impl Optimizer for Adam {
    fn parameters(&self) -> Box<dyn Iterator<Item = &Var> + '_> {
        Box::new(self.parameters.iter().map(Parameter::variable))
    }

    fn step(&mut self, gradients: &Gradients, learning_rate: f64, scale: f64) -> Result<()> {
        self.steps += 1;
        let options = self.options;
        let correction = [options.beta1, options.beta2].map(|beta| 1.0 - beta.powi(self.steps));
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients.iter()) {
            let Some(gradient) = gradient else { continue };
            let (l2, decoupled) = self.decay.parts(parameter.variable().rank());
            let shrink = 1.0 - learning_rate * decoupled;
            parameter.update(gradient, &Step { options, l2, shrink, learning_rate, scale, correction })?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let states = self.parameters.iter().map(|parameter| parameter.state(MOMENTS));
        Ok(states.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn restore(&mut self, steps: usize, state: &HashMap<String, Tensor>) -> Result<()> {
        self.steps = i32::try_from(steps).map_err(candle_core::Error::wrap)?;
        self.parameters.iter_mut().try_for_each(|parameter| parameter.restore(MOMENTS, state))
    }
}

impl Rule<2> for Step {
    fn on_slices(&self, weights: &mut [f32], gradients: &[f32], [first, second]: [&mut [f32]; 2]) {
        let Self { options, learning_rate, correction, .. } = *self;
        let (l2, shrink, scale) = (self.l2 as f32, self.shrink as f32, self.scale as f32);
        let [beta1, beta2] = [options.beta1 as f32, options.beta2 as f32];
        // 1 - beta is rounded once, from f64: 1 - 0.999f32 is off by 5e-5 of its value
        let [new1, new2] = [(1.0 - options.beta1) as f32, (1.0 - options.beta2) as f32];
        let rate = (learning_rate / correction[0]) as f32;
        let root = (1.0 / correction[1]) as f32;
        let epsilon = options.epsilon as f32;
        for (((w, g), m), v) in weights.iter_mut().zip(gradients).zip(first).zip(second) {
            let g = scale * g + l2 * *w;
            *m = beta1 * *m + new1 * g;
            *v = beta2 * *v + new2 * g * g;
            *w = shrink * *w - rate * *m / ((*v * root).sqrt() + epsilon);
        }
    }

    fn on_tensors(&self, weight: Tensor, gradient: &Tensor, memory: &mut [Tensor; 2]) -> Result<Tensor> {
        let Self { options, learning_rate, correction, .. } = *self;
        let gradient = ((gradient * self.scale)? + (&weight * self.l2)?)?;
        let [first, second] = memory;
        *first = ((&*first * options.beta1)? + (&gradient * (1.0 - options.beta1))?)?;
        *second = ((&*second * options.beta2)? + (gradient.sqr()? * (1.0 - options.beta2))?)?;
        let root = ((&*second / correction[1])?.sqrt()? + options.epsilon)?;
        let change = ((&*first * (learning_rate / correction[0]))? / root)?;
        (weight * self.shrink)? - change
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::testing::{STEPS, both_paths};

    /// The weights after [`STEPS`] steps of the textbook's Adam.
    fn by_hand(
        decay: WeightDecay,
        mut w: Vec<f64>,
        rank: usize,
        gradient: &dyn Fn(usize, &[f64]) -> Vec<f64>,
    ) -> Vec<f64> {
        let options = AdamOptions::default();
        let (l2, decoupled) = decay.parts(rank);
        let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        for t in 1..=STEPS {
            let (g, rate) = (gradient(t, &w), 0.05 / (t as f64).sqrt());
            for i in 0..w.len() {
                let g = 0.7 * g[i] + l2 * w[i];
                w[i] -= rate * decoupled * w[i];
                m[i] = options.beta1 * m[i] + (1.0 - options.beta1) * g;
                v[i] = options.beta2 * v[i] + (1.0 - options.beta2) * g * g;
                let m_hat = m[i] / (1.0 - options.beta1.powi(t as i32));
                let v_hat = v[i] / (1.0 - options.beta2.powi(t as i32));
                w[i] -= rate * m_hat / (v_hat.sqrt() + options.epsilon);
            }
        }
        w
    }

    #[test]
    fn equals_the_textbook_with_both_decays_and_both_paths() {
        for decay in [WeightDecay::Decoupled(0.1), WeightDecay::L2(0.1)] {
            both_paths(
                |named| Box::new(Adam::new([named], AdamOptions::default(), decay).unwrap()),
                |start, rank, gradient| by_hand(decay, start, rank, gradient),
            );
        }
    }
}
